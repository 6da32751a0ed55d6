"""`sosbridge report`: what was measured of the lines in a month."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from bridge import __version__
from bridge.app.build import subjects
from bridge.cli.common import add_transmitter_option, existing_store, find_transmitter, print_table
from bridge.common.clock import Clock
from bridge.common.errors import BridgeError
from bridge.common.models import Request
from bridge.common.text import clean
from bridge.config.settings import Settings
from bridge.record import export, report
from bridge.record.alarms import PENDING, AlarmEntry
from bridge.record.figures import Figures
from bridge.record.months import Month
from bridge.record.reader import read_month
from bridge.store.database import Store
from bridge.store.edges import Edges
from bridge.store.lock import is_held
from bridge.store.outbox import Outbox
from bridge.store.records import Queued, State


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "report",
        description="What was measured of each transmitter's line in one month: availability of link, receivers and "
        "paths by day, alarms by outcome, transmission times, test alarms. Works while the service runs.",
    )
    parser.add_argument("--month", type=_month, metavar="YYYY-MM", help="default: this month")
    add_transmitter_option(parser)
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--html", type=Path, metavar="FILE", help="write a page that can be printed or sent")
    forms.add_argument("--csv", action="store_true", help="print CSV")
    forms.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=show)


def _month(text: str) -> Month:
    try:
        return Month.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(clean(error)) from None


async def show(args: argparse.Namespace) -> int:
    settings: Settings = args.load_settings()
    chosen = find_transmitter(settings, args.transmitter).name if args.transmitter else None
    now = Clock().now().timestamp()
    async with await Store.open(existing_store(settings)) as store:
        months = await _measured(settings, store, args.month or Month.of(now), now, chosen)
    if args.html is not None:
        await asyncio.to_thread(_write, args.html, report.page(months, __version__, datetime.now().astimezone()))
        print(f"wrote {args.html}")
    elif args.json:
        print(json.dumps([export.as_json(month) for month in months], indent=2, ensure_ascii=False))
    elif args.csv:
        rows = [(month.transmitter, str(month.month), *pair) for month in months for pair in export.figures(month)]
        print(export.csv_text(("transmitter", "month", "figure", "value"), rows), end="")
    else:
        print_table(("transmitter", "month", "figure", "value"), list(_rows(months)))
    return 0


async def _measured(settings: Settings, store: Store, month: Month, now: float, chosen: str | None) -> list[Figures]:
    """Return the figures of `month`. What the running service has not written yet is not measured yet."""
    edges, pending = Edges(store), await Outbox(store).list()
    if is_held(settings.store.path):
        runs = (await edges.runs(now, now, [""]))[""]
        now = min(now, runs[-1].end) if runs else now
    wanted = [each for each in subjects(settings) if chosen in (None, each.name)]
    waiting = [(each.command.transmitter, _waiting(each)) for each in pending if _is_waiting(each)]
    return await read_month(edges, wanted, month, now, waiting)


def _is_waiting(queued: Queued) -> bool:
    return queued.state is State.PENDING and queued.command.request in (Request.ALARM, Request.RESTORE)


def _waiting(queued: Queued) -> AlarmEntry:
    command = queued.command
    return AlarmEntry(
        request=command.request,
        outcome=PENDING,
        accepted_at=command.accepted_at.timestamp(),
        event_code=command.identity.event_code,
        reference=command.reference or "",
        attempts=queued.attempts or None,
        error=queued.error,
        command_id=queued.id,
    )


def _rows(months: Sequence[Figures]) -> Iterator[tuple[str, ...]]:
    """Yield the figures for people: without days and single alarms, which other forms have."""
    for month in months:
        for name, value in export.figures(month):
            if not name.startswith(("days.", "late.")):
                yield month.transmitter, str(month.month), name, "unknown" if value is None else str(value)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise BridgeError(f"{path}: {error.strerror}") from None
