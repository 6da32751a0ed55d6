"""`sosbridge report`: what was measured of the lines in a month."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from bridge import __version__
from bridge.app.build import subjects
from bridge.cli.common import existing_store, find_transmitter, print_json, print_table
from bridge.cli.stores import is_running, opened
from bridge.common.clock import Clock
from bridge.common.errors import BridgeError
from bridge.common.text import clean
from bridge.config.settings import Settings
from bridge.config.shards import Parts
from bridge.record import export, report
from bridge.record.figures import Figures
from bridge.record.months import Month
from bridge.record.reader import read_report
from bridge.store.outbox import Outbox


def month(text: str) -> Month:
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
    for shard, part in enumerate(Parts(settings)):
        found = [each for each in subjects(part) if chosen in (None, each.name)]
        if found:
            async with opened(settings, path, shard) as store:
                months += await read_report(store, Outbox(store), found, month, now, running=running)
    if args.html is not None:
        await asyncio.to_thread(_write, Path(args.html), report.page(months, __version__, datetime.now().astimezone()))
        print(f"wrote {args.html}")
    elif args.json:
        print_json([export.as_json(each) for each in months])
    elif args.csv:
        rows = [(each.transmitter, str(each.month), *pair) for each in months for pair in export.figures(each)]
        print(export.csv_text(("transmitter", "month", "figure", "value"), rows), end="")
    else:
        print_table(("transmitter", "month", "figure", "value"), list(_rows(months)))
    return 0


def _rows(months: Sequence[Figures]) -> Iterator[tuple[str, ...]]:
    """Yield the figures for people: without days and single alarms, which other forms have."""
    for each in months:
        for name, value in export.figures(each):
            if not name.startswith(("days.", "late.")):
                yield each.transmitter, str(each.month), name, "unknown" if value is None else str(value)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise BridgeError(f"{path}: {error.strerror}") from None
