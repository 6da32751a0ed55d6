"""The Home Assistant device of a panel: its alarm, sensors, states and events, pure (TOPICS.md, Home Assistant)."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from bridge.g90.state.model import PanelState, Sensor
from bridge.g90.wire.constants import SensorType
from bridge.g90.wire.events import EventType
from bridge.homeassistant.entity import (
    DIAGNOSTIC,
    Device,
    Entity,
    Names,
    Payload,
    binary_sensor,
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
_WITH_CODE = "{{ dict(action=action, code=code) | to_json if code else dict(action=action) | to_json }}"


@dataclass(frozen=True, slots=True)
class ControlOptions:
    """How Home Assistant can arm and disarm a panel."""

    possible: bool
    code: bool = False
    digits: bool = False
    """The code is all digits: Home Assistant shows a number pad."""
    code_to_arm: bool = False


def panel_id(names: Names, guid: str) -> str:
    return f"{names.root}_panel_{guid.lower()}"


def panel_device(names: Names, state: PanelState, control: ControlOptions) -> Payload:
    """Return the device of a panel, with the entities of each sensor that is known."""
    of = partial(PanelTopics(names.base).of, state.guid)
    entities = [_alarm_panel(of("state"), of("set"), control)]
    for each in state.sensors.values():
        entities += _sensor(each, of(f"sensor/{each.index}/state"), of(f"sensor/{each.index}/info"))
    entities += [*_states(of("info")), *_events(of("event"))]
    about: Payload = {"name": state.name or f"Panel {state.guid}", "manufacturer": "Golden Security", "model": "G90"}
    about |= {"sw_version": state.firmware} if state.firmware else {}
    device = Device(names, panel_id(names, state.guid), (of("availability"),))
    return device.payload(about | {"serial_number": state.guid}, entities)


def _alarm_panel(state_topic: str, command_topic: str, control: ControlOptions) -> Entity:
    with_code = control.possible and control.code
    options: Payload = {
        "state_topic": state_topic,
        "command_topic": command_topic,
        "supported_features": [str(each).lower() for each in (Action.ARM_HOME, Action.ARM_AWAY) if control.possible],
        "code_arm_required": with_code and control.code_to_arm,
        "code_disarm_required": with_code,
    }
    if with_code:
        options["code"] = "REMOTE_CODE" if control.digits else "REMOTE_CODE_TEXT"
        options["command_template"] = _WITH_CODE
    return Entity("alarm_control_panel", "alarm", "Alarm", options)


def _sensor(found: Sensor, state_topic: str, info_topic: str) -> Iterator[Entity]:
    key, name = f"sensor_{found.index}", found.name or f"Sensor {found.index}"
    if found.type not in _STATELESS:
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
        sensor("last_contact", "Last contact", info_topic, last_seen, device_class="timestamp", **DIAGNOSTIC),
    ]


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
