"""Watches the clock: tells when it is found wrong and when it is right again; nothing of panels waits for its jumps."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta

from bridge.common.clock import Clock
from bridge.panels.events import Panels

log = logging.getLogger(__name__)

_EACH_S = 1.0
_JUMP = timedelta(seconds=1)
"""What a clock that is adjusted gently does not move in a second."""


async def watch(clock: Clock, tell: Callable[..., None], panels: Panels | None) -> None:
    """Watch until cancelled; `tell` publishes on `bridge/event`."""
    was_wrong = False
    while True:
        jump = clock.jump()
        if abs(jump) > _JUMP and panels is not None:
            panels.clock_was_set(jump)
        if clock.is_wrong != was_wrong:
            was_wrong = clock.is_wrong
            _tell(clock, tell)
        await asyncio.sleep(_EACH_S)


def _tell(clock: Clock, tell: Callable[..., None]) -> None:
    offset = clock.offset_s
    details = {} if offset is None else {"offset_s": round(offset, 3)}
    tell("clock_wrong" if clock.is_wrong else "clock_right", **details)
    log.log(logging.ERROR if clock.is_wrong else logging.INFO, "%s", _words(clock))


def _words(clock: Clock) -> str:
    if not clock.is_wrong:
        return "the clock is right"
    offset = "" if clock.offset_s is None else f", {-clock.offset_s:+.0f} s from the receiver's"
    zone = "; is the time zone right? (in a container, set TZ)" if clock.is_in_another_zone else ""
    return f"the clock is wrong: {clock.now():%Y-%m-%d %H:%M:%S}{offset}; alarms go out without a time{zone}"
