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
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from bridge.common.backoff import Backoff
from bridge.common.clock import Clock
from bridge.common.errors import DamagedError, StoreError
from bridge.common.lasting import LASTS
from bridge.common.loop import now, within
from bridge.common.models import AlarmIdentity, Command, Request
from bridge.common.problems import About, Kind, Problem, Problems
from bridge.g90.registry import Refused
from bridge.g90.state.model import Now, PanelState, evolve
from bridge.g90.state.storage import from_json, to_json
from bridge.g90.wire.events import EventType, PanelEvent
from bridge.mqtt.outgoing import Outgoing
from bridge.panels.forwarding import (
    Forwarded,
    ForwardingStep,
    MaxAges,
    Rule,
    Sending,
    expire,
    fits,
    forward,
    until_due,
)
from bridge.panels.known import ControlledPanel, KnownPanels
from bridge.panels.topics import PanelTopics, state_payloads
from bridge.sos_access.prepare import prepare_leniently
from bridge.store.outbox import Outbox
from bridge.store.records import CommandEntry

log = logging.getLogger(__name__)

_LONGEST_WAIT_S = 60.0
_URGENT = frozenset({EventType.ALARM, EventType.SOS, EventType.TAMPER})
_ARMINGS = frozenset({EventType.ARMED_AWAY, EventType.ARMED_HOME, EventType.DISARMED})
_REACHABLE = frozenset({EventType.PANEL_OFFLINE, EventType.PANEL_ONLINE})
_LEVELS = {EventType.SENSOR_ACTIVITY: logging.DEBUG} | dict.fromkeys(
    (
        EventType.PANEL_OFFLINE,
        EventType.AC_POWER_LOST,
        EventType.LOW_BATTERY,
        EventType.PANEL_BATTERY_LOW,
        EventType.WIFI_DISCONNECTED,
    ),
    logging.WARNING,
)


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
        problems: Problems,
        max_ages: MaxAges,
        on_state: Callable[[PanelState], None] = lambda _: None,
    ) -> None:
        """`emit` publishes on `bridge/event`; `on_state` takes each state of a panel, after it is stored."""
        self._topics = topics
        self._outbox = outbox
        self._outgoing = outgoing
        self._panels = panels
        self._rules = rules
        self._max_ages = max_ages
        self._problems = problems
        self._clock = clock
        self._accept_unknown = accept_unknown
        self._emit = emit
        self._on_state = on_state
        self._active: dict[str, tuple[Forwarded, ...]] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._due = asyncio.Event()
        self._looks_at = math.inf
        """By the loop's clock, when pending restores are looked at next; later ones need no wake-up."""

    async def restore(self) -> dict[str, PanelState]:
        """Load what the store knows, publish it, and return it for the server. Raises StoreError."""
        known = self._panels
        for guid, content in (await self._outbox.panels()).items():
            self._active[guid] = tuple(Forwarded.from_json(entry) for entry in content["forwarded"])
            if guid in known.configured or self._accept_unknown:
                state = from_json(content["state"], self._moment())
                name = known.configured[guid].config.name if guid in known.configured else None
                known.states[guid] = evolve(state, name=name)
                if unmatched := content.get("unmatched"):
                    since = datetime.fromisoformat(unmatched["since"])
                    self._problems.set(Kind.ALARM_UNMATCHED, unmatched["text"], About(panel=guid), since)
                self._declare(known.states[guid])
        for guid, panel in known.configured.items():
            if guid not in known.states:
                self._on_state(PanelState(guid=guid, name=panel.config.name))
                self._problems.doubt(Kind.PANEL_OFFLINE, About(panel=guid))
            panel.reader.on_problem = partial(self._read_or_not, panel)
        return {
            guid: evolve(state, link=evolve(state.link, connected_since=None)) for guid, state in known.states.items()
        }

    async def run(self) -> None:
        """Restore in time what rules raised, until cancelled."""
        backoff = Backoff()
        while True:
            self._due.clear()
            self._looks_at = math.inf
            try:
                await self._restore_due()
                wait = self._until_due()
                self._looks_at = now() + wait
                backoff.reset()
            except StoreError as error:
                log.error("alarms of panels are not restored yet: %s", error, extra=LASTS)
                wait = backoff.fail()
            await within(wait, self._due.wait())

    # What panels report

    async def panel_changed(self, state: PanelState, events: tuple[PanelEvent, ...]) -> None:
        """Store and publish. Raises StoreError where it could not be stored: it is offered again."""
        guid = state.guid
        forwarded: list[tuple[PanelEvent, tuple[str, ...]]] = []
        unmatched = self._problems.get(Kind.ALARM_UNMATCHED, About(panel=guid))
        async with self._locks[guid]:
            step = ForwardingStep(self._active.get(guid, ()))
            for event in events:
                at = self._clock.now()
                rules = [rule for rule in self._rules if self._max_ages.allow(event, rule.transmitter, at)]
                taken = forward(rules, step.active, event, state.name, self._clock.moment())
                step = ForwardingStep(taken.active, step.sendings + taken.sendings)
                to = tuple(each.transmitter for each in taken.sendings if each.request is Request.ALARM)
                forwarded.append((event, to))
                unmatched = self._unmatched_after(unmatched, state, event, to)
            await self._keep(guid, state, step, unmatched)
            before = self._panels.states.get(guid) or PanelState(guid=guid)
            self._panels.states[guid] = state
        for event, to in forwarded:
            self._publish(state, event, to)
        text, since = (unmatched.text, unmatched.since) if unmatched else (None, None)
        self._problems.set(Kind.ALARM_UNMATCHED, text, About(panel=guid), since)
        self._declare(state)
        self._retract(before, state)
        if guid in self._panels.configured and any(event.type is EventType.SENSOR_CHANGED for event in events):
            self._panels.configured[guid].reader.refresh()

    def panel_greeted(self, guid: str, address: str) -> None:
        if guid in self._panels.configured:
            self._panels.configured[guid].reader.greeted(address)

    def _publish(self, state: PanelState, event: PanelEvent, to: tuple[str, ...]) -> None:
        """Publish an event; another form of one that was published is for the rules alone."""
        if event.type in _URGENT and self._max_ages.of and not to:
            self._not_forwarded(state, event)
        if event.again:
            return
        self._log(state, event, to)
        payload = event.as_json() | ({"forwarded": to} if event.type in _URGENT else {})
        self._outgoing.publish(self._topics.of(state.guid, "event"), json.dumps(payload))

    def _log(self, state: PanelState, event: PanelEvent, to: Sequence[str]) -> None:
        if event.type in _REACHABLE and state.guid in self._panels.configured:  # a problem, and logged as such
            return
        name = state.name or state.guid
        what = f"{event.type.replace('_', ' ')}{f' ({event.name})' if event.name else ''}"
        forwarded = f", forwarded to {', '.join(to)}" if to else ""
        log.log(_LEVELS.get(event.type, logging.INFO), "panel %s: %s%s", name, what, forwarded, extra={"panel": name})

    def _not_forwarded(self, state: PanelState, event: PanelEvent) -> None:
        """Report an alarm that goes to no receiver."""
        name = state.name or state.guid
        if self._is_covered(event):
            text = "panel %s: %s was missed at %s and is too old to forward"
            log.warning(text, name, _what(event), f"{event.at:%Y-%m-%d %H:%M:%S}", extra={"panel": name})
            return
        log.error("panel %s: no rule forwards %s", name, _what(event), extra={"panel": name})
        about = {"sensor": event.sensor, "name": event.name, "sensor_type": event.sensor_type}
        known = {name: value for name, value in about.items() if value is not None}
        self._emit("alarm_unmatched", guid=state.guid, event=event.type.value, **known)

    def _unmatched_after(
        self, before: Problem | None, state: PanelState, event: PanelEvent, to: tuple[str, ...]
    ) -> Problem | None:
        """Return what no rule took since the panel was armed or disarmed last, with `event`, which went `to`."""
        if event.type in _ARMINGS or (event.again and to):
            return None
        if event.type not in _URGENT or not self._max_ages.of or to or self._is_covered(event):
            return before
        text = f"panel {state.name or state.guid}: no rule forwards {_what(event)}"
        return Problem(Kind.ALARM_UNMATCHED, before.since if before else self._clock.now(), text)

    def _is_covered(self, event: PanelEvent) -> bool:
        return any(fits(rule, event) for rule in self._rules)

    async def panel_refused(self, reason: Refused, guid: str | None, address: str) -> None:
        self._emit(str(reason), guid=guid, address=address)

    async def _keep(self, guid: str, state: PanelState, step: ForwardingStep, unmatched: Problem | None) -> None:
        content = {"state": to_json(state, self._moment()), "forwarded": [entry.as_json() for entry in step.active]}
        if unmatched is not None:
            content["unmatched"] = unmatched.as_json()
        entries = {sending.key: CommandEntry(_command(sending, self._clock)) for sending in step.sendings}
        await self._outbox.keep_panel(guid, content, entries)
        self._active[guid] = step.active
        if now() + until_due(step.active, self._clock.age_s) < self._looks_at:
            self._due.set()

    def _moment(self) -> Now:
        return Now(time.monotonic(), self._clock.now())

    def _read_or_not(self, panel: ControlledPanel) -> None:
        """Report that a panel cannot be read, or can again."""
        guid, problem = panel.config.guid, panel.reader.problem
        text = f"panel {panel.config.name or guid}: cannot be read: {problem}"
        self._problems.set(Kind.PANEL_UNREADABLE, None if problem is None else text, About(panel=guid))
        self._declare(self._panels.states.get(guid) or PanelState(guid=guid))

    def _declare(self, state: PanelState) -> None:
        guid, about = state.guid, About(panel=state.guid)
        if guid in self._panels.configured:
            text = f"panel {state.name or guid}: offline"
            if state.link.online is None:
                self._problems.doubt(Kind.PANEL_OFFLINE, about)
            else:
                self._problems.set(Kind.PANEL_OFFLINE, None if state.link.online else text, about, state.link.last_seen)
        texts = [problem.text for problem in self._problems if problem.about == about]
        for leaf, payload in state_payloads(state, texts).items():
            self._outgoing.state(self._topics.of(guid, leaf), payload)
        self._on_state(state)

    def _retract(self, before: PanelState, state: PanelState) -> None:
        """Clear the topics of sensors and relays that there are no more."""
        if before.sensors.keys() <= state.sensors.keys() and before.relays.keys() <= state.relays.keys():
            return
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
                    unmatched = self._problems.get(Kind.ALARM_UNMATCHED, About(panel=guid))
                    await self._keep(guid, state, step, unmatched)


def check_stored(content: dict[str, Any]) -> None:
    """Raise DamagedError where what the store holds of a panel cannot be read back."""
    try:
        from_json(content["state"], Now(time.monotonic(), datetime.now(UTC)))
        for entry in content["forwarded"]:
            Forwarded.from_json(entry)
    except (LookupError, TypeError) as error:
        raise DamagedError(f"the store: a panel's state cannot be read ({type(error).__name__})") from None


def _what(event: PanelEvent) -> str:
    return f"{event.type}{f' of sensor {event.sensor} ({event.name})' if event.sensor is not None else ''}"


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
