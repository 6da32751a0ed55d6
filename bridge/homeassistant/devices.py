"""Home Assistant devices of the bridge and its transmitters, pure (TOPICS.md, Home Assistant).

Ids follow the base topic, so that two bridges can share a broker, and the keys of the configuration, never names that
users may change. A key below is part of an entity's unique id: it never changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from bridge.common.models import NamedAlarm, Outcome, Request
from bridge.homeassistant.entity import (
    DIAGNOSTIC,
    MEASUREMENT,
    TOTAL,
    Device,
    Entity,
    Names,
    Payload,
    binary_sensor,
    button,
    event,
    sensor,
)
from bridge.transmitters.topics import Reach, Topics

_BRIDGE_EVENTS: Final = (
    "command_rejected", "retained_command_ignored", "store_failed", "store_recovered", "store_damaged",
    "unauthorized", "heartbeat_disabled", "unknown_panel", "wrong_address", "unattributed", "panel_locked",
    "alarm_unmatched", "clock_wrong", "clock_right",
)  # fmt: skip
_ALARM_RESULTS: Final = ("accepted", "duplicate", "rejected", "unauthorized", "undelivered", "expired", "invalid")

_ONLINE: Final[Payload] = {"payload_on": "online", "payload_off": "offline", "device_class": "connectivity"}
_OUTCOME: Final[Payload] = {"device_class": "enum", "options": [str(outcome) for outcome in Outcome]}
_SELECTED = (
    "{{{{ (dict(value_json.items() | selectattr(0, 'in', {})) if value_json is defined else {{}}) | to_json }}}}"
)
_ATTRIBUTES = _SELECTED.format(["status", "info", "receiver", "reference"])
# A topic that is cleared has an empty payload, which is not JSON.
_INFO = "{{ (value_json if value_json is defined else {}) | to_json }}"
_PROBLEMS = "{{ dict(problems=value_json if value_json is defined else []) | to_json }}"
_BEFORE = "(this.state if this.state not in ['unknown', 'unavailable'] else none)"
_HEARTBEAT = f"value_json.completed_at if value_json.outcome == 'accepted' else {_BEFORE}"
_TESTED = f"value_json.completed_at if value_json.outcome in ['accepted', 'duplicate'] else {_BEFORE}"
_TEST_ATTRIBUTES = _SELECTED.format(["outcome", "completed_at", "status", "receiver", "path", "attempts", "error"])
_TRANSMISSION = "value_json.transmission.mean_s if value_json.transmission else none"
_SECONDS: Final[Payload] = {"device_class": "duration", "unit_of_measurement": "s", "suggested_display_precision": 1}
_OFFSET = "value_json.clock_offset_s"
_CLOCK_OFFSET = f"({_OFFSET} | round(1) + 0) if {_OFFSET} is number else none"
"""Plus 0: without it, a rounded small negative offset is shown as "-0.0"."""


def bridge_device(names: Names, shards: int = 1) -> Payload:
    """Return the device of the bridge, with the states of all shards, and the counts of shard 0."""
    topics = Topics(names.base, {})
    count = partial(_count, topics.bridge("health"))
    state = {"state_topic": topics.bridge("state"), **_ONLINE, **DIAGNOSTIC}
    info, events = topics.bridge("info"), topics.bridge("event")
    entities = [
        Entity("binary_sensor", "connectivity", "Connectivity", state, always_available=True),
        sensor("version", "Version", info, "value_json.version", **DIAGNOSTIC, icon="mdi:package-variant"),
        count("waiting", "Alarms waiting", "outbox_pending", **MEASUREMENT, icon="mdi:tray-full"),
        count("set_aside", "Alarms rejected", "outbox_rejected", **MEASUREMENT, icon="mdi:tray-alert"),
        count("delivered", "Alarms delivered", "alarms_delivered", **TOTAL, icon="mdi:tray-arrow-up"),
        count("mqtt_restarts", "MQTT reconnects", "mqtt_reconnects", **TOTAL, **DIAGNOSTIC, icon="mdi:connection"),
        _problem(topics.bridge("problem")),
        event("events", "Bridge", events, _BRIDGE_EVENTS, icon="mdi:message-alert"),
        *(entity for shard in range(1, shards) for entity in _shard(names, shard)),
    ]
    about = {"name": "sosbridge", "manufacturer": "sosbridge", "model": "Alarm bridge", "sw_version": names.version}
    return Device(names, names.root).payload(about, entities)


def _shard(names: Names, shard: int) -> Iterator[Entity]:
    """Yield whether a further shard is served, and whether anything of it needs a person."""
    topics = Topics(names.base, {}, shard=shard)
    state = topics.bridge("state")
    options = {"state_topic": state, **_ONLINE, **DIAGNOSTIC}
    yield Entity(
        "binary_sensor", f"connectivity_{shard}", f"Shard {shard} connectivity", options, always_available=True
    )
    problem = _problem(topics.bridge("problem"))
    served = {"availability": [{"topic": state}]}
    yield replace(problem, key=f"problem_{shard}", name=f"Shard {shard} problem", options=problem.options | served)


def _count(topic: str, key: str, name: str, field: str, **options: object) -> Entity:
    return sensor(key, name, topic, f"value_json.{field}", **options)


def transmitter_id(names: Names, name: str) -> str:
    return f"{names.root}_transmitter_{name}"


def transmitter_of(names: Names, topic: str) -> str | None:
    """Return the transmitter that a discovery topic announces; None if none."""
    before, _, after = names.topic(transmitter_id(names, "\0")).partition("\0")
    is_one = topic.startswith(before) and topic.endswith(after)
    return topic.removeprefix(before).removesuffix(after) if is_one else None


def transmitter_device(
    names: Names, name: str, alarms: Mapping[str, NamedAlarm], test_code: str | None, reach: Reach | None = None
) -> Payload:
    """Return the device of a transmitter; `test_code` is the event code that its test button raises."""
    topics = Topics(names.base, {name: alarms}, {name: reach} if reach else {})
    entities = [*_switches(topics, name), *_buttons(topics, name, test_code), *_states(topics, name)]
    entities += [*_reach(topics, name), *_record(topics, name, test_code)]
    about = {"name": f"Transmitter {name}", "manufacturer": "sosbridge", "model": "SOS Access v4"}
    return Device(names, transmitter_id(names, name)).payload(about, entities)


def _switches(topics: Topics, name: str) -> Iterator[Entity]:
    for alarm in topics.transmitters[name].values():
        command, state = (topics.of(name, f"alarm/{alarm.key}/{leaf}") for leaf in ("set", "state"))
        options = {"command_topic": command, "state_topic": state, "optimistic": False, "icon": "mdi:alarm-light"}
        yield Entity("switch", f"alarm_{alarm.key}", alarm.name, options)


def _buttons(topics: Topics, name: str, test_code: str | None) -> Iterator[Entity]:
    ping, rotate, raise_ = (topics.of(name, leaf) for leaf in ("ping", "auth/rotate", "alarm/raise"))
    hidden = {"entity_category": "config", "enabled_by_default": False}
    yield button("heartbeat", "Send heartbeat", ping, entity_category="config", icon="mdi:heart-pulse")
    yield button("rotate", "Change password", rotate, **hidden, icon="mdi:key-change")
    if test_code:
        yield button("test", "Send test alarm", raise_, payload_press=test_code, icon="mdi:bell-check")


def _states(topics: Topics, name: str) -> list[Entity]:
    of = partial(topics.of, name)
    result, heartbeat = topics.response(name, Request.ALARM), topics.response(name, Request.PING)
    details = {"json_attributes_topic": result, "json_attributes_template": _ATTRIBUTES, "icon": "mdi:message-check"}
    offset = {**_SECONDS, **MEASUREMENT, **DIAGNOSTIC}
    return [
        binary_sensor("link", "Receiver link", of("link"), device_class="connectivity"),
        sensor("last_result", "Last result", result, "value_json.outcome", **_OUTCOME, **details),
        sensor("last_heartbeat", "Last heartbeat", heartbeat, _HEARTBEAT, device_class="timestamp", **DIAGNOSTIC),
        sensor("clock_offset", "Clock offset", heartbeat, _CLOCK_OFFSET, **offset),
        sensor("waiting", "Alarms waiting", of("outbox"), "value_json.pending", **MEASUREMENT, icon="mdi:tray-full"),
        _problem(of("problem")),
        event("result", "Alarm result", of("event"), _ALARM_RESULTS, icon="mdi:message-alert"),
    ]


def _reach(topics: Topics, name: str) -> Iterator[Entity]:
    """Yield whether each receiver and path works, with its figures as attributes."""
    reach = topics.reach(name)
    parts = [("receiver", each, f"{each} receiver".capitalize()) for each in reach.receivers]
    parts += [("path", each, f"Path {each}") for each in reach.paths]
    for kind, each, label in parts:
        state, info = (topics.of(name, f"{kind}/{each}/{leaf}") for leaf in ("state", "info"))
        options = {"device_class": "connectivity", "json_attributes_topic": info, "json_attributes_template": _INFO}
        yield binary_sensor(f"{kind}_{each}", label, state, **options, **DIAGNOSTIC)


def _record(topics: Topics, name: str, test_code: str | None) -> Iterator[Entity]:
    """Yield when the last test alarm succeeded, and the figures of the month."""
    record, result = topics.of(name, "record"), topics.response(name, Request.TEST)
    hidden = {**MEASUREMENT, **DIAGNOSTIC, "enabled_by_default": False}
    if test_code:
        details = {
            "json_attributes_topic": result,
            "json_attributes_template": _TEST_ATTRIBUTES,
            "icon": "mdi:bell-check",
        }
        yield sensor("last_test", "Last test", result, _TESTED, device_class="timestamp", **details)
    percent = {"unit_of_measurement": "%", "suggested_display_precision": 3, "icon": "mdi:chart-timeline-variant"}
    yield sensor("availability", "Availability", record, "value_json.link.availability", **percent, **hidden)
    yield sensor("transmission_time", "Transmission time", record, _TRANSMISSION, **_SECONDS, **hidden)


def _problem(topic: str) -> Entity:
    """Return whether anything needs a person, with the list of what as an attribute."""
    options = {"json_attributes_topic": f"{topic}/info", "json_attributes_template": _PROBLEMS}
    return binary_sensor("problem", "Problem", topic, device_class="problem", **options)


def removal(before: Payload, after: Payload) -> Payload | None:
    """Return the payload that removes the components of `before` missing in `after`; None if none is."""
    gone = _components(before).keys() - _components(after).keys()
    if not gone:
        return None
    markers = {key: {"platform": _components(before)[key].get("platform")} for key in gone}
    return {**after, "components": {**_components(after), **markers}}


def _components(payload: Payload) -> dict[str, Payload]:
    found = payload.get("components")
    return {key: each for key, each in found.items() if isinstance(each, dict)} if isinstance(found, dict) else {}
