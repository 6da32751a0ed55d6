"""`sosbridge history`: every command that ended, with its result."""

from __future__ import annotations

import argparse
import re
import sys
from datetime import datetime

from bridge.cli.common import existing_store, print_json, print_table
from bridge.cli.stores import opened, shards
from bridge.common.clock import Clock
from bridge.common.text import clean
from bridge.config.types import seconds
from bridge.record import export
from bridge.record.alarms import read_entry
from bridge.store.edges import Edges

_COLUMNS = (
    "accepted_at", "completed_at", "transmitter", "request", "event_code", "outcome", "seconds", "receiver", "path",
    "attempts", "reference", "error",
)  # fmt: skip


def since(text: str) -> float:
    """Return the Unix time of a date, or of a duration before now."""
    try:
        if re.match("[0-9]{4}-", text):
            return datetime.fromisoformat(text).timestamp()
        return Clock().now().timestamp() - seconds(text)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{clean(text, 40)!r} is neither a duration such as 24h nor a date such as 2026-11-30"
        ) from None


async def show(args: argparse.Namespace) -> int:
    found: list[dict[str, object]] = []
    settings = args.load_settings()
    path = existing_store(settings)
    for shard in range(shards(settings)):
        async with opened(settings, path, shard) as store:
            async for portion in Edges(store).results(args.since, args.transmitter):
                for result in portion:
                    each = read_entry(result.request, result.payload)
                    if each is not None:
                        found.append({"transmitter": result.transmitter, **export.alarm_as_json(each)})
    if args.json:
        print_json(found)
    elif args.csv:
        print(export.csv_text(_COLUMNS, [[each.get(name) for name in _COLUMNS] for each in found]), end="")
    elif found:
        print_table(_COLUMNS, [[clean(each.get(name, "-")) for name in _COLUMNS] for each in found])
    else:
        print("no command has ended", file=sys.stderr)  # standard output stays empty for other programs
    return 0
