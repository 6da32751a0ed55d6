"""Reads one panel as its plan says, and checks that it is the right one (PROTOCOL.md, Reading).

Before a panel is read or commanded over UDP, the host info at that address must name its GUID: since the panel's last
connection, and within 15 minutes. A panel without a configured host is looked for at the address it connects from; one
that does not answer there is read over its connection, if it can be commanded over it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from typing import Final

from bridge.g90.control import PanelControl
from bridge.g90.control_local import LocalControl
from bridge.g90.registry import PanelRegistry
from bridge.g90.state import history
from bridge.g90.state.model import (
    Commanded,
    FlagsRead,
    HistoryRead,
    InfoRead,
    Input,
    RelaysRead,
    SensorsRead,
    StatusRead,
    Step,
    Switched,
)
from bridge.g90.state.plan import RARELY_S, Plan, Query, Reads
from bridge.g90.wire.answers import history_record
from bridge.g90.wire.commands import (
    GET_HISTORY,
    GET_RELAYS,
    GET_SENSORS,
    PAGE,
    CommandRefused,
    HostInfo,
    PanelCommandError,
    sensor_record,
)
from bridge.g90.wire.constants import LOCAL_PORT, ArmCode

_log = logging.getLogger(__name__)
_MOST_RECORDS: Final = 50
"""Of the history: five pages."""
_SHORT_PAGE: Final = 5
"""For a panel whose history is read every few seconds."""
_SEEK_S: Final = 2.5
"""Between two attempts to find out whether a panel answers; the last one has twice as long."""
_LISTS: Final = {Query.HISTORY: GET_HISTORY, Query.SENSORS: GET_SENSORS, Query.RELAYS: GET_RELAYS}
_STRAY = "the panel at {} is {}, not {}; check its `host`"


class PanelReader:
    """Reads panel `guid` over `control`; None: over UDP at the address that it connects from."""

    def __init__(
        self,
        guid: str,
        control: PanelControl | None,
        *,
        reads: Reads,
        poll: float = 60.0,
        follows: bool | None = None,
        port: int = LOCAL_PORT,
    ) -> None:
        """`reads` is `REGULARLY`, `AT_HELLO` or `NOT`; `poll` in seconds.

        `follows`: look for the panel on UDP `port` of the address that it connects from; default: if `control` is None.
        """
        self.guid = guid
        self.control = control
        self._follows = control is None if follows is None else follows
        self._configured = (control, reads)
        self._port = port
        self._sought: tuple[str, float] = ("", -math.inf)
        """Where it was looked for last, and when."""
        self._candidate: LocalControl | None = None
        """Where it may answer; until it does it is read over its connection."""
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
        now = time.monotonic()
        self._connected = now
        if self._follows and not (isinstance(self.control, LocalControl) and self.control.host == address):
            self._follow(address, now)
        plan, self._greeted = self._plan if self._greeted else self._plan.refreshed(now), True
        self._schedule(plan.greeted(now))

    def _follow(self, address: str, now: float) -> None:
        """Look for the panel at another address, or again where it did not answer."""
        control, reads = self._configured
        where, when = self._sought
        self._greeted = self._greeted and address == where
        if control is None:
            self.control, self._sought = LocalControl(address, self._port), (address, now)
        elif reads is not Reads.NOT and (address != where or now - when >= RARELY_S):
            self._candidate = LocalControl(address, self._port, timeout=_SEEK_S, retries=1)
            self.control, self._sought = control, (address, now)
            self._plan = self._plan.with_reads(reads, now)

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
        """Make sure that the right panel is asked over UDP; raise `PanelCommandError` if it is another one."""
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
        if self.control is not None:
            self._plan = self._plan.started(time.monotonic())
        while True:
            self._changed.clear()
            self._choose(registry)
            query = self._plan.next(time.monotonic()) if self.control else None
            if query is None and self._candidate:
                await self._seek(self._candidate, registry)
            elif query is None:
                await self._pause()
            elif self.control is not None:
                await self._ask(query, self.control, registry)

    async def _seek(self, candidate: LocalControl, registry: PanelRegistry) -> None:
        """Read the panel over UDP from now on if it answers there."""
        self._candidate = None
        try:
            await self._info(registry, candidate)
        except PanelCommandError as error:
            _log.debug("panel %s is read over its connection: %s", self.guid, error)
        else:
            self.control, now = LocalControl(candidate.host, self._port), time.monotonic()
            self._plan = self._plan.with_reads(Reads.REGULARLY, now).refreshed(now)

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
                # Nothing there identifies this panel; the next connection may.
                self.control, reads = self._configured
                self._plan = self._plan.with_reads(reads, time.monotonic())
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
            case Query.FLAGS:
                await self._take(registry, FlagsRead(await control.alert_flags()))
            case Query.INFO:
                await self._info(registry, control)
            case _:
                await self._list(query, control, registry)

    async def _status(self, control: PanelControl, registry: PanelRegistry) -> None:
        asked, ours = time.monotonic(), self._commanded
        self._commanded = False
        status = await control.status()
        before = registry.panels[self.guid].state.partition.triggered
        step = await self._take(registry, StatusRead(status, asked, missed=not ours))
        if step.events or (status.arm == ArmCode.ALARMED and not before):
            self._schedule(self._plan.suspicious(time.monotonic()))

    async def _list(self, query: Query, control: PanelControl, registry: PanelRegistry) -> None:
        """Read a list and take it, also what was read of it before a failure."""
        asked, found = time.monotonic(), list[object]()

        def enough(found: list[object]) -> bool:
            if query is not Query.HISTORY or len(found) >= _MOST_RECORDS:
                return query is Query.HISTORY
            return history.reaches(registry.panels[self.guid].state, _history(found, asked), registry.now())

        short = query is Query.HISTORY and self._plan.reads is Reads.ALONE
        try:
            await control.read_list(found, _LISTS[query], _SHORT_PAGE if short else PAGE, enough)
        except PanelCommandError:
            if found:
                await self._take(registry, _list_read(query, found, asked, whole=False))
            raise
        await self._take(registry, _list_read(query, found, asked, whole=True))

    async def _take(self, registry: PanelRegistry, message: Input) -> Step:
        return await registry.take(registry.panels[self.guid], message)


def _list_read(query: Query, found: list[object], asked: float, *, whole: bool) -> Input:
    if query is Query.HISTORY:
        return _history(found, asked, whole=whole)
    records = tuple(map(sensor_record, found))
    return SensorsRead(records, whole) if query is Query.SENSORS else RelaysRead(records, whole)


def _history(found: list[object], asked: float, *, whole: bool = True) -> HistoryRead:
    return HistoryRead(tuple(map(history_record, found)), asked, whole)
