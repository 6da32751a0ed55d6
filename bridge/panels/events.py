"""Panels joined to the rest: their events become alarms in the outbox first, then states and events on MQTT.

What a panel reports is never said again, so its new state and the alarms that its events make are one transaction.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from bridge.common.backoff import Backoff
from bridge.common.clock import Clock
from bridge.common.errors import DamagedError, FieldError, StoreError
from bridge.common.models import Alarm, AlarmIdentity, Command, Request
from bridge.g90.registry import Refused
from bridge.g90.server import PanelServer
from bridge.g90.state.panel import PanelState
from bridge.g90.state.reducer import shifted
from bridge.g90.wire.events import EventType, PanelEvent
from bridge.mqtt.session import Door
from bridge.panels.commands import Controlled, Orders
from bridge.panels.forwarding import Forwarded, ForwardingStep, Rule, Sending, expire, forward, until_due
from bridge.panels.topics import PanelTopics, state_payloads
from bridge.sos_access.prepare import prepare
from bridge.store.outbox import Entry, Outbox, Touched

log = logging.getLogger(__name__)

_LONGEST_WAIT_S = 60.0


class Panels:
    """The handler of the panel server; `take` takes what MQTT commands a panel to do."""

    def __init__(
        self,
        topics: PanelTopics,
        outbox: Outbox,
        door: Door,
        *,
        panels: Mapping[str, Controlled],
        rules: Sequence[Rule],
        clock: Clock,
        accept_unknown: bool,
        tell: Callable[..., None],
        stored: Callable[[Touched], None],
        known: Callable[[PanelState], None] = lambda _: None,
    ) -> None:
        """`tell` publishes on `bridge/event`; `stored` is told the transmitters that have something new to send.

        `known` is told each state of a panel, after it is stored.
        """
        self._known = known
        self._clock = clock
        self._topics = topics
        self._outbox = outbox
        self._door = door
        self._panels = panels
        self._rules = rules
        self._accept_unknown = accept_unknown
        self._tell = tell
        self._stored = stored
        self._active: dict[str, tuple[Forwarded, ...]] = {}
        self._states: dict[str, PanelState] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._due = asyncio.Event()
        self._looks_at = math.inf
        """By the loop's clock, when all that waits is looked at next: what is due after that wakes nobody."""
        self._orders = Orders(topics, door, panels, clock=clock, tell=tell)
        self.take = self._orders.take

    async def restore(self) -> dict[str, PanelState]:
        """Take up what the store knows, publish it, and return it for the server. Raises StoreError."""
        for guid, content in (await self._outbox.panels()).items():
            self._active[guid] = tuple(Forwarded.from_json(entry) for entry in content["forwarded"])
            if guid in self._panels or self._accept_unknown:
                state = PanelState.from_json(content["state"])
                name = self._panels[guid].config.name if guid in self._panels else None
                self._states[guid] = replace(state, name=name)
                self._declare(self._states[guid])
        for guid, panel in self._panels.items():
            if guid not in self._states:
                self._known(PanelState(guid=guid, name=panel.config.name))
        # Not connected yet in this life: their first sign of life makes us ask what was missed.
        return {guid: replace(state, connected_since=None) for guid, state in self._states.items()}

    @property
    def online(self) -> int:
        return sum(bool(state.online) for state in self._states.values())

    @property
    def guids(self) -> list[str]:
        return sorted({*self._panels, *self._states})

    async def run(self, server: PanelServer) -> None:
        """Restore what is due and obey orders until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._restore_in_time())
            await self._orders.run(server)

    # What panels report

    async def panel_changed(self, state: PanelState, events: tuple[PanelEvent, ...]) -> None:
        """Store and publish. Raises StoreError where it could not be stored: it is offered again."""
        guid = state.guid
        async with self._locks[guid]:
            step = ForwardingStep(self._active.get(guid, ()))
            for event in events:
                taken = forward(self._rules, step.active, event, state.name, self._clock.moment())
                step = ForwardingStep(taken.active, step.sendings + taken.sendings)
            await self._keep(guid, state, step)
            before = self._states.get(guid) or PanelState(guid=guid)
            self._states[guid] = state
        for event in events:
            log.info("panel %s: %s%s", state.name or guid, event.type, f" ({event.name})" if event.name else "")
            self._door.publish(self._topics.of(guid, "event"), json.dumps(event.as_json()))
        self._declare(state)
        self._retract(before, state)
        connected = state.connected_since is not None and state.connected_since != before.connected_since
        if guid in self._panels and (connected or any(event.type == EventType.SENSOR_CHANGED for event in events)):
            self._orders.ask(guid)

    async def panel_refused(self, reason: Refused, guid: str | None, address: str) -> None:
        self._tell(str(reason), guid=guid, address=address)

    async def _keep(self, guid: str, state: PanelState, step: ForwardingStep) -> None:
        content = {"state": state.as_json(), "forwarded": [entry.as_json() for entry in step.active]}
        commands = {sending.key: _command(sending, self._clock) for sending in step.sendings}
        entries = {key: Entry(each.transmitter, command=each) for key, each in commands.items()}
        try:
            touched = await self._outbox.keep_panel(guid, content, entries)
        except asyncio.CancelledError:
            # It may be written all the same: then nothing newer goes before it.
            self._stored({entry.transmitter: None for entry in entries.values()})
            raise
        self._active[guid] = step.active
        if step.sendings:
            self._stored(touched)
        if _now() + until_due(step.active, self._clock.age_s) < self._looks_at:
            self._due.set()

    def _declare(self, state: PanelState) -> None:
        for leaf, payload in state_payloads(state).items():
            self._door.state(self._topics.of(state.guid, leaf), payload)
        self._known(state)

    def _retract(self, before: PanelState, state: PanelState) -> None:
        """Clear the topics of sensors that there are no more."""
        for leaf in state_payloads(before).keys() - state_payloads(state).keys():
            if leaf.startswith("sensor/"):
                self._door.state(self._topics.of(state.guid, leaf), "")

    async def _restore_in_time(self) -> None:
        backoff = Backoff()
        while True:
            self._due.clear()
            self._looks_at = math.inf
            try:
                await self._restore_due()
                wait = self._until_due()
                self._looks_at = _now() + wait
                backoff.reset()
            except StoreError as error:
                log.error("alarms of panels are not restored yet: %s", error)
                wait = backoff.fail()
            try:
                async with asyncio.timeout(wait):
                    await self._due.wait()
            except TimeoutError:
                pass

    def _until_due(self) -> float:
        waits = [until_due(active, self._clock.age_s) for active in self._active.values()]
        return max(min([*waits, _LONGEST_WAIT_S]), 0.0)

    async def _restore_due(self) -> None:
        for guid in list(self._active):
            async with self._locks[guid]:
                step = expire(self._active[guid], self._clock.now(), self._clock.age_s)
                if step.sendings:
                    state = self._states.get(guid) or PanelState(guid=guid)
                    await self._keep(guid, state, step)

    def clock_was_set(self, jump: timedelta) -> None:
        """Let what waits for a moment wait no longer and no shorter for it."""
        self._orders.put(lambda server: self._shift(server, jump))

    async def _shift(self, server: PanelServer, jump: timedelta) -> None:
        for guid in self.guids:
            await server.apply(guid, lambda state: shifted(state, jump))


def check_stored(content: dict[str, Any]) -> None:
    """Raise DamagedError where what the store holds of a panel cannot be read back."""
    try:
        PanelState.from_json(content["state"])
        for entry in content["forwarded"]:
            Forwarded.from_json(entry)
    except (LookupError, TypeError) as error:
        raise DamagedError(f"the store: a panel's state cannot be read ({type(error).__name__})") from None


def _now() -> float:
    return asyncio.get_running_loop().time()


def _prepared(alarm: Alarm) -> tuple[Alarm, tuple[str, ...]]:
    """Return the alarm made fit, without the fields that cannot be: the alarm must not be lost to them."""
    faults: tuple[str, ...] = ()
    while True:
        try:
            fit, warnings = prepare(alarm)
        except FieldError as error:
            if error.field == "event_code":  # the configuration was checked for it
                raise
            alarm = replace(alarm, **{error.field: None})  # type: ignore[arg-type]  # a field of Alarm that may be None
            faults = (*faults, str(error))
        else:
            return fit, (*warnings, *faults)


def _command(sending: Sending, clock: Clock) -> Command:
    """Return a rule's alarm as a command; texts are made fit, a code that is not becomes none."""
    alarm, warnings = _prepared(sending.alarm)
    if clock.is_wrong:
        alarm, of_the_clock = clock.timed(alarm, clock.now())
        warnings = (*warnings, *of_the_clock)
    return Command(
        transmitter=sending.transmitter,
        request=Request(sending.request),
        accepted_at=clock.now(),
        moment=clock.moment(),
        alarm=alarm,
        identity=AlarmIdentity.of(replace(alarm, event_code=sending.raised_code)),
        reference=alarm.reference,
        warnings=warnings,
    )
