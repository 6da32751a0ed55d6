"""Checks `[[forward]]` rules for unknown names, rules that never match, alarms that none forwards."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Final

from bridge.common.errors import ConfigError
from bridge.common.suggest import meant
from bridge.g90.wire.constants import SENSOR_TYPE_NAMES
from bridge.g90.wire.events import PANEL_EVENTS, EventType
from bridge.panels.forwarding import PLACEHOLDER, TEMPLATES, Rule

_E = EventType
_OTHER_TYPE: Final = re.compile(r"type_\d{1,5}")
_PLACEHOLDERS: Final = frozenset({"sensor", "name", "sensor_type", "source", "event", "panel", "guid", "action"})
_DOOR_EVENTS: Final = frozenset({_E.DOOR_OPENED, _E.DOOR_CLOSED})
_DOOR_TYPES: Final = frozenset({"door", "wired"})
_ALARM_TYPES: Final = (None, "smoke", "gas", "water")
_IMPORTANT: Final = (_E.SOS, _E.TAMPER, _E.PANEL_OFFLINE, _E.AC_POWER_LOST)
_FIXED_TYPES: Final = {_E.REMOTE_BUTTON: "remote", _E.RFID: "rfid", _E.DOORBELL: "doorbell"}


def parse_event(text: str) -> EventType:
    """Return the event named `text`. Raises `ConfigError` with the one that was meant, else with all."""
    try:
        return EventType(text.strip().lower())
    except ValueError:
        raise ConfigError(f"unknown event {text!r}{meant(text, EventType)}") from None


def parse_restore_on(text: str, seconds: Callable[[str], float]) -> EventType | timedelta:
    """Return the event or duration after which an alarm is restored. Raises ConfigError if it is neither."""
    try:
        return timedelta(seconds=seconds(text))
    except ValueError as error:
        if text.strip()[:1].isdigit():
            raise ConfigError(f"{error}, or an event such as {_E.DISARMED}") from None
        return parse_event(text)


def parse_sensor_type(text: str) -> str:
    """Return the sensor type named `text`. Raises `ConfigError` as `parse_event` does."""
    name = text.strip().lower()
    if name not in SENSOR_TYPE_NAMES and not _OTHER_TYPE.fullmatch(name):
        raise ConfigError(f"unknown sensor type {text!r}{meant(text, SENSOR_TYPE_NAMES)}")
    return name


def unknown_names(rule: Rule, panels: Mapping[str, str] | None, transmitters: Collection[str]) -> list[str]:
    """Return a line for each name in a rule that is not configured.

    `panels`: the names of the panels by GUID; None if panels that are not configured are accepted.
    """
    lines = []
    if rule.transmitter not in transmitters:
        lines.append(f"unknown transmitter {rule.transmitter!r}{meant(rule.transmitter, transmitters)}")
    if panels is not None and rule.panel is not None and rule.panel not in panels:
        guids = {name.casefold(): guid for guid, name in panels.items()}
        lines.append(f"unknown panel {rule.panel!r}{meant(guids.get(rule.panel.casefold(), rule.panel), panels)}")
    return lines


def uncovered(rules: Sequence[Rule], guid: str) -> tuple[str, ...]:
    """Return what an operator should hear of a panel and no rule forwards."""
    own = [rule for rule in rules if rule.panel in (None, guid) and rule.sensor is None]

    def covered(event: EventType, kind: str | None) -> bool:
        return any(rule.event is event and rule.sensor_type in (None, kind) for rule in own)

    alarms = [f"alarm ({kind or 'other'})" for kind in _ALARM_TYPES if not covered(_E.ALARM, kind)]
    return (*alarms, *(str(event) for event in _IMPORTANT if not covered(event, None)))


def faults(rules: Sequence[Rule], panels: Collection[str] | None) -> tuple[str, ...]:
    """Return one line per fault of rules that can never work as written.

    `panels`: the configured GUIDs; None if unknown panels are accepted.
    """
    found = []
    for number, rule in enumerate(rules, 1):
        lines = [*_event_faults(rule), *_text_faults(rule)]
        if panels is not None and not panels:
            lines.append("no panel is configured")
        shadow = next((n for n, earlier in enumerate(rules[: number - 1], 1) if _covers(earlier, rule)), None)
        if shadow:
            lines.append(f"rule {shadow} before it already sends all of its events to {rule.transmitter}")
        found += [f"forward: rule {number} ({rule.event} to {rule.transmitter}): {line}" for line in lines]
    return tuple(found)


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
    asked = {name for text in TEMPLATES for name in PLACEHOLDER.findall(getattr(rule, text) or "")}
    return [f"unknown placeholder {{{name}}}{meant(name, _PLACEHOLDERS)}" for name in sorted(asked - _PLACEHOLDERS)]


def _covers(earlier: Rule, later: Rule) -> bool:
    """Return whether `earlier` matches every event that `later` matches."""
    if (earlier.event, earlier.transmitter) != (later.event, later.transmitter):
        return False
    pairs = ((earlier.panel, later.panel), (earlier.sensor, later.sensor), (earlier.sensor_type, later.sensor_type))
    return all(wide in (None, narrow) for wide, narrow in pairs)
