"""Home Assistant discovery of a panel: its alarm, a sensor each for its sensors, its states and events. Pure."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Final

from bridge.g90.state.panel import PanelState, Sensor
from bridge.g90.wire.constants import SensorType
from bridge.g90.wire.events import EventType
from bridge.homeassistant.entity import Component, Device, Names, Payload, doorbell, event, value

_SENSOR_CLASSES: Final[Mapping[int | None, str]] = {
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
"""Home Assistant's device class for each sensor type that is one."""
_REPORTING_TYPES: Final[Container[int | None]] = frozenset(
    {
        SensorType.DOORBELL,
        SensorType.REMOTE,
        SensorType.RFID,
        SensorType.BUTTON,
        SensorType.WATCH,
        SensorType.FINGERPRINT_LOCK,
    }
)
"""Types that tell events and have no state worth a binary sensor."""


def panel_id(names: Names, guid: str) -> str:
    return f"{names.root}_panel_{guid.lower()}"


@dataclass(frozen=True, slots=True)
class PanelControlled:
    """How a panel can be commanded from Home Assistant."""

    possible: bool
    code: bool = False
    digits: bool = False
    """Whether the code is of digits alone, so that a number pad is enough to type it."""
    code_to_arm: bool = False


def panel_device(names: Names, state: PanelState, control: PanelControlled) -> Payload:
    """Return the device of a panel, with an entity for each sensor that is known."""
    own = f"{names.base}/panel/{state.guid}"
    device = Device(names, panel_id(names, state.guid), (f"{names.base}/bridge/state", f"{own}/availability"))
    components = [_alarm_panel(device, own, control)]
    for sensor in state.sensors.values():
        components += _sensor(device, own, sensor)
    components += [*_panel_states(device, own), *_panel_events(device, own)]
    about: Payload = {"name": state.name or f"Panel {state.guid}", "manufacturer": "Golden Security", "model": "G90"}
    about |= {"sw_version": state.firmware} if state.firmware else {}
    return device.payload(about | {"serial_number": state.guid}, components)


def _alarm_panel(device: Device, own: str, control: PanelControlled) -> Component:
    asks = control.possible and control.code
    options: Payload = {
        "state_topic": f"{own}/state",
        "command_topic": f"{own}/set",
        "supported_features": ["arm_home", "arm_away"] if control.possible else [],
        "code_arm_required": asks and control.code_to_arm,
        "code_disarm_required": asks,
    }
    if asks:
        with_code = "{{ dict(action=action, code=code) | to_json if code else dict(action=action) | to_json }}"
        code = "REMOTE_CODE" if control.digits else "REMOTE_CODE_TEXT"
        options |= {"code": code, "command_template": with_code}
    return device.component("alarm_control_panel", "alarm", "Alarm", **options)


def _sensor(device: Device, own: str, sensor: Sensor) -> list[Component]:
    key, name = f"sensor_{sensor.index}", sensor.name or f"Sensor {sensor.index}"
    topic = f"{own}/sensor/{sensor.index}"
    found = []
    if sensor.type not in _REPORTING_TYPES:
        device_class = _SENSOR_CLASSES.get(sensor.type)
        options = {"device_class": device_class} if device_class else {}
        found.append(device.component("binary_sensor", key, name, state_topic=f"{topic}/state", **options))
    for flag, words, device_class in (("tamper", "tamper", "tamper"), ("battery_low", "battery", "battery")):
        if getattr(sensor, flag) is not None:  # it told one once
            component = device.component(
                "binary_sensor",
                f"{key}_{words}",
                f"{name} {words}",
                state_topic=f"{topic}/info",
                value_template=value(f"'ON' if value_json.{flag} else 'OFF'"),
                device_class=device_class,
                entity_category="diagnostic",
            )
            found.append(component)
    return found


def _panel_states(device: Device, own: str) -> list[Component]:
    info = f"{own}/info"

    def flag(key: str, name: str, field: str, device_class: str, untold: str = "none") -> Component:
        template = value(f"{{true: 'ON', false: 'OFF'}}.get(value_json.{field} | default(none), {untold})")
        return device.component(
            "binary_sensor",
            key,
            name,
            state_topic=info,
            value_template=template,
            device_class=device_class,
            entity_category="diagnostic",
        )

    return [
        flag("mains", "Mains power", "ac_power", "plug"),
        # A panel tells a low battery and never a good one.
        flag("battery", "Panel battery", "battery_low", "battery", untold="'OFF'"),
        flag("wifi", "Wi-Fi", "wifi", "connectivity"),
        device.component(
            "sensor",
            "last_contact",
            "Last contact",
            state_topic=info,
            value_template=value("value_json.last_seen | default(none)"),
            device_class="timestamp",
            entity_category="diagnostic",
        ),
    ]


def _panel_events(device: Device, own: str) -> list[Component]:
    topic = f"{own}/event"
    return [
        event(device, "keypad", "Keypad", topic, [EventType.RFID], icon="mdi:dialpad"),
        event(device, "remote", "Remote", topic, [EventType.REMOTE_BUTTON], icon="mdi:remote"),
        doorbell(device, "doorbell", "Doorbell", topic, EventType.DOORBELL),
        event(device, "event", "Panel event", topic, EventType, icon="mdi:shield-alert"),
    ]
