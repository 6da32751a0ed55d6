"""Watches the clock: reports when it is wrong and when it is right again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from bridge.common.clock import Clock

log = logging.getLogger(__name__)

_EACH_S = 1.0


async def watch(clock: Clock, emit: Callable[..., None]) -> None:
    """Watch until cancelled; `emit` publishes on `bridge/event`."""
    was_wrong = False
    while True:
        if clock.is_wrong != was_wrong:
            was_wrong = clock.is_wrong
            _report(clock, emit)
        await asyncio.sleep(_EACH_S)


def _report(clock: Clock, emit: Callable[..., None]) -> None:
    offset = clock.offset_s
    details = {} if offset is None else {"offset_s": round(offset, 3)}
    emit("clock_wrong" if clock.is_wrong else "clock_right", **details)
    log.log(logging.ERROR if clock.is_wrong else logging.INFO, "%s", _words(clock))


def _words(clock: Clock) -> str:
    if not clock.is_wrong:
        return "the clock is right"
    offset = "" if clock.offset_s is None else f", {-clock.offset_s:+.0f} s from the receiver's"
    zone = "; is the time zone right? (in a container, set TZ)" if clock.is_in_another_zone else ""
    return f"the clock is wrong: {clock.now():%Y-%m-%d %H:%M:%S}{offset}; alarms go out without a time{zone}"
