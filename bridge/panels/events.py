"""What panels report: their events become alarms in the outbox first, then states and events on MQTT.

A panel reports each event once, so its new state and the alarms that its events make are one transaction.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import Any

from bridge.common.backoff import Backoff
from bridge.common.clock import Clock
from bridge.common.errors import DamagedError, StoreError
from bridge.common.models import AlarmIdentity, Command, Request
from bridge.g90.registry import Refused
from bridge.g90.state.model import Now, PanelState, evolve
from bridge.g90.state.storage import from_json, to_json
from bridge.g90.wire.events import EventType, PanelEvent
from bridge.mqtt.outgoing import Outgoing
from bridge.panels.forwarding import (
    Forwarded,
    ForwardingStep,
    Rule,
    Sending,
    expire,
    fits,
    forward,
    is_too_old,
    until_due,
)
from bridge.panels.known import KnownPanels
from bridge.panels.topics import PanelTopics, state_payloads
from bridge.sos_access.prepare import prepare_leniently
from bridge.store.outbox import Outbox
from bridge.store.records import CommandEntry

log = logging.getLogger(__name__)

_LONGEST_WAIT_S = 60.0
_URGENT = frozenset({EventType.ALARM, EventType.SOS, EventType.TAMPER})
_ARMINGS = frozenset({EventType.ARMED_AWAY, EventType.ARMED_HOME, EventType.DISARMED})
MISSED_MAX_AGE_S = 600.0


class Panels:
    """The handler of the panel server."""

    def __init__(
        self,
        topics: PanelTopics,
        outbox: Outbox,
        outgoing: Outgoing,
        panels: KnownPanels,
        *,
        rules: Sequence[Rule],
        clock: Clock,
        accept_unknown: bool,
        emit: Callable[..., None],
        on_state: Callable[[PanelState], None] = lambda _: None,
        max_ages: Mapping[str, float] = MappingProxyType({}),
        missed_max_age: float = MISSED_MAX_AGE_S,
    ) -> None:
        """`emit` publishes on `bridge/event`; `on_state` takes each state of a panel, after it is stored.

        `max_ages`: of each transmitter's alarms, `missed_max_age`: of missed alarms that are over; in seconds.
        """
        self._topics = topics
        self._outbox = outbox
        self._outgoing = outgoing
        self._panels = panels
        self._rules = rules
        self._max_ages = max_ages
        self._missed_max_age = missed_max_age
        self._unmatched: dict[str, str | None] = {}
        """What no rule took since a panel was armed or disarmed, by GUID."""
        self._clock = clock
        self._accept_unknown = accept_unknown
        self._emit = emit
        self._on_state = on_state
        self._active: dict[str, tuple[Forwarded, ...]] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._due = asyncio.Event()
        self._looks_at = math.inf
        """By the loop's clock, when all that waits is looked at next: what is due after that wakes nobody."""

    async def restore(self) -> dict[str, PanelState]:
        """Load what the store knows, publish it, and return it for the server. Raises StoreError."""
        known = self._panels
        for guid, content in (await self._outbox.panels()).items():
            self._active[guid] = tuple(Forwarded.from_json(entry) for entry in content["forwarded"])
            self._unmatched[guid] = content.get("unmatched")
            if guid in known.configured or self._accept_unknown:
                state = from_json(content["state"], self._moment())
                name = known.configured[guid].config.name if guid in known.configured else None
                known.states[guid] = evolve(state, name=name)
                self._declare(known.states[guid])
        for guid, panel in known.configured.items():
            if guid not in known.states:
                self._on_state(PanelState(guid=guid, name=panel.config.name))
            panel.reader.on_problem = partial(self._redeclare, guid)
        return {guid: evolve(state, connected_since=None) for guid, state in known.states.items()}

    async def run(self) -> None:
        """Restore in time what rules raised, until cancelled."""
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

    # What panels report

    async def panel_changed(self, state: PanelState, events: tuple[PanelEvent, ...]) -> None:
        """Store and publish. Raises StoreError where it could not be stored: it is offered again."""
        guid = state.guid
        forwarded: list[tuple[PanelEvent, tuple[str, ...]]] = []
        async with self._locks[guid]:
            step, unmatched = ForwardingStep(self._active.get(guid, ())), self._unmatched.get(guid)
            for event in events:
                rules = [rule for rule in self._rules if not self._is_too_old(event, rule.transmitter)]
                taken = forward(rules, step.active, event, state.name, self._clock.moment())
                step = ForwardingStep(taken.active, step.sendings + taken.sendings)
                to = tuple(each.transmitter for each in taken.sendings if each.request is Request.ALARM)
                forwarded.append((event, to))
                unmatched = self._unmatched_after(unmatched, event, to)
            await self._keep(guid, state, step, unmatched)
            before = self._panels.states.get(guid) or PanelState(guid=guid)
            self._panels.states[guid] = state
        for event, to in forwarded:
            self._publish(state, event, to)
        self._declare(state)
        self._retract(before, state)
        if guid in self._panels.configured and any(event.type is EventType.SENSOR_CHANGED for event in events):
            self._panels.configured[guid].reader.refresh()

    def panel_greeted(self, guid: str, address: str) -> None:
        if guid in self._panels.configured:
            self._panels.configured[guid].reader.greeted(address)

    def problems(self, guid: str) -> list[str]:
        """Return what is wrong with a panel."""
        panel = self._panels.configured.get(guid)
        found = (panel and panel.reader.problem, self._unmatched.get(guid))
        return [problem for problem in found if problem]

    def _publish(self, state: PanelState, event: PanelEvent, to: tuple[str, ...]) -> None:
        """Publish an event; another form of one that was published is for the rules alone."""
        if self._is_important(event) and not to:
            self._not_forwarded(state, event)
        if event.again:
            return
        log.info("panel %s: %s%s", state.name or state.guid, event.type, f" ({event.name})" if event.name else "")
        payload = event.as_json() | ({"forwarded": to} if event.type in _URGENT else {})
        self._outgoing.publish(self._topics.of(state.guid, "event"), json.dumps(payload))

    def _not_forwarded(self, state: PanelState, event: PanelEvent) -> None:
        """Report an alarm that goes to no receiver."""
        if self._fits(event):
            what = f"{_described(event)} was missed at {event.at} and is too old to forward"
            log.warning("panel %s: %s", state.guid, what)
            return
        log.warning("panel %s: no rule forwards %s", state.guid, _described(event))
        about = {"sensor": event.sensor, "name": event.name, "sensor_type": event.sensor_type}
        known = {name: value for name, value in about.items() if value is not None}
        self._emit("alarm_unmatched", guid=state.guid, event=event.type.value, **known)

    def _unmatched_after(self, before: str | None, event: PanelEvent, to: tuple[str, ...]) -> str | None:
        """Return what no rule took since the panel was armed or disarmed, after an event that went to `to`."""
        if event.type in _ARMINGS or (event.again and to):
            return None
        if self._is_important(event) and not to and not self._fits(event):
            return f"no rule forwards {_described(event)}"
        return before

    def _is_important(self, event: PanelEvent) -> bool:
        """Whether an event should go to an operator, where there is one."""
        return event.type in _URGENT and bool(self._max_ages)

    def _fits(self, event: PanelEvent) -> bool:
        return any(fits(rule, event) for rule in self._rules)

    def _is_too_old(self, event: PanelEvent, transmitter: str) -> bool:
        max_age = self._max_ages.get(transmitter, math.inf)
        return is_too_old(event, self._clock.now(), max_age, self._missed_max_age)

    async def panel_refused(self, reason: Refused, guid: str | None, address: str) -> None:
        self._emit(str(reason), guid=guid, address=address)

    async def _keep(self, guid: str, state: PanelState, step: ForwardingStep, unmatched: str | None) -> None:
        content = {
            "state": to_json(state, self._moment()),
            "forwarded": [entry.as_json() for entry in step.active],
            "unmatched": unmatched,
        }
        entries = {sending.key: CommandEntry(_command(sending, self._clock)) for sending in step.sendings}
        await self._outbox.keep_panel(guid, content, entries)
        self._active[guid], self._unmatched[guid] = step.active, unmatched
        if _now() + until_due(step.active, self._clock.age_s) < self._looks_at:
            self._due.set()

    def _moment(self) -> Now:
        return Now(time.monotonic(), self._clock.now())

    def _redeclare(self, guid: str) -> None:
        self._declare(self._panels.states.get(guid) or PanelState(guid=guid))

    def _declare(self, state: PanelState) -> None:
        for leaf, payload in state_payloads(state, self.problems(state.guid)).items():
            self._outgoing.state(self._topics.of(state.guid, leaf), payload)
        self._on_state(state)

    def _retract(self, before: PanelState, state: PanelState) -> None:
        """Clear the topics of sensors and relays that there are no more."""
        for leaf in state_payloads(before, []).keys() - state_payloads(state, []).keys():
            if leaf.startswith(("sensor/", "relay/")):
                self._outgoing.state(self._topics.of(state.guid, leaf), "")

    def _until_due(self) -> float:
        waits = [until_due(active, self._clock.age_s) for active in self._active.values()]
        return max(min([*waits, _LONGEST_WAIT_S]), 0.0)

    async def _restore_due(self) -> None:
        for guid in list(self._active):
            async with self._locks[guid]:
                step = expire(self._active[guid], self._clock.now(), self._clock.age_s)
                if step.sendings:
                    state = self._panels.states.get(guid) or PanelState(guid=guid)
                    await self._keep(guid, state, step, self._unmatched.get(guid))


def check_stored(content: dict[str, Any]) -> None:
    """Raise DamagedError where what the store holds of a panel cannot be read back."""
    try:
        from_json(content["state"], Now(time.monotonic(), datetime.now(UTC)))
        for entry in content["forwarded"]:
            Forwarded.from_json(entry)
    except (LookupError, TypeError) as error:
        raise DamagedError(f"the store: a panel's state cannot be read ({type(error).__name__})") from None


def _described(event: PanelEvent) -> str:
    return f"{event.type}{f' of sensor {event.sensor} ({event.name})' if event.sensor is not None else ''}"


def _now() -> float:
    return asyncio.get_running_loop().time()


def _command(sending: Sending, clock: Clock) -> Command:
    """Return a rule's alarm as a command; what cannot be sent of it is changed or left out."""
    alarm, warnings = prepare_leniently(sending.alarm)
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
