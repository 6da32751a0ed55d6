"""Reads one panel as its plan says, and checks that it is the right one (PROTOCOL.md, Reading).

Before a panel is read or commanded over UDP, the host info at that address must name its GUID: since the panel's last
connection, and within 15 minutes. A panel without a configured host is looked for at the address it connects from.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import TYPE_CHECKING, Final

from bridge.g90.control_local import LocalControl
from bridge.g90.state import history
from bridge.g90.state.model import (
    Commanded,
    FlagsRead,
    HistoryRead,
    InfoRead,
    RelaysRead,
    SensorsRead,
    StatusRead,
    Switched,
)
from bridge.g90.state.plan import RARELY_S, Plan, Query, Reads
from bridge.g90.wire.answers import GET_HISTORY, history_record
from bridge.g90.wire.commands import PAGE, CommandRefused, PanelCommandError
from bridge.g90.wire.constants import LOCAL_PORT, ArmCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.g90.control import PanelControl
    from bridge.g90.registry import PanelRegistry
    from bridge.g90.state.model import Input, Step
    from bridge.g90.wire.commands import HostInfo
    from bridge.g90.wire.events import Alert

_log = logging.getLogger(__name__)
_PAGES: Final = 5
"""Of the history, at once."""
_SHORT_PAGE: Final = 5
"""For a panel whose history is read every few seconds."""
_STRAY = "the panel at {} is {}, not {}; is its address right?"


class PanelReader:
    """Reads panel `guid` over `control`; None: over UDP at the address that it connects from."""

    def __init__(
        self, guid: str, control: PanelControl | None, *, reads: Reads, poll: float = 60.0, port: int = LOCAL_PORT
    ) -> None:
        """`reads` is `REGULARLY`, `AT_HELLO` or `NOT`; `poll` in seconds; `port` where `control` is None."""
        self.guid = guid
        self.control = control
        self._follows = control is None
        self._port = port
        self._plan = Plan(reads, poll)
        self._checked = -math.inf
        self._connected = -math.inf
        """When it connected last, by the steady clock, as `_checked` is: a check must have begun after that."""
        self._greeted = False
        self._commanded = False
        self._changed = asyncio.Event()
        self._problem: str | None = None
        self.on_problem: Callable[[], None] = lambda: None
        """Called when `problem` changes."""

    @property
    def problem(self) -> str | None:
        """Why the panel cannot be read; None if it can."""
        return self._problem if self._plan.unreadable else None

    # What makes a reading due

    def greeted(self, address: str) -> None:
        """The panel said hello on a new connection: what the last one did not carry was missed."""
        self._connected = time.monotonic()
        if self._follows and not (isinstance(self.control, LocalControl) and self.control.host == address):
            self.control = LocalControl(address, self._port)
            self._greeted = False
        plan, self._greeted = self._plan if self._greeted else self._plan.refreshed(time.monotonic()), True
        self._schedule(plan.greeted(time.monotonic()))

    def refresh(self) -> None:
        self._schedule(self._plan.refreshed(time.monotonic()))

    async def commanded(self, registry: PanelRegistry, done: Commanded | Switched) -> None:
        """The panel carried out a command: read back what it changed."""
        self._commanded = True
        await self._take(registry, done)
        self._schedule(self._plan.commanded(time.monotonic()))

    def _schedule(self, plan: Plan) -> None:
        self._plan = plan
        self._changed.set()

    async def check(self, registry: PanelRegistry) -> None:
        """Make sure that the right panel is commanded over UDP; raise `PanelCommandError` if it is another one."""
        since = max(self._connected, time.monotonic() - RARELY_S)
        if isinstance(self.control, LocalControl) and self._checked <= since:
            await self._info(registry, self.control)
            now = time.monotonic()
            self._plan = self._plan.began(Query.INFO, now).answered(Query.INFO, now)

    async def _info(self, registry: PanelRegistry, control: PanelControl) -> None:
        began = time.monotonic()
        info = await control.host_info()
        if isinstance(control, LocalControl):
            self._verify(info, control)
            self._checked = began
        await self._take(registry, InfoRead(info))

    def _verify(self, info: HostInfo, control: LocalControl) -> None:
        """Some panels leave their GUID out; where the user named the address, that is tolerated."""
        if info.guid != self.guid and (info.guid or self._follows):
            raise CommandRefused(_STRAY.format(control.host, info.guid or "unnamed", self.guid))

    # Reading

    async def run(self, registry: PanelRegistry) -> None:
        """Read until cancelled."""
        if self.control is not None:
            self._plan = self._plan.started(time.monotonic())
        while True:
            self._changed.clear()
            self._choose(registry)
            query = self._plan.next(time.monotonic()) if self.control else None
            if query is None:
                await self._pause()
            elif self.control is not None:
                await self._ask(query, self.control, registry)

    def _choose(self, registry: PanelRegistry) -> None:
        """Ask a panel more often that does not dial us."""
        panel = registry.panels.get(self.guid)
        if self._plan.reads not in (Reads.REGULARLY, Reads.ALONE) or panel is None:
            return
        dials = registry.dials(panel)
        if dials is (self._plan.reads is Reads.ALONE):
            self._plan = self._plan.with_reads(Reads.REGULARLY if dials else Reads.ALONE, time.monotonic())

    async def _pause(self) -> None:
        wakes = self._plan.wakes() if self.control else None
        try:
            async with asyncio.timeout(None if wakes is None else max(wakes - time.monotonic(), 0.0)):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _ask(self, query: Query, control: PanelControl, registry: PanelRegistry) -> None:
        self._plan = self._plan.began(query, time.monotonic())
        try:
            if query is not Query.INFO:
                await self.check(registry)
            await self._read(query, control, registry)
        except PanelCommandError as error:
            self._plan = self._plan.failed(query, time.monotonic())
            _log.debug(
                "panel %s: %s was not read: %s", registry.panels[self.guid].config.label, query.name.lower(), error
            )
            if self._plan.unreadable and self._problem is None:
                self._problem = str(error)
                self.on_problem()
            if self._follows and self._plan.unreadable and self._checked <= self._connected:
                self.control = None  # nothing there says that it is this panel; the next connection may tell more
            return
        self._plan = self._plan.answered(query, time.monotonic())
        if self._problem is not None and query is Query.STATUS:
            self._problem = None
            self.on_problem()
        if isinstance(control, LocalControl) and (panel := registry.panels.get(self.guid)):
            await registry.answered(panel, control.host)

    async def _read(self, query: Query, control: PanelControl, registry: PanelRegistry) -> None:
        match query:
            case Query.STATUS:
                await self._status(control, registry)
            case Query.HISTORY:
                await self._history(control, registry)
            case Query.SENSORS:
                await self._take(registry, SensorsRead(await control.records()))
            case Query.FLAGS:
                await self._take(registry, FlagsRead(await control.alert_flags()))
            case Query.INFO:
                await self._info(registry, control)
            case Query.RELAYS:
                await self._take(registry, RelaysRead(await control.relays()))

    async def _status(self, control: PanelControl, registry: PanelRegistry) -> None:
        asked, ours = time.monotonic(), self._commanded
        self._commanded = False
        status = await control.status()
        before = registry.panels[self.guid].state.triggered
        step = await self._take(registry, StatusRead(status, asked, missed=not ours))
        if step.events or (status.arm == ArmCode.ALARMED and not before):
            self._schedule(self._plan.suspicious(time.monotonic()))

    async def _history(self, control: PanelControl, registry: PanelRegistry) -> None:
        asked = time.monotonic()
        size = _SHORT_PAGE if self._plan.reads is Reads.ALONE else PAGE
        records: list[Alert] = []
        for _ in range(_PAGES):
            part = await control.page(GET_HISTORY, len(records) + 1, size)
            records += map(history_record, part.records)
            read = HistoryRead(tuple(records), asked)
            state = registry.panels[self.guid].state
            if not part.records or len(records) >= part.total or history.reaches(state, read, registry.now()):
                break
        await self._take(registry, HistoryRead(tuple(records), asked))

    async def _take(self, registry: PanelRegistry, message: Input) -> Step:
        return await registry.take(registry.panels[self.guid], message)
