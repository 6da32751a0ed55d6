"""The known panels, their states, whose report is whose (PROTOCOL.md, Attribution of reports).

The steps of one panel run one after the other. The handler stores the events of a step before the new state replaces
the old one and before the next report of that panel; if it fails, it is called again until it succeeds.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final, Protocol

from bridge.common.backoff import Backoff
from bridge.common.errors import BridgeError
from bridge.common.lasting import LASTS
from bridge.common.text import clean
from bridge.g90.state.model import Elapsed, Heard, Input, Now, Options, PanelState, Silent, Step, evolve
from bridge.g90.state.reducer import reduce
from bridge.g90.wire.events import PanelEvent
from bridge.g90.workers import Rest

_log = logging.getLogger(__name__)
_SEEN_EVERY_S: Final = 600.0
"""How old `last_seen` may get before a sign of life updates it."""
_MAX_STRANGERS: Final = 1024
_MAX_ACCEPTED: Final = 5000
"""With `accept_unknown`, the number of panels from which on unknown GUIDs are refused: anyone can make up GUIDs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelConfig:
    """One configured panel. `address`: the network it must connect from; None: any."""

    guid: str
    name: str | None = None
    address: IPv4Network | IPv6Network | None = None
    options: Options = field(default_factory=Options)

    @property
    def label(self) -> str:
        """The panel's name in the log; its GUID where it has none."""
        return self.name or self.guid


class Refused(StrEnum):
    """Why something was refused; reported once per GUID or address."""

    UNKNOWN_PANEL = "unknown_panel"
    WRONG_ADDRESS = "wrong_address"
    UNATTRIBUTED = "unattributed"
    """A report without a GUID, from an address of no panel or of several."""


_REFUSALS: Final = {
    Refused.UNKNOWN_PANEL: "unknown panel %(panel)s from %(address)s ignored; add it under [[g90.panels]]",
    Refused.WRONG_ADDRESS: "panel %(panel)s from %(address)s ignored; its `address` allows another network",
    Refused.UNATTRIBUTED: "report from %(address)s ignored; it could be of any panel there, or of none",
}


class PanelHandler(Protocol):
    async def panel_changed(self, state: PanelState, events: tuple[PanelEvent, ...]) -> None:
        """Store new events of a panel and its state after them. Called again later if it raises `BridgeError`."""

    async def panel_refused(self, reason: Refused, guid: str | None, address: str) -> None:
        """Handle a refusal; a `BridgeError` is logged and not retried."""

    def panel_greeted(self, guid: str, address: str) -> None:
        """Handle the first hello of a connection, after the panel's state has it."""


@dataclass(slots=True)
class RegisteredPanel:
    config: PanelConfig
    state: PanelState
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    heard: float = field(default_factory=time.monotonic)
    """When it was last heard, or when the server started: seconds of the monotonic clock."""
    dialled: float = float("-inf")
    """The same of its own connections alone, not of its answers."""
    noted: float = float("-inf")
    """When `last_seen` was updated by a connection of its own."""


class PanelRegistry:
    """All panels by GUID. With `accept_unknown`, every GUID that says hello becomes a panel."""

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
        self._reported: set[tuple[Refused, str]] = set()
        self._at: dict[str, set[str]] = {}
        self.panels = {guid: self._panel(config, states.get(guid)) for guid, config in panels.items()}
        if accept_unknown:
            extra = {guid: state for guid, state in states.items() if guid not in panels}
            self.panels |= {guid: self._panel(PanelConfig(guid=guid), state) for guid, state in extra.items()}

    def knows_address(self, address: str) -> bool:
        return bool(self._at.get(address))

    async def admit(self, guid: str, address: str) -> RegisteredPanel | None:
        """Return panel `guid` if it may connect from `address`; else report the refusal once and return None."""
        panel = self.panels.get(guid)
        if panel is None and self._accept_unknown and len(self.panels) < _MAX_ACCEPTED:
            panel = self.panels[guid] = self._panel(PanelConfig(guid=guid), None)
        if panel is None:
            self._note_stranger(guid, address)
            await self._refuse(Refused.UNKNOWN_PANEL, guid, address)
        elif not _inside(address, panel.config.address):
            await self._refuse(Refused.WRONG_ADDRESS, guid, address)
            panel = None
        return panel

    async def at_address(self, address: str) -> RegisteredPanel | None:
        """Return the one panel known at `address`; report once and return None if there is none or several."""
        recent = time.monotonic() - self._offline_after
        strangers = any(where == address and at >= recent for where, at in self._strangers.values())
        found = [self.panels[guid] for guid in self._at.get(address, ())]
        if len(found) == 1 and not strangers and _inside(address, found[0].config.address):
            return found[0]
        await self._refuse(Refused.UNATTRIBUTED, None, address)
        return None

    def alive(self, panel: RegisteredPanel, address: str, firmware: str | None = None) -> Rest | None:
        """Note a sign of life on a connection of the panel; return the rest where it changes the state."""
        panel.heard = panel.dialled = now = time.monotonic()
        link = panel.state.link
        known = link.online and link.address == address and firmware in (None, link.firmware)
        if known and now - panel.noted < _SEEN_EVERY_S:
            return None
        return partial(self._note, panel, Heard(address, firmware))

    async def _note(self, panel: RegisteredPanel, heard: Heard) -> None:
        await self.take(panel, heard)
        panel.noted = time.monotonic()

    async def answered(self, panel: RegisteredPanel, address: str) -> None:
        """Record a sign of life of a panel that we asked; while it dials us, that says enough."""
        panel.heard = time.monotonic()
        link = panel.state.link
        if not self.dials(panel) and not (link.online and link.address == address):
            await self.take(panel, Heard(address))

    def greeted(self, panel: RegisteredPanel, address: str) -> None:
        self._handler.panel_greeted(panel.config.guid, address)

    def dials(self, panel: RegisteredPanel) -> bool:
        """Return whether the panel was heard recently on a connection of its own."""
        return time.monotonic() - panel.dialled < self._offline_after

    def attempt(self, panel: RegisteredPanel, message: Input) -> Step:
        """Return what one input would lead to; nothing changes yet. Raises as `take`."""
        return reduce(panel.state, message, self.now(), panel.config.options)

    async def take(self, panel: RegisteredPanel, message: Input, late: float = math.inf) -> Step:
        """Take one input: give its events to the handler, then replace the panel's state.

        Raises `MessageError` for a report without a known meaning. Does nothing if the panel was heard since `late`.
        """
        return await self.complete(panel, message, panel.state, self.attempt(panel, message), late)

    async def complete(
        self, panel: RegisteredPanel, message: Input, before: PanelState, step: Step, late: float = math.inf
    ) -> Step:
        """Do as `take`, if the state is still `before` with the `step` that was attempted."""
        await panel.lock.acquire()  # `async with` costs another coroutine
        try:
            if panel.heard >= late:
                return Step(panel.state)
            if panel.state is not before:  # another step was completed meanwhile
                before, step = panel.state, self.attempt(panel, message)
            if step.state is not before or step.events:
                try:
                    await self._handler.panel_changed(step.state, step.events)
                except BridgeError as error:
                    await self._store(step, error)
                if before.link.address != step.state.link.address:
                    self._moved(before, step.state)
                panel.state = step.state
            return step
        finally:
            panel.lock.release()

    async def sweep(self) -> None:
        """Run what is due for any panel: timers, and going offline."""
        now = time.monotonic()
        for panel in list(self.panels.values()):
            if panel.state.due is not None and panel.state.due <= now:
                await self.take(panel, Elapsed())
            if panel.heard < now - self._offline_after and panel.state.link.online is not False:
                await self.take(panel, Silent(), now - self._offline_after)

    def now(self) -> Now:
        return Now(time.monotonic(), self._clock())

    def _panel(self, config: PanelConfig, state: PanelState | None) -> RegisteredPanel:
        state = evolve(state or PanelState(guid=config.guid), name=config.name)
        self._moved(None, state)
        return RegisteredPanel(config, state)

    def _moved(self, before: PanelState | None, after: PanelState) -> None:
        left = before and before.link.address
        if left and left != after.link.address:
            self._at[left].discard(after.guid)
            if not self._at[left]:
                del self._at[left]
        if after.link.address:
            self._at.setdefault(after.link.address, set()).add(after.guid)

    async def _store(self, step: Step, error: BridgeError | None) -> None:
        """Offer a step again, which the handler could not store, until it can."""
        backoff, name = Backoff(), step.state.name or step.state.guid
        while error is not None:
            _log.error("panel %s: cannot store its report: %s", name, error, extra={"panel": name, **LASTS})
            await asyncio.sleep(backoff.fail())
            try:
                await self._handler.panel_changed(step.state, step.events)
                error = None
            except BridgeError as again:
                error = again

    def _note_stranger(self, guid: str, address: str) -> None:
        self._strangers.pop(guid, None)
        self._strangers[guid] = (address, time.monotonic())
        if len(self._strangers) > _MAX_STRANGERS:
            del self._strangers[next(iter(self._strangers))]

    async def _refuse(self, reason: Refused, guid: str | None, address: str) -> None:
        key = (reason, guid or address)
        if key in self._reported or len(self._reported) >= _MAX_STRANGERS:
            return
        self._reported.add(key)
        name = self.panels[guid].config.label if guid in self.panels else guid
        _log.warning(_REFUSALS[reason], {"panel": name, "address": clean(address)}, extra={"panel": name})
        try:
            await self._handler.panel_refused(reason, guid, address)
        except BridgeError as error:
            _log.warning("cannot report %s: %s", reason, error)


def _inside(address: str, network: IPv4Network | IPv6Network | None) -> bool:
    return network is None or ip_address(address) in network
