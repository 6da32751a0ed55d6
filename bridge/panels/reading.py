"""Reads status, sensors and host info of a panel when it connects, and when it reports that its sensors changed."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict

from bridge.common.clock import Clock
from bridge.g90.control import PanelControl
from bridge.g90.server import PanelServer
from bridge.g90.state.panel import PanelState
from bridge.g90.state.reducer import Step
from bridge.g90.state.responses import with_info, with_sensors, with_status
from bridge.g90.wire.commands import PanelCommandError
from bridge.panels.known import KnownPanels

log = logging.getLogger(__name__)


class ReadRequests:
    """The panels that are to be read: each once, until reading it begins."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._waiting: set[str] = set()

    def put(self, guid: str) -> None:
        if guid not in self._waiting:
            self._waiting.add(guid)
            self._queue.put_nowait(guid)

    async def get(self) -> str:
        return await self._queue.get()

    def begun(self, guid: str) -> None:
        """What is requested from now on is another reading."""
        self._waiting.discard(guid)


class PanelReader:
    """Reads the requested panels that are controlled, and applies what they answer to their states."""

    def __init__(self, requests: ReadRequests, panels: KnownPanels, server: PanelServer, clock: Clock) -> None:
        self._requests = requests
        self._panels = panels
        self._server = server
        self._clock = clock
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def run(self) -> None:
        """Read until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                guid = await self._requests.get()
                tasks.create_task(self._read(guid), name=f"read panel {guid}")

    async def _read(self, guid: str) -> None:
        async with self._locks[guid]:
            self._requests.begun(guid)
            if control := self._panels.configured[guid].control:
                await self._read_all(guid, control)

    async def _read_all(self, guid: str, control: PanelControl) -> None:
        try:
            # The status last: what it says is taken before it can have changed.
            records, info, status = await control.records(), await control.host_info(), await control.status()
        except PanelCommandError as error:
            log.warning("panel %s: status and sensors are not read: %s", guid, error)
            return
        now = self._clock.now()
        await self._server.apply(guid, lambda state: with_status(state, status, now))
        await self._server.apply(guid, lambda state: _with_state(state, with_sensors(state, records)))
        await self._server.apply(guid, lambda state: _with_state(state, with_info(state, info)))


def _with_state(before: PanelState, after: PanelState) -> Step:
    return Step(before if before == after else after)
