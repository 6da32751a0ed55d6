"""Rules that turn panel events into alarms: (active alarms, event) -> active alarms, commands. Pure.

One event is one alarm per transmitter: the first matching rule of each transmitter applies. An alarm that a rule raised
is kept as `Forwarded` until it is restored. Store it in the same transaction as the commands, so that a restart neither
repeats an alarm nor omits a restore.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Final

from bridge.common.errors import DamagedError
from bridge.common.models import NO_MOMENT, Alarm, Moment, Request
from bridge.g90.wire.events import EventType, PanelEvent

Age = Callable[[Moment, datetime], float]
"""Returns the least age of a moment in seconds, by the monotonic clock and the wall clock: `Clock.age_s`."""

_E = EventType
PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
TEMPLATES: Final = ("transmitter_area", "section", "section_text", "detector", "detector_text", "additional_info")
_URGENT_TYPES: Final = frozenset({"smoke", "gas", "water", None})
"""None: the panel has not said what alarms, so it may be one of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One `[[forward]]`. `detector` and `detector_text` default to the sensor's index and name.

    Texts may contain `{sensor}` `{name}` `{sensor_type}` `{source}` `{event}` `{action}` `{panel}` `{guid}`.
    """

    event: EventType
    transmitter: str
    event_code: str
    panel: str | None = None
    """A GUID; None: any panel."""
    sensor: int | str | None = None
    """An index, or a case-insensitive pattern for the name (`Kitchen*`); None: any sensor."""
    sensor_type: str | None = None
    restore_on: EventType | timedelta | None = None
    restore_event_code: str | None = None
    """None: the event code of the alarm."""
    transmitter_area: str | None = None
    section: str | None = None
    section_text: str | None = None
    detector: str | None = None
    detector_text: str | None = None
    additional_info: str | None = None
    urgent: bool | None = None
    """None: as `_is_urgent` says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarded:
    """An alarm that a rule raised and that is not restored yet; `alarm` is the restore to send."""

    transmitter: str
    guid: str
    sensor: int | None
    raised_code: str
    alarm: Alarm
    key: str
    at: datetime
    """When it was raised."""
    moment: Moment = NO_MOMENT
    """When it was raised, by the monotonic clock."""
    restore_on: EventType | None = None
    restore_after: float | None = None
    """Seconds."""

    @property
    def identity(self) -> tuple[str | None, ...]:
        """The identity of the alarm: restored once, however often it was raised."""
        place = (self.alarm.transmitter_area, self.alarm.section, self.alarm.detector)
        return (self.transmitter, self.guid, self.raised_code, *place)

    def as_json(self) -> dict[str, object]:
        """Return the JSON form, for `from_json`."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("alarm", "at", "moment")}
        texts = {f.name: getattr(self.alarm, f.name) for f in fields(Alarm) if f.name != "transmitter_time"}
        return plain | {"alarm": texts, "at": self.at.isoformat(), "moment": asdict(self.moment)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Forwarded:
        """Return the value from the result of `as_json`; raise `DamagedError` for anything else."""
        try:
            restore_on = EventType(stored["restore_on"]) if stored["restore_on"] else None
            read = {"alarm": Alarm(**stored["alarm"]), "moment": Moment(**stored["moment"])}
            at = datetime.fromisoformat(stored["at"])
            return cls(**{**stored, **read, "at": at, "restore_on": restore_on})
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedError(f"invalid forwarded alarm in the store: {error}") from error


@dataclass(frozen=True, slots=True)
class MaxAges:
    """How old a missed event may be to be worth an alarm, in seconds (TOPICS.md, Missed alarms)."""

    of: Mapping[str, float]
    """By transmitter."""
    over: float
    """Of an alarm that is over."""

    def allow(self, event: PanelEvent, transmitter: str, now: datetime) -> bool:
        longest = self.of.get(transmitter, math.inf)
        age = (now - event.at).total_seconds()
        return not event.missed or age <= (min(self.over, longest) if event.over else longest)


@dataclass(frozen=True, slots=True)
class Sending:
    """One command for a transmitter.

    `key`: commands with the same key are sent once. `raised_code`: the event code with which the alarm was raised.
    """

    transmitter: str
    request: Request
    alarm: Alarm
    key: str
    raised_code: str


@dataclass(frozen=True, slots=True)
class ForwardingStep:
    active: tuple[Forwarded, ...]
    sendings: tuple[Sending, ...] = ()


def forward(
    rules: Sequence[Rule],
    active: tuple[Forwarded, ...],
    event: PanelEvent,
    panel_name: str | None = None,
    moment: Moment = NO_MOMENT,
) -> ForwardingStep:
    """Apply one event at `moment`: first the restores, then the alarms."""
    ended = [a for a in active if a.restore_on == event.type and _same_place(a, event) and not _came_after(a, event)]
    kept = tuple(a for a in active if a not in ended)
    sendings = [_restore(a, event.at) for a in ended]
    taken: dict[str, Rule] = {}
    for rule in rules:
        if fits(rule, event):
            taken.setdefault(rule.transmitter, rule)
    for rule in taken.values():
        raised = _raise(rule, event, panel_name)
        sendings.append(raised)
        if rule.restore_on is None:
            continue
        entry = _entry(rule, event, raised, moment)
        if entry.restore_on in event.ended_by:
            if all(a.identity != entry.identity for a in kept):  # else that one's restore ends it as well
                sendings.append(_restore(entry, event.at))
        else:
            kept = (*(a for a in kept if a.identity != entry.identity), entry)
    return ForwardingStep(kept, tuple(sendings))


def expire(active: tuple[Forwarded, ...], now: datetime, age: Age) -> ForwardingStep:
    """Restore the alarms that are due."""
    ended = [a for a in active if a.restore_after is not None and a.restore_after <= age(a.moment, a.at)]
    return ForwardingStep(tuple(a for a in active if a not in ended), tuple(_restore(a, now) for a in ended))


def until_due(active: Sequence[Forwarded], age: Age) -> float:
    """Return the seconds until `expire` has something to do; infinity if never."""
    waits = [a.restore_after - age(a.moment, a.at) for a in active if a.restore_after is not None]
    return min(waits, default=math.inf)


def fits(rule: Rule, event: PanelEvent) -> bool:
    """Return whether `rule` matches `event`."""
    if rule.event != event.type or rule.panel not in (None, event.guid):
        return False
    if rule.sensor_type is not None and rule.sensor_type != event.sensor_type:
        return False
    return _sensor_fits(rule.sensor, event)


def _sensor_fits(wanted: int | str | None, event: PanelEvent) -> bool:
    if wanted is None:
        return True
    if event.sensor is None:
        return False
    if isinstance(wanted, int) or wanted.isdecimal():
        return int(wanted) == event.sensor
    return fnmatchcase((event.name or "").casefold(), wanted.casefold())


def _came_after(active: Forwarded, event: PanelEvent) -> bool:
    """Whether an alarm was reported before an earlier event was found in the panel's history."""
    return event.missed and event.panel_time is not None and active.at >= event.at


def _same_place(active: Forwarded, event: PanelEvent) -> bool:
    return active.guid == event.guid and (event.sensor is None or event.sensor == active.sensor)


def _raise(rule: Rule, event: PanelEvent, panel_name: str | None) -> Sending:
    values = {
        "sensor": "" if event.sensor is None else str(event.sensor),
        "name": event.name or "",
        "sensor_type": event.sensor_type or "",
        "source": event.source or "",
        "action": event.action or "",
        "event": event.type.value,
        "panel": panel_name or event.guid,
        "guid": event.guid,
    }
    templates = {name: getattr(rule, name) for name in TEMPLATES}
    if event.sensor is not None:
        templates["detector"] = templates["detector"] or "{sensor}"
        templates["detector_text"] = templates["detector_text"] or "{name}"
    texts = {name: _filled(template, values) for name, template in templates.items() if template}
    urgent = _is_urgent(event) if rule.urgent is None else rule.urgent
    alarm = Alarm(rule.event_code, event.at, **{name: text for name, text in texts.items() if text}, urgent=urgent)
    key = f"{event.key}>{rule.transmitter}>{rule.event_code}"
    return Sending(rule.transmitter, Request.ALARM, alarm, key, rule.event_code)


def _is_urgent(event: PanelEvent) -> bool:
    """Return whether an alarm is urgent unless its rule says otherwise: person, fire, gas, water, unknown."""
    return event.type == _E.SOS or (event.type == _E.ALARM and event.sensor_type in _URGENT_TYPES)


def _entry(rule: Rule, event: PanelEvent, raised: Sending, moment: Moment) -> Forwarded:
    return Forwarded(
        transmitter=rule.transmitter,
        guid=event.guid,
        sensor=event.sensor,
        raised_code=rule.event_code,
        alarm=replace(
            raised.alarm, event_code=rule.restore_event_code or rule.event_code, transmitter_time=None, urgent=False
        ),
        key=f"{raised.key}>restore",
        restore_on=rule.restore_on if isinstance(rule.restore_on, EventType) else None,
        restore_after=rule.restore_on.total_seconds() if isinstance(rule.restore_on, timedelta) else None,
        at=event.at,
        moment=moment,
    )


def _restore(active: Forwarded, now: datetime) -> Sending:
    alarm = replace(active.alarm, transmitter_time=now)
    return Sending(active.transmitter, Request.RESTORE, alarm, active.key, active.raised_code)


def _filled(template: str, values: Mapping[str, str]) -> str:
    return PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), template)
