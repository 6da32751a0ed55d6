"""`sosbridge history`: every command that ended, with its result."""

from __future__ import annotations

import argparse
import json
import re
import sys
from datetime import datetime

from bridge.cli.common import add_transmitter_option, existing_store, print_table
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


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "history",
        description="The commands that ended, oldest first, for as long as store.history keeps them. Works while the "
        "service runs.",
    )
    words = "a duration before now such as 24h or 7d, or a date such as 2026-11-30"
    parser.add_argument("--since", type=_since, default=0.0, metavar="TIME", help=words)
    add_transmitter_option(parser)
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--csv", action="store_true", help="print CSV")
    forms.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=show)


def _since(text: str) -> float:
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
        print(json.dumps(found, indent=2, ensure_ascii=False))
    elif args.csv:
        print(export.csv_text(_COLUMNS, [[each.get(name) for name in _COLUMNS] for each in found]), end="")
    elif found:
        print_table(_COLUMNS, [[clean(each.get(name, "-")) for name in _COLUMNS] for each in found])
    else:
        print("no command has ended", file=sys.stderr)  # standard output stays empty for other programs
    return 0
