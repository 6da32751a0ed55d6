"""Rules that turn panel events into alarms, as pure steps: (active alarms, event) -> active alarms, commands.

One event is one alarm per transmitter: the first matching rule of each transmitter applies. An alarm that a rule raised
is kept as `Forwarded` until it is restored. Store it in the same transaction as the commands, so that a restart neither
repeats an alarm nor omits a restore.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from bridge.common.errors import ConfigError, DamagedError
from bridge.common.models import NO_MOMENT, Alarm, Moment, Request
from bridge.g90.wire.constants import SENSOR_TYPE_NAMES
from bridge.g90.wire.events import PANEL_EVENTS, EventType, PanelEvent

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

Age = Callable[[Moment, datetime], float]
"""Returns the least age of a moment in seconds, by the monotonic clock and the wall clock: `Clock.age_s`."""

_E = EventType
_OTHER_TYPE: Final = re.compile(r"type_\d{1,5}")
_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
_PLACEHOLDERS: Final = frozenset({"sensor", "name", "sensor_type", "source", "event", "panel", "guid", "action"})
_TEMPLATES: Final = ("transmitter_area", "section", "section_text", "detector", "detector_text", "additional_info")
_DOOR_EVENTS: Final = frozenset({_E.DOOR_OPENED, _E.DOOR_CLOSED})
_DOOR_TYPES: Final = frozenset({"door", "wired"})
_ALARM_TYPES: Final = (None, "smoke", "gas", "water")
_IMPORTANT: Final = (_E.SOS, _E.TAMPER, _E.PANEL_OFFLINE, _E.AC_POWER_LOST)
_URGENT_TYPES: Final = frozenset({"smoke", "gas", "water"})
_FIXED_TYPES: Final = {_E.REMOTE_BUTTON: "remote", _E.RFID: "rfid", _E.DOORBELL: "doorbell"}


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
            plain = _with_age(stored)
            read = {"alarm": Alarm(**stored["alarm"]), "moment": Moment(**plain["moment"])}
            at = datetime.fromisoformat(plain["at"])
            return cls(**{**plain, **read, "at": at, "restore_on": restore_on})
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedError(f"invalid forwarded alarm in the store: {error}") from error


def _with_age(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return `stored` in today's form. Earlier versions stored a due time: such a restore is due at once."""
    plain = dict(stored)
    due = plain.pop("due", None)
    return {"at": due or "2026-01-01T00:00+00:00", "moment": {}, "restore_after": 0.0 if due else None} | plain


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
    ended = [a for a in active if a.restore_on == event.type and _same_place(a, event)]
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
            sendings.append(_restore(entry, event.at))
        else:
            kept = (*(a for a in kept if a.identity != entry.identity), entry)
    return ForwardingStep(kept, tuple(sendings))


def is_too_old(event: PanelEvent, now: datetime, max_age: float, missed_max_age: float) -> bool:
    """Return whether an event that was missed is no longer worth an alarm (TOPICS.md, Missed alarms).

    `max_age` is the transmitter's, and `missed_max_age` that of an alarm that is over; in seconds.
    """
    age = (now - event.at).total_seconds()
    return event.missed and age > (min(missed_max_age, max_age) if event.over else max_age)


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


def parse_event(text: str) -> EventType:
    """Return the event named `text`; raise `ConfigError` with the known events."""
    try:
        return EventType(text.strip().lower())
    except ValueError:
        raise ConfigError(f"forward: unknown event {text!r}{_meant(text, EventType)}") from None


def check_rule(rule: Rule, panels: Collection[str] | None) -> None:
    """Raise `ConfigError` for a rule that names an unknown sensor type or panel; `panels` None: any may exist."""
    kind = rule.sensor_type
    if kind is not None and kind not in SENSOR_TYPE_NAMES and not _OTHER_TYPE.fullmatch(kind):
        raise ConfigError(f"forward: unknown sensor_type {kind!r}{_meant(kind, SENSOR_TYPE_NAMES)}")
    if panels is not None and rule.panel is not None and rule.panel not in panels:
        raise ConfigError(f"forward: unknown panel {rule.panel!r}{_meant(rule.panel, panels)}")


def uncovered(rules: Sequence[Rule], guid: str) -> tuple[str, ...]:
    """Return what an operator should hear of a panel and no rule forwards."""
    own = [rule for rule in rules if rule.panel in (None, guid) and rule.sensor is None]

    def covered(event: EventType, kind: str | None) -> bool:
        return any(rule.event is event and rule.sensor_type in (None, kind) for rule in own)

    alarms = [f"alarm ({kind or 'other'})" for kind in _ALARM_TYPES if not covered(_E.ALARM, kind)]
    return (*alarms, *(str(event) for event in _IMPORTANT if not covered(event, None)))


def _meant(text: str, known: Iterable[str]) -> str:
    """Return what was probably meant, else what there is."""
    names = sorted(map(str, known))
    close = get_close_matches(text.strip().lower(), [name.lower() for name in names], n=1)
    meant = next((name for name in names if name.lower() in close), None)
    return f"; did you mean {meant!r}?" if meant else f"; known: {', '.join(names) or 'none'}"


def parse_restore_on(text: str, seconds: Callable[[str], float]) -> EventType | timedelta:
    """Return the event or the duration after which an alarm is restored; raise `ConfigError` for anything else."""
    try:
        return timedelta(seconds=seconds(text))
    except ValueError:
        return parse_event(text)


def faults(rules: Sequence[Rule], *, panels: Collection[str] | None, transmitters: Collection[str]) -> tuple[str, ...]:
    """Return one line per fault of rules that can never work as written.

    `panels`: the configured GUIDs; None if unknown panels are accepted.
    """
    found = []
    for number, rule in enumerate(rules, 1):
        lines = [*_reference_faults(rule, panels, transmitters), *_event_faults(rule), *_text_faults(rule)]
        shadow = next((n for n, earlier in enumerate(rules[: number - 1], 1) if _covers(earlier, rule)), None)
        if shadow:
            lines.append(f"rule {shadow} before it already sends all of its events to {rule.transmitter}")
        found += [f"forward: rule {number} ({rule.event} to {rule.transmitter}): {line}" for line in lines]
    return tuple(found)


def _sensor_fits(wanted: int | str | None, event: PanelEvent) -> bool:
    if wanted is None:
        return True
    if event.sensor is None:
        return False
    if isinstance(wanted, int) or wanted.isdecimal():
        return int(wanted) == event.sensor
    return fnmatchcase((event.name or "").casefold(), wanted.casefold())


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
    templates = {name: getattr(rule, name) for name in _TEMPLATES}
    if event.sensor is not None:
        templates["detector"] = templates["detector"] or "{sensor}"
        templates["detector_text"] = templates["detector_text"] or "{name}"
    texts = {name: _filled(template, values) for name, template in templates.items() if template}
    urgent = _is_urgent(event) if rule.urgent is None else rule.urgent
    alarm = Alarm(rule.event_code, event.at, **{name: text for name, text in texts.items() if text}, urgent=urgent)
    key = f"{event.key}>{rule.transmitter}>{rule.event_code}"
    return Sending(rule.transmitter, Request.ALARM, alarm, key, rule.event_code)


def _is_urgent(event: PanelEvent) -> bool:
    """Return whether an alarm goes first unless its rule says otherwise: a person in need, fire, gas, water."""
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
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), template)


def _reference_faults(rule: Rule, panels: Collection[str] | None, transmitters: Collection[str]) -> list[str]:
    lines = []
    if rule.transmitter not in transmitters:
        lines.append(f"unknown transmitter {rule.transmitter}")
    if panels is not None and not panels:
        lines.append("no panel is configured")
    return lines


def _event_faults(rule: Rule) -> list[str]:
    lines = []
    if rule.event in _DOOR_EVENTS and rule.sensor_type not in (None, *_DOOR_TYPES):
        lines.append(f"a {rule.sensor_type} sensor does not open or close")
    elif rule.sensor_type not in (None, _FIXED_TYPES.get(rule.event, rule.sensor_type)):
        lines.append(f"{rule.event} does not come from a {rule.sensor_type} sensor")
    if rule.event in PANEL_EVENTS and not (rule.sensor is None and rule.sensor_type is None):
        lines.append(f"{rule.event} is an event of the panel itself and has no sensor")
    if rule.restore_on == rule.event:
        lines.append("restore_on is the event that raises the alarm")
    if isinstance(rule.restore_on, EventType) and rule.event in PANEL_EVENTS and rule.restore_on not in PANEL_EVENTS:
        lines.append(f"{rule.restore_on} is an event of a sensor and cannot restore an event of the panel")
    return lines


def _text_faults(rule: Rule) -> list[str]:
    asked = {name for text in _TEMPLATES for name in _PLACEHOLDER.findall(getattr(rule, text) or "")}
    known = ", ".join(sorted(_PLACEHOLDERS))
    return [f"unknown placeholder {{{name}}}; known placeholders: {known}" for name in asked - _PLACEHOLDERS]


def _covers(earlier: Rule, later: Rule) -> bool:
    """Return whether `earlier` matches every event that `later` matches."""
    if (earlier.event, earlier.transmitter) != (later.event, later.transmitter):
        return False
    pairs = ((earlier.panel, later.panel), (earlier.sensor, later.sensor), (earlier.sensor_type, later.sensor_type))
    return all(wide in (None, narrow) for wide, narrow in pairs)
