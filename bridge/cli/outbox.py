"""`sosbridge outbox`: list pending and rejected commands, retry or drop one."""

from __future__ import annotations

import argparse
import sys

from bridge.cli import stores
from bridge.cli.common import find_transmitter, print_json, print_table
from bridge.common.errors import BridgeError
from bridge.common.text import clean, timestamp
from bridge.store.outbox import Outbox
from bridge.store.records import Queued, State


async def list_all(args: argparse.Namespace) -> int:
    """List the commands. A transmitter that is not configured any more can still have some."""
    found: list[Queued] = []
    settings = args.load_settings()
    for shard in range(stores.shards(settings)):
        async with stores.opened(settings, shard=shard) as store:
            found += await Outbox(store).list(args.transmitter)
    if not found and args.transmitter is not None:
        find_transmitter(settings, args.transmitter)
    if args.json:
        print_json([_as_json(queued) for queued in found])
        return 0
    if not found:
        print("the outbox is empty", file=sys.stderr)  # standard output stays empty for other programs
        return 0
    header = ("number", "transmitter", "request", "code", "accepted", "state", "attempts", "error")
    print_table(header, [_row(queued) for queued in found])
    return 0


def _row(queued: Queued) -> tuple[str, ...]:
    command = queued.command
    return (
        str(queued.id),
        command.transmitter,
        str(command.request),
        clean(command.alarm.event_code) if command.alarm else "-",
        timestamp(command.accepted_at),
        _state(queued),
        str(queued.attempts),
        clean(queued.error) or "-",
    )


def _state(queued: Queued) -> str:
    """Return the state to show; `undelivered` has failed or waited too long, and is retried."""
    if queued.state is State.REJECTED:
        return queued.state
    state: str = "undelivered" if queued.undelivered else queued.state
    state = "unauthorized" if queued.unauthorized else state
    return f"{state}, urgent" if queued.urgent else state


async def show(args: argparse.Namespace) -> int:
    if (queued := await _get(args)) is None:
        raise _none(args.number)
    print_json(_as_json(queued))
    return 0


async def _get(args: argparse.Namespace) -> Queued | None:
    async with stores.opened(args.load_settings(), shard=stores.shard_of_number(args.number)) as store:
        return await Outbox(store).get(args.number)


def _as_json(queued: Queued) -> dict[str, object]:
    command = queued.command
    return {
        "number": queued.id,
        "transmitter": command.transmitter,
        "request": command.request,
        "state": queued.state,
        "accepted_at": timestamp(command.accepted_at),
        "attempts": queued.attempts,
        "urgent": queued.urgent,
        "undelivered": queued.undelivered,
        "unauthorized": queued.unauthorized,
        "error": queued.error or None,
        "reference": command.reference,
        "alarm": command.alarm.given() if command.alarm else None,
        "warnings": command.warnings,
    }


async def retry(args: argparse.Namespace) -> int:
    if not await stores.retry(args.load_settings(), args.number):
        if queued := await _get(args):
            raise BridgeError(f"number {args.number} is {queued.state}, not rejected; it needs no retry")
        raise _none(args.number)
    print(f"number {args.number} is queued again")
    return 0


async def drop(args: argparse.Namespace) -> int:
    if not await stores.drop(args.load_settings(), args.number):
        raise _none(args.number)
    print(f"number {args.number} was dropped")
    return 0


def _none(missing: int) -> BridgeError:
    return BridgeError(f"no number {missing} in the outbox; see: sosbridge outbox list")
