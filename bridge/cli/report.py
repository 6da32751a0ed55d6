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
from bridge.cli.stores import is_running, opened, shards
from bridge.common.clock import Clock
from bridge.common.errors import BridgeError
from bridge.common.text import clean
from bridge.config.settings import Settings
from bridge.config.shards import of_shard
from bridge.record import export, report
from bridge.record.figures import Figures
from bridge.record.months import Month
from bridge.record.reader import read_report
from bridge.store.outbox import Outbox


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
    path, running, month = existing_store(settings), await is_running(settings), args.month or Month.of(now)
    months: list[Figures] = []
    for shard in range(shards(settings)):
        found = [each for each in subjects(of_shard(settings, shard)) if chosen in (None, each.name)]
        if found:
            async with opened(settings, path, shard) as store:
                months += await read_report(store, Outbox(store), found, month, now, running=running)
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
