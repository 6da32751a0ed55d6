"""A panel as a Home Assistant device: alarm, sensors, events; pure (TOPICS.md, Home Assistant)."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from bridge.g90.state.model import PanelState, Relay, Sensor
from bridge.g90.wire.answers import GsmStatus, WifiStatus
from bridge.g90.wire.constants import FIRST_OUTPUT, SensorType
from bridge.g90.wire.events import EventType
from bridge.homeassistant.entity import (
    DIAGNOSTIC,
    MEASUREMENT,
    Device,
    Entity,
    Names,
    Payload,
    binary_sensor,
    button,
    doorbell,
    event,
    sensor,
)
from bridge.panels.topics import Action, PanelTopics

_DEVICE_CLASSES: Final[Mapping[int | None, str]] = {
    SensorType.DOOR: "door",
    SensorType.WIRED: "opening",
    SensorType.GLASS_BREAK: "sound",
    SensorType.GAS: "gas",
    SensorType.SMOKE: "smoke",
    SensorType.SOS_BUTTON: "safety",
    SensorType.VIBRATION: "vibration",
    SensorType.WATER: "moisture",
    SensorType.MOTION: "motion",
    SensorType.BEAM: "motion",
}
"""Home Assistant's device class of each sensor type that has one."""
_STATELESS: Final[Container[int | None]] = frozenset({
    SensorType.DOORBELL, SensorType.REMOTE, SensorType.RFID,
    SensorType.BUTTON, SensorType.WATCH, SensorType.FINGERPRINT_LOCK,
})  # fmt: skip
"""Sensor types that only report events: they get no binary sensor."""
_FLAGS: Final = (("tamper", "tamper", "tamper"), ("battery_low", "battery", "battery"))
"""Of each sensor: the field, what key and name end in, the device class."""
_PROBLEMS: Final = "{{ dict(problems=value_json.problems | default([]) if value_json is defined else []) | to_json }}"
_CHANGED_BY: Final = "{{ dict(changed_by=(value_json if value_json is defined else {}).get('changed_by')) | to_json }}"
_WITH_CODE = "{{ dict(action=action, code=code) | to_json if code else dict(action=action) | to_json }}"


@dataclass(frozen=True, slots=True)
class ControlOptions:
    possible: bool
    code: bool = False
    digits: bool = False
    """The code is all digits: Home Assistant shows a number pad."""
    code_to_arm: bool = False
    readable: bool = True
    """Reading is not turned off."""


def panel_id(names: Names, guid: str) -> str:
    return f"{names.root}_panel_{guid.lower()}"


def panel_device(names: Names, state: PanelState, control: ControlOptions) -> Payload:
    """Return the device of a panel, with the entities of each sensor that is known."""
    of = partial(PanelTopics(names.base).of, state.guid)
    entities = [_alarm_panel(of, control)]
    for each in state.sensors.values():
        if each.enabled:
            entities += _sensor(each, of(f"sensor/{each.index}/state"), of(f"sensor/{each.index}/info"))
    if control.possible:
        entities += [_relay(each, of) for each in state.relays.values()]
    entities += [*_states(of("info")), *_signals(of("info")), *_events(of("event"))]
    if control.readable:
        entities.append(button("refresh", "Refresh", of("refresh"), **DIAGNOSTIC))
    about: Payload = {"name": state.name or f"Panel {state.guid}", "manufacturer": "Golden Security", "model": "G90"}
    about |= {"sw_version": state.link.firmware} if state.link.firmware else {}
    device = Device(names, panel_id(names, state.guid), (of("availability"),))
    return device.payload(about | {"serial_number": state.guid}, entities)


def _alarm_panel(of: Callable[[str], str], control: ControlOptions) -> Entity:
    with_code = control.possible and control.code
    options: Payload = {
        "state_topic": of("state"),
        "command_topic": of("set"),
        "json_attributes_topic": of("info"),
        "json_attributes_template": _CHANGED_BY,
        "supported_features": [str(each).lower() for each in (Action.ARM_HOME, Action.ARM_AWAY) if control.possible],
        "code_arm_required": with_code and control.code_to_arm,
        "code_disarm_required": with_code,
    }
    if with_code:
        options["code"] = "REMOTE_CODE" if control.digits else "REMOTE_CODE_TEXT"
        options["command_template"] = _WITH_CODE
    return Entity("alarm_control_panel", "alarm", "Alarm", options)


def _relay(relay: Relay, of: Callable[[str], str]) -> Entity:
    topics = {"state_topic": of(f"relay/{relay.number}/state"), "command_topic": of(f"relay/{relay.number}/set")}
    key = f"relay_{relay.number.replace('-', '_')}"
    return Entity("switch", key, relay.name or f"Relay {relay.number}", topics | {"device_class": "outlet"})


def _sensor(found: Sensor, state_topic: str, info_topic: str) -> Iterator[Entity]:
    key, name = f"sensor_{found.index}", found.name or f"Sensor {found.index}"
    if found.type not in _STATELESS and (found.type is None or found.type < FIRST_OUTPUT):
        known = _DEVICE_CLASSES.get(found.type)
        yield binary_sensor(key, name, state_topic, **({"device_class": known} if known else {}))
    for field, suffix, device_class in _FLAGS:
        if getattr(found, field) is not None:  # reported at least once
            options = {"device_class": device_class, **DIAGNOSTIC}
            expression = f"'ON' if value_json.{field} else 'OFF'"
            yield binary_sensor(f"{key}_{suffix}", f"{name} {suffix}", info_topic, expression, **options)


def _states(info_topic: str) -> list[Entity]:
    flag, last_seen = partial(_flag, info_topic), "value_json.last_seen | default(none)"
    return [
        flag("mains", "Mains power", "ac_power", "plug"),
        # A panel reports a low battery, but never a good one.
        flag("battery", "Panel battery", "battery_low", "battery", unreported="'OFF'"),
        flag("wifi", "Wi-Fi", "wifi", "connectivity"),
        flag("upstream", "Vendor's cloud", "upstream_connected", "connectivity"),
        _problem(info_topic),
        sensor("last_contact", "Last contact", info_topic, last_seen, device_class="timestamp", **DIAGNOSTIC),
    ]


def _problem(topic: str) -> Entity:
    expression = "'ON' if value_json.problems | default(none) else 'OFF'"
    attributes = {"json_attributes_topic": topic, "json_attributes_template": _PROBLEMS}
    return binary_sensor("problem", "Problem", topic, expression, device_class="problem", **attributes, **DIAGNOSTIC)


def _signals(topic: str) -> list[Entity]:
    """Return what the panel's host info holds; unknown until it is read."""
    field = "value_json.{} | default(none)".format
    percent: Payload = {"unit_of_measurement": "%", **MEASUREMENT, **DIAGNOSTIC}
    millivolts: Payload = {"device_class": "voltage", "unit_of_measurement": "mV", **MEASUREMENT, **DIAGNOSTIC}
    entities = [sensor("battery_voltage", "Battery voltage", topic, field("battery_mv"), **millivolts)]
    for key, name, icon, statuses in (
        ("gsm", "GSM", "mdi:signal", GsmStatus),
        ("wifi", "Wi-Fi", "mdi:wifi", WifiStatus),
    ):
        options: Payload = {"device_class": "enum", "options": [each.name.lower() for each in statuses], **DIAGNOSTIC}
        entities += [
            sensor(f"{key}_signal", f"{name} signal", topic, field(f"{key}_signal"), icon=icon, **percent),
            sensor(f"{key}_status", f"{name} status", topic, field(f"{key}_status"), **options),
        ]
    return entities


def _flag(topic: str, key: str, name: str, field: str, device_class: str, unreported: str = "none") -> Entity:
    expression = f"{{true: 'ON', false: 'OFF'}}.get(value_json.{field} | default(none), {unreported})"
    return binary_sensor(key, name, topic, expression, device_class=device_class, **DIAGNOSTIC)


def _events(topic: str) -> list[Entity]:
    return [
        event("keypad", "Keypad", topic, [EventType.RFID], icon="mdi:dialpad"),
        event("remote", "Remote", topic, [EventType.REMOTE_BUTTON], icon="mdi:remote"),
        doorbell("doorbell", "Doorbell", topic, EventType.DOORBELL),
        event("event", "Panel event", topic, EventType, icon="mdi:shield-alert"),
    ]
