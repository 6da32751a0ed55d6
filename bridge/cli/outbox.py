"""`sosbridge outbox`: see what waits, put a rejected alarm back, or drop one. Works beside the running service."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bridge.cli.common import add_transmitter_option, find_transmitter, print_table
from bridge.common.clock import Clock
from bridge.common.errors import BridgeError
from bridge.common.text import clean, timestamp
from bridge.store.database import Store
from bridge.store.outbox import Outbox
from bridge.store.records import Queued

_NUMBER = re.compile("[0-9]{1,18}")
"""What SQLite can count to, about."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    outbox = commands.add_parser(
        "outbox",
        help="list, show, retry or drop what waits to be delivered",
        description="What waits to be delivered, and what a receiver rejected. Works beside the running service.",
    )
    kinds = outbox.add_subparsers(metavar="ACTION", required=True)
    listing = kinds.add_parser("list", help="all that waits or is set aside; prints nothing where there is nothing")
    add_transmitter_option(listing)
    listing.set_defaults(run=list_all)
    for name, text, run in (
        ("show", "one command, whole, as JSON", show),
        ("retry", "put a rejected alarm back in the queue", retry),
        ("drop", "delete one command for good", drop),
    ):
        parser = kinds.add_parser(name, help=text)
        parser.add_argument("number", type=_number, help="as `sosbridge outbox list` shows it")
        parser.set_defaults(run=run)


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{clean(text, 40)!r} is no number of a command; see: sosbridge outbox list")
    return int(text)


@asynccontextmanager
async def _opened(args: argparse.Namespace) -> AsyncIterator[Outbox]:
    async with await Store.open(args.load_settings().store.path) as store:
        yield Outbox(store)


async def list_all(args: argparse.Namespace) -> int:
    """Commands of a transmitter that is configured no more may still be there."""
    async with _opened(args) as outbox:
        waiting = await outbox.list(args.transmitter)
    if not waiting and args.transmitter is not None:
        find_transmitter(args.load_settings(), args.transmitter)
    header = ("number", "transmitter", "request", "code", "accepted", "state", "attempts", "error")
    if waiting:
        print_table(header, [_row(queued) for queued in waiting])
    return 0


def _row(queued: Queued) -> tuple[str, ...]:
    command = queued.command
    state = "unauthorized" if queued.unauthorized and queued.state == "pending" else queued.state
    return (
        str(queued.id),
        command.transmitter,
        str(command.request),
        clean(command.alarm.event_code) if command.alarm else "-",
        timestamp(command.accepted_at),
        state,
        str(queued.attempts),
        clean(queued.error) or "-",
    )


async def show(args: argparse.Namespace) -> int:
    async with _opened(args) as outbox:
        queued = await outbox.get(args.number)
    if queued is None:
        raise _none(args.number)
    command = queued.command
    found = {
        "number": queued.id,
        "transmitter": command.transmitter,
        "request": command.request,
        "state": queued.state,
        "accepted_at": timestamp(command.accepted_at),
        "attempts": queued.attempts,
        "unauthorized": queued.unauthorized,
        "error": queued.error or None,
        "reference": command.reference,
        "alarm": command.alarm.given() if command.alarm else None,
        "warnings": command.warnings,
    }
    print(json.dumps(found, indent=2, ensure_ascii=False))
    return 0


async def retry(args: argparse.Namespace) -> int:
    clock = Clock()
    async with _opened(args) as outbox:
        if not await outbox.retry(args.number, clock.now(), clock.moment()):
            queued = await outbox.get(args.number)
            raise (
                BridgeError(f"number {args.number} is {queued.state}, not rejected: it is tried anyway")
                if queued
                else _none(args.number)
            )
    print(f"number {args.number} is in the queue again")
    return 0


async def drop(args: argparse.Namespace) -> int:
    async with _opened(args) as outbox:
        if not await outbox.drop(args.number):
            raise _none(args.number)
    print(f"number {args.number} is dropped")
    return 0


def _none(number: int) -> BridgeError:
    return BridgeError(f"there is no number {number} in the outbox; see: sosbridge outbox list")
