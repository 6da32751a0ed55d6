"""`sosbridge test`: one test alarm by the running service."""

from __future__ import annotations

import argparse
import asyncio
import sys

from bridge.cli.common import coloured, existing_store, find_transmitter
from bridge.cli.stores import is_running, opened, send_test, shard_of_number
from bridge.common.clock import Clock
from bridge.common.errors import BridgeError, ConfigError
from bridge.common.models import Outcome
from bridge.record.alarms import AlarmEntry, entry
from bridge.sos_access.status import Rejected
from bridge.store.outbox import Outbox
from bridge.store.records import CommandEntry
from bridge.transmitters.scheduled_tests import new_test
from bridge.transmitters.sending import TEST_WITHIN_S

_LOOK_S = 0.5
_LONGEST_S = TEST_WITHIN_S + 120.0
"""The last attempt may take as long as its timeouts."""
_REFUSED = (Outcome.REJECTED, Outcome.UNAUTHORIZED)


async def send(args: argparse.Namespace) -> int:
    settings = args.load_settings()
    each = find_transmitter(settings, args.transmitter)
    code = args.event_code or each.test_event_code
    if code is None:
        raise ConfigError(f"{each.name}: test_event_code is missing; add it, or use --event-code")
    path = existing_store(settings)
    if not await is_running(settings):
        raise BridgeError("the service does not run; start it, or send one alarm without it: sosbridge alarm raise")
    number = await send_test(settings, each.name, code)
    async with opened(settings, path, shard_of_number(number or 0)) as store:
        outbox = Outbox(store)
        if number is None:
            await outbox.pending(each.name)  # so that `take` returns what is new
            await outbox.add([CommandEntry(new_test(each.name, code, Clock()))])
            if not (added := outbox.take(each.name)):
                raise BridgeError("the outbox is full; see sosbridge outbox list")
            number = added[0].id
        print(f"test alarm {code} of {each.name}: number {number} in the outbox", file=sys.stderr)
        return _report(each.name, await _result(outbox, each.name, number))


async def _result(outbox: Outbox, transmitter: str, number: int) -> AlarmEntry:
    """Wait for the result of a command. Raises BridgeError."""
    try:
        async with asyncio.timeout(_LONGEST_S):
            while (fields := await outbox.test_result(transmitter, number)) is None:  # noqa: ASYNC110 - another program
                await asyncio.sleep(_LOOK_S)
    except TimeoutError:
        raise BridgeError(f"no result within {_LONGEST_S:.0f} s; see sosbridge outbox show {number}") from None
    found = entry("test", fields)
    assert found is not None  # noqa: S101 - the service writes both times
    return found


def _report(name: str, found: AlarmEntry) -> int:
    if not found.delivered:
        text = f"{name}: the test alarm failed, {found.outcome}: {found.error}"
        raise Rejected(text) if found.outcome in _REFUSED else BridgeError(text)
    route = " over ".join(filter(None, (found.receiver, found.path)))
    print(f"{coloured('accepted', good=True)} by the {route} receiver after {found.seconds or 0:.1f} s")
    return 0
