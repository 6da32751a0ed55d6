"""The panels that are known, their states, and who a report is from; one panel's steps are taken one after the other.

An event is handed to the handler before the state that remembers it is kept and before the next report of that panel:
what the handler could not store is offered again until it can.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import TYPE_CHECKING, Final, Protocol

from bridge.common.errors import BridgeError
from bridge.common.text import clean
from bridge.g90.state.panel import Options, PanelState
from bridge.g90.state.reducer import Step, heard, next_due, reduce, silent, tick

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.g90.wire.events import PanelEvent, Report

_log = logging.getLogger(__name__)
_SEEN_EVERY: Final = timedelta(minutes=10)
"""How old `last_seen` may get while nothing else changes."""
_MOST_STRANGERS: Final = 1024
_MOST_ACCEPTED: Final = 5000
"""Panels beyond which nobody unknown is taken: GUIDs cost a liar nothing."""
_LONGEST_PAUSE_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelConfig:
    """One panel as the user names it. `address`: the network that it must come from; None: any."""

    guid: str
    name: str | None = None
    address: IPv4Network | IPv6Network | None = None
    options: Options = field(default_factory=Options)


class Refused(StrEnum):
    """Why something was refused; told once for each GUID or address."""

    UNKNOWN_PANEL = "unknown_panel"
    WRONG_ADDRESS = "wrong_address"
    UNATTRIBUTED = "unattributed"
    """A report without a GUID, from an address of none or of several panels."""


class PanelHandler(Protocol):
    """Who is told. What raises a `BridgeError` is offered again until it is taken."""

    async def panel_changed(self, state: PanelState, events: tuple[PanelEvent, ...]) -> None:
        """Take new events of a panel, and its state after them; both are to be stored when this returns."""

    async def panel_refused(self, reason: Refused, guid: str | None, address: str) -> None:
        """Take that somebody was refused."""


@dataclass(slots=True)
class RegisteredPanel:
    """One panel at run time."""

    config: PanelConfig
    state: PanelState
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    heard: float = field(default_factory=time.monotonic)
    """When it was last heard, or when we began to listen: seconds of the monotonic clock."""
    due: datetime | None = None
    device_time: datetime | None = None
    upstream_time: datetime | None = None


class PanelRegistry:
    """All panels by GUID. `accept_unknown` makes a panel of every GUID that says hello."""

    def __init__(
        self,
        handler: PanelHandler,
        panels: Mapping[str, PanelConfig],
        states: Mapping[str, PanelState],
        *,
        accept_unknown: bool = False,
        offline_after: float = 180.0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._handler = handler
        self._accept_unknown = accept_unknown
        self._offline_after = offline_after
        self._clock = clock
        self._strangers: dict[str, tuple[str, float]] = {}
        self._told: set[tuple[Refused, str]] = set()
        self._at: dict[str, set[str]] = {}
        self.counters = {"events": 0, "skipped": 0, "refused": 0, "unattributed": 0}
        self.panels = {guid: self._panel(config, states.get(guid)) for guid, config in panels.items()}
        if accept_unknown:
            extra = {guid: state for guid, state in states.items() if guid not in panels}
            self.panels |= {guid: self._panel(PanelConfig(guid=guid), state) for guid, state in extra.items()}

    def knows_address(self, address: str) -> bool:
        return bool(self._at.get(address))

    async def admit(self, guid: str, address: str) -> RegisteredPanel | None:
        """Return the panel that says to be `guid` at `address`, None (told once) if it is refused."""
        panel = self.panels.get(guid)
        if panel is None and self._accept_unknown and len(self.panels) < _MOST_ACCEPTED:
            panel = self.panels[guid] = self._panel(PanelConfig(guid=guid), None)
        if panel is None:
            self._note_stranger(guid, address)
            await self._refuse(Refused.UNKNOWN_PANEL, guid, address)
        elif not _inside(address, panel.config.address):
            await self._refuse(Refused.WRONG_ADDRESS, guid, address)
            panel = None
        return panel

    async def at_address(self, address: str) -> RegisteredPanel | None:
        """Return the one panel known at `address`; None (counted, told once) where none or several are."""
        recent = time.monotonic() - self._offline_after
        strangers = any(where == address and at >= recent for where, at in self._strangers.values())
        found = [self.panels[guid] for guid in self._at.get(address, ())]
        if len(found) == 1 and not strangers and _inside(address, found[0].config.address):
            return found[0]
        self.counters["unattributed"] += 1
        await self._refuse(Refused.UNATTRIBUTED, None, address)
        return None

    def is_quiet(self, panel: RegisteredPanel, address: str, firmware: str | None) -> bool:
        """Tell whether another sign of life changes nothing, and note it if so."""
        state = panel.state
        now = self._clock()
        if not state.online or state.address != address or firmware not in (None, state.firmware):
            return False
        if state.connected_since is None or state.last_seen is None or now - state.last_seen >= _SEEN_EVERY:
            return False
        panel.heard, panel.device_time = time.monotonic(), now
        return True

    async def alive(self, panel: RegisteredPanel, address: str, firmware: str | None = None) -> None:
        """Take a sign of life."""
        if not self.is_quiet(panel, address, firmware):
            panel.heard, panel.device_time = time.monotonic(), self._clock()
            await self.step(panel, lambda state: heard(state, self._clock(), address, firmware))

    async def report(self, panel: RegisteredPanel, report: Report) -> None:
        """Take one report; raise `MessageError` if it means nothing."""
        options = panel.config.options
        await self.step(panel, lambda state: reduce(state, report, self._clock(), options))

    async def step(self, panel: RegisteredPanel, take: Callable[[PanelState], Step]) -> None:
        """Take one step of one panel: hand its events to the handler, then keep its state."""
        async with panel.lock:
            step = take(panel.state)
            if step.state is panel.state and not step.events:
                return
            await self._offer(step)
            self.counters["events"] += len(step.events)
            self._moved(panel.state, step.state)
            panel.state, panel.due = step.state, next_due(step.state)

    async def sweep(self) -> None:
        """Let time pass for all panels."""
        now, late = self._clock(), time.monotonic() - self._offline_after
        for panel in list(self.panels.values()):
            if panel.due and panel.due <= now:
                await self.step(panel, partial(tick, now=now, options=panel.config.options))
            if panel.heard < late and panel.state.online is not False:
                await self._fall_silent(panel, now, late)

    async def _fall_silent(self, panel: RegisteredPanel, now: datetime, late: float) -> None:
        # It may be heard while its last report, or the store, keeps this waiting.
        await self.step(panel, lambda state: silent(state, now) if panel.heard < late else Step(state))

    def _panel(self, config: PanelConfig, state: PanelState | None) -> RegisteredPanel:
        state = replace(state or PanelState(guid=config.guid), name=config.name)
        self._moved(None, state)
        # Looked at once however far away that seems: the clock may have been set back since.
        return RegisteredPanel(config, state, due=self._clock() if next_due(state) else None)

    def _moved(self, before: PanelState | None, after: PanelState) -> None:
        """Keep the book of addresses."""
        if before and before.address != after.address and before.address:
            self._at[before.address].discard(before.guid)
            if not self._at[before.address]:
                del self._at[before.address]
        if after.address:
            self._at.setdefault(after.address, set()).add(after.guid)

    async def _offer(self, step: Step) -> None:
        pause = 1.0
        while True:
            try:
                await self._handler.panel_changed(step.state, step.events)
            except BridgeError as error:
                _log.error("panel %s: not stored, tried again in %.0f s: %s", step.state.guid, pause, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)
            else:
                return

    def _note_stranger(self, guid: str, address: str) -> None:
        self._strangers.pop(guid, None)
        self._strangers[guid] = (address, time.monotonic())
        if len(self._strangers) > _MOST_STRANGERS:
            del self._strangers[next(iter(self._strangers))]

    async def _refuse(self, reason: Refused, guid: str | None, address: str) -> None:
        self.counters["refused"] += 1
        once = (reason, guid or address)
        if once in self._told or len(self._told) >= _MOST_STRANGERS:
            return
        self._told.add(once)
        _log.warning("%s: %s from %s, it changes nothing", reason, guid or "a report", clean(address))
        try:
            await self._handler.panel_refused(reason, guid, address)
        except BridgeError as error:
            _log.warning("%s not told on: %s", reason, error)


def _inside(address: str, network: IPv4Network | IPv6Network | None) -> bool:
    return network is None or ip_address(address) in network
