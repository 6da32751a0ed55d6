"""Home Assistant device discovery, pure: what is configured and known -> retained payloads by topic.

One device for the bridge, one for each transmitter and panel. Ids follow the base topic, so that two bridges on one
broker do not meet, and never a name that a user may change.
"""

from __future__ import annotations

from collections.abc import Mapping

from bridge.common.models import NamedAlarm, Outcome
from bridge.homeassistant.entity import Component, Device, Names, Payload, event, value

_BRIDGE_EVENTS = (
    "command_rejected", "retained_command_ignored", "store_failed", "store_recovered", "store_damaged",
    "unauthorized", "heartbeat_disabled", "unknown_panel", "wrong_address", "unattributed", "panel_locked",
    "clock_wrong", "clock_right",
)  # fmt: skip

_ALARM_RESULTS = ("accepted", "duplicate", "rejected", "unauthorized", "undelivered", "expired", "invalid")


def bridge_device(names: Names) -> Payload:
    """Return the bridge's own device."""
    base = names.base
    state, health = f"{base}/bridge/state", f"{base}/bridge/health"
    device = Device(names, names.root, (state,))

    def count(key: str, name: str, field: str, **options: object) -> Component:
        template = value(f"value_json.{field}")
        return device.component("sensor", key, name, state_topic=health, value_template=template, **options)

    key, connectivity = device.component(
        "binary_sensor",
        "connectivity",
        "Connectivity",
        state_topic=state,
        payload_on="online",
        payload_off="offline",
        device_class="connectivity",
        entity_category="diagnostic",
    )
    del connectivity["availability"], connectivity["availability_mode"]  # it tells just that, so it is always there
    components = [
        (key, connectivity),
        device.component(
            "sensor",
            "version",
            "Version",
            state_topic=f"{base}/bridge/info",
            value_template=value("value_json.version"),
            entity_category="diagnostic",
            icon="mdi:package-variant",
        ),
        count("waiting", "Alarms waiting", "outbox_pending", state_class="measurement", icon="mdi:tray-full"),
        count("set_aside", "Alarms set aside", "outbox_rejected", state_class="measurement", icon="mdi:tray-alert"),
        count(
            "delivered",
            "Alarms delivered",
            "alarms_delivered",
            state_class="total_increasing",
            icon="mdi:tray-arrow-up",
        ),
        count(
            "mqtt_restarts",
            "MQTT reconnects",
            "mqtt_reconnects",
            state_class="total_increasing",
            entity_category="diagnostic",
            icon="mdi:connection",
        ),
        event(device, "events", "Bridge", f"{base}/bridge/event", _BRIDGE_EVENTS, icon="mdi:message-alert"),
    ]
    about = {"name": "sosbridge", "manufacturer": "sosbridge", "model": "Alarm bridge", "sw_version": names.version}
    return device.payload(about, components)


def transmitter_id(names: Names, name: str) -> str:
    return f"{names.root}_transmitter_{name}"


def transmitter_device(names: Names, name: str, alarms: Mapping[str, NamedAlarm], test_code: str | None) -> Payload:
    """Return the device of a transmitter; `test_code` is what its test button raises."""
    device = Device(names, transmitter_id(names, name), (f"{names.base}/bridge/state",))
    own = f"{names.base}/transmitter/{name}"
    components = [_alarm_switch(device, own, alarm) for alarm in alarms.values()]
    components += [*_buttons(device, own, test_code), *_transmitter_states(device, own)]
    return device.payload(
        {"name": f"Transmitter {name}", "manufacturer": "sosbridge", "model": "SOS Access v4"}, components
    )


def _alarm_switch(device: Device, own: str, alarm: NamedAlarm) -> Component:
    topic = f"{own}/alarm/{alarm.key}"
    return device.component(
        "switch",
        f"alarm_{alarm.key}",
        alarm.name,
        command_topic=f"{topic}/set",
        state_topic=f"{topic}/state",
        optimistic=False,
        icon="mdi:alarm-light",
    )


def _buttons(device: Device, own: str, test_code: str | None) -> list[Component]:
    found = [
        device.component(
            "button",
            "heartbeat",
            "Send heartbeat",
            command_topic=f"{own}/ping",
            entity_category="config",
            icon="mdi:heart-pulse",
        ),
        device.component(
            "button",
            "rotate",
            "Change password",
            command_topic=f"{own}/auth/rotate",
            entity_category="config",
            enabled_by_default=False,
            icon="mdi:key-change",
        ),
    ]
    if test_code:
        test = device.component(
            "button",
            "test",
            "Send test alarm",
            command_topic=f"{own}/alarm/raise",
            payload_press=test_code,
            icon="mdi:bell-check",
        )
        found.append(test)
    return found


def _transmitter_states(device: Device, own: str) -> list[Component]:
    offset = "value_json.clock_offset_s"
    told = "dict(value_json.items() | selectattr(0, 'in', ['status', 'info', 'receiver', 'reference']))"
    attributes = f"{{{{ ({told} if value_json is defined else {{}}) | to_json }}}}"
    before = "(this.state if this.state not in ['unknown', 'unavailable'] else none)"
    heartbeat = f"value_json.completed_at if value_json.outcome == 'accepted' else {before}"
    return [
        device.component(
            "binary_sensor", "link", "Receiver link", state_topic=f"{own}/link", device_class="connectivity"
        ),
        device.component(
            "sensor",
            "last_result",
            "Last result",
            state_topic=f"{own}/alarm/response",
            value_template=value("value_json.outcome"),
            device_class="enum",
            options=[str(outcome) for outcome in Outcome],
            json_attributes_topic=f"{own}/alarm/response",
            json_attributes_template=attributes,
            icon="mdi:message-check",
        ),
        device.component(
            "sensor",
            "last_heartbeat",
            "Last heartbeat",
            state_topic=f"{own}/ping/response",
            value_template=value(heartbeat),
            device_class="timestamp",
            entity_category="diagnostic",
        ),
        device.component(
            "sensor",
            "clock_offset",
            "Clock offset",
            state_topic=f"{own}/ping/response",
            # Plus 0: without it, a little less than none is "-0.0".
            value_template=value(f"({offset} | round(1) + 0) if {offset} is number else none"),
            device_class="duration",
            unit_of_measurement="s",
            suggested_display_precision=1,
            state_class="measurement",
            entity_category="diagnostic",
        ),
        device.component(
            "sensor",
            "waiting",
            "Alarms waiting",
            state_topic=f"{own}/outbox",
            value_template=value("value_json.pending"),
            state_class="measurement",
            icon="mdi:tray-full",
        ),
        device.component(
            "binary_sensor",
            "problem",
            "Problem",
            state_topic=f"{own}/problem",
            device_class="problem",
        ),
        event(device, "result", "Alarm result", f"{own}/event", _ALARM_RESULTS, icon="mdi:message-alert"),
    ]


def removal(before: Payload, after: Payload | None) -> Payload | None:
    """Return what takes out of Home Assistant what `before` has and `after` has not; None where nothing goes."""
    gone = _components(before).keys() - _components(after or {}).keys()
    if not gone or after is None:
        return None
    markers = {key: {"platform": _components(before)[key].get("platform")} for key in gone}
    return {**after, "components": {**_components(after), **markers}}


def _components(payload: Payload) -> dict[str, Payload]:
    found = payload.get("components")
    return {key: each for key, each in found.items() if isinstance(each, dict)} if isinstance(found, dict) else {}
