"""Notes when the bridge runs and when parts of its lines come up or go down, as they are published.

A run is a time in which the bridge ran and its clock went on evenly. A new one begins with each start, each month, and
where the clock was set or the machine slept; each begins with the present states, so that it can be read by itself.
While the clock is known to be wrong, nothing is noted.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from bridge.common.clock import Clock
from bridge.common.errors import StoreError
from bridge.common.loop import now, within
from bridge.common.runs import Edge
from bridge.record.months import Month
from bridge.store.edges import Edges, OpenRun

log = logging.getLogger(__name__)

_JUMP_S = 5.0
"""A time service slews the clock by less between two looks; more is a clock that was set, or a machine that slept."""
_LOOK_S = 60.0
_WRITE_EACH_S = 3600.0
"""The end of a killed run is known to this: 24 writes on an idle day."""
_AFTER_S = 0.001
"""More than what a Unix time is rounded by."""
_GATHER_S = 1.0
"""What changes within it is written as one."""
_RETRY_S = 30.0
_MOST_UNSAVED, _MOST_OF_A_PART = 10_000, 4
"""Edges of a run kept in memory while the store cannot take them, or as many of each part if there are thousands.

Past it the run is not known.
"""
_MOST_CLOSED = 10


class Recorder:
    """Follows the states of all transmitters' parts; `run` writes them to the store."""

    def __init__(self, edges: Edges, clock: Clock) -> None:
        self._edges = edges
        self._clock = clock
        self._states: dict[tuple[str, str], bool] = {}
        self._run: OpenRun | None = None
        self._closed: deque[OpenRun] = deque(maxlen=_MOST_CLOSED)
        """Runs that are over and not stored yet."""
        self._wall = self._awake = 0.0
        """When it was looked last: the time of day, and by the clock that a sleeping machine stops."""
        self._news = asyncio.Event()

    def note(self, transmitter: str, part: str, *, up: bool) -> None:
        """Note the state of a part; nothing happens where it is the same."""
        if self._states.get((transmitter, part)) is up:
            return
        self._states[transmitter, part] = up
        self._look()
        if self._run is not None:
            self._run.edges.append(Edge(transmitter, part, self._run.end, up))
            self._news.set()

    async def run(self) -> None:
        """Write what is new, and each hour that the bridge runs, until cancelled."""
        while True:
            self._look()
            await (self._until_due() if await self._save() else asyncio.sleep(_RETRY_S))

    async def stop(self) -> None:
        """Write the end of the run; call it when nothing changes any more."""
        self._look()
        await self._save()

    async def _until_due(self) -> None:
        """Wait for something to write, or for the full hour."""
        hour = self._now() // _WRITE_EACH_S
        while self._now() // _WRITE_EACH_S == hour and not self._closed:
            rest = _WRITE_EACH_S - self._now() % _WRITE_EACH_S + _AFTER_S
            if await within(min(_LOOK_S, rest), self._news.wait()):
                await asyncio.sleep(_GATHER_S)
                return
            self._look()

    def _now(self) -> float:
        return self._clock.now().timestamp()

    def _look(self) -> None:
        """Bring the end of the run up to now, or begin a new one."""
        wall, awake = self._now(), now()
        expected = self._wall + awake - self._awake
        self._wall, self._awake = wall, awake
        run = self._run
        if run is None:
            self._begin(wall)
        elif self._clock.is_wrong or abs(wall - expected) > _JUMP_S:
            run.end = max(run.end, expected)
            self._begin(wall)
        else:
            run.end = max(run.end, wall)
            if Month.of(run.start) != Month.of(run.end) or self._is_too_long(run):
                self._begin(run.end)

    def _begin(self, at: float) -> None:
        if self._run is not None and not self._is_too_long(self._run):
            self._closed.append(self._run)
        self._run = None
        if not self._clock.is_wrong:
            self._run = OpenRun(at, at, [Edge(*key, at, up) for key, up in self._states.items()])

    def _is_too_long(self, run: OpenRun) -> bool:
        return len(run.edges) > max(_MOST_UNSAVED, _MOST_OF_A_PART * len(self._states))

    async def _save(self) -> bool:
        self._news.clear()
        try:
            while self._closed:
                await self._edges.save(self._closed[0])
                self._closed.popleft()
            if self._run is not None:
                await self._edges.save(self._run)
        except StoreError as error:
            log.error("%s", error)
            return False
        return True
