"""Watches the clock: reports when it is wrong and when it is right again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from bridge.common.clock import Clock
from bridge.common.kernel import machine_id
from bridge.common.lasting import tolerated
from bridge.common.problems import Kind, Problems
from bridge.store.outbox import Outbox

log = logging.getLogger(__name__)

_EACH_S = 1.0
_FAR_S = 300.0
"""Seconds; a receiver's clock that differs by more is worth a warning."""
_ZONE_S = 900.0
"""Time zones differ by multiples of this."""
_ZONE_TOLERANCE_S = 60.0
_FACT = "synchronised machine"


class ClockWatch:
    def __init__(self, clock: Clock, outbox: Outbox, problems: Problems, emit: Callable[..., None]) -> None:
        """`emit` publishes on `bridge/event`."""
        self._clock = clock
        self._outbox = outbox
        self._problems = problems
        self._emit = emit
        self._far: set[str] = set()
        self._was_wrong = False

    async def load(self) -> None:
        """Read whether a time service has ever set the clock of this machine. Raises StoreError."""
        self._clock.was_synchronised = await self._outbox.fact(_FACT) == machine_id()

    async def run(self) -> None:
        while True:
            if self._clock.is_wrong != self._was_wrong:
                self._was_wrong = self._clock.is_wrong
                self._report()
            self._compare()
            await self._learn()
            await asyncio.sleep(_EACH_S)

    async def _learn(self) -> None:
        if self._clock.was_synchronised or not self._clock.is_synchronised:
            return
        with tolerated(log):
            await self._outbox.keep_fact(_FACT, machine_id())
            self._clock.was_synchronised = True

    def _report(self) -> None:
        wrong = self._clock.is_wrong
        text = f"the clock is wrong: {self._clock.now():%Y-%m-%d %H:%M:%S}; alarms go out without a time"
        self._emit("clock_wrong" if wrong else "clock_right")
        self._problems.set(Kind.CLOCK_WRONG, text if wrong else None)

    def _compare(self) -> None:
        """Warn of a receiver's clock that differs from ours, once until it agrees again."""
        far = {name: offset for name, offset in self._clock.offsets.items() if abs(offset) > _FAR_S}
        for name in far.keys() - self._far:
            beside = abs(far[name] - round(far[name] / _ZONE_S) * _ZONE_S)
            zone = "; is the time zone right? (in a container, set TZ)" if beside < _ZONE_TOLERANCE_S else ""
            transmitter, _, receiver = name.rpartition(" ")
            text = "%s: the clock of the %s receiver differs from ours by %+.0f s%s"
            fields = {"transmitter": transmitter, "receiver": receiver}
            log.warning(text, transmitter, receiver, far[name], zone, extra=fields)
        self._far = set(far)
