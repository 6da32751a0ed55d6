"""Discovery payloads: every entity with what Home Assistant needs of it, ids that stay, removal of what is gone."""

from __future__ import annotations

import ast
import functools
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from homeassistant.payloads import BURGLARY, CONTROLLED, NAMES, PANEL, SNAPSHOTS, devices, written

from bridge.g90.state.model import Now, Sensor
from bridge.g90.state.storage import from_json, to_json
from bridge.g90.wire.constants import SensorType
from bridge.homeassistant.devices import removal, transmitter_device, transmitter_id
from bridge.homeassistant.entity import Payload
from bridge.homeassistant.panel import ControlOptions, panel_device, panel_id


def components(payload: Payload) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = payload["components"]
    return found


@pytest.mark.parametrize("name", sorted(devices()))
def test_a_payload_is_as_it_was_when_somebody_looked(name: str) -> None:
    told = f"where this is meant: python tests/homeassistant/payloads.py, then read what git says of {name}.json"
    assert written(devices()[name]) == (SNAPSHOTS / f"{name}.json").read_text("utf-8"), told


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        (
            "bridge",
            {
                "connectivity": ("binary_sensor", "Connectivity", "connectivity"),
                "version": ("sensor", "Version", None),
                "waiting": ("sensor", "Alarms waiting", None),
                "set_aside": ("sensor", "Alarms rejected", None),
                "delivered": ("sensor", "Alarms delivered", None),
                "mqtt_restarts": ("sensor", "MQTT reconnects", None),
                "problem": ("binary_sensor", "Problem", "problem"),
                "events": ("event", "Bridge", None),
            },
        ),
        (
            "transmitter",
            {
                "alarm_burglary": ("switch", "Burglary", None),
                "heartbeat": ("button", "Send heartbeat", None),
                "rotate": ("button", "Change password", None),
                "test": ("button", "Send test alarm", None),
                "link": ("binary_sensor", "Receiver link", "connectivity"),
                "last_result": ("sensor", "Last result", "enum"),
                "last_heartbeat": ("sensor", "Last heartbeat", "timestamp"),
                "clock_offset": ("sensor", "Clock offset", "duration"),
                "waiting": ("sensor", "Alarms waiting", None),
                "problem": ("binary_sensor", "Problem", "problem"),
                "result": ("event", "Alarm result", None),
                "receiver_primary": ("binary_sensor", "Primary receiver", "connectivity"),
                "receiver_secondary": ("binary_sensor", "Secondary receiver", "connectivity"),
                "path_fixed": ("binary_sensor", "Path fixed", "connectivity"),
                "path_mobile": ("binary_sensor", "Path mobile", "connectivity"),
                "last_test": ("sensor", "Last test", "timestamp"),
                "availability": ("sensor", "Availability", None),
                "transmission_time": ("sensor", "Transmission time", "duration"),
            },
        ),
        (
            "panel",
            {
                "alarm": ("alarm_control_panel", "Alarm", None),
                "sensor_1": ("binary_sensor", "Front door", "door"),
                "sensor_9": ("binary_sensor", "Kitchen smoke", "smoke"),
                "sensor_9_tamper": ("binary_sensor", "Kitchen smoke tamper", "tamper"),
                "sensor_9_battery": ("binary_sensor", "Kitchen smoke battery", "battery"),
                "mains": ("binary_sensor", "Mains power", "plug"),
                "battery": ("binary_sensor", "Panel battery", "battery"),
                "wifi": ("binary_sensor", "Wi-Fi", "connectivity"),
                "upstream": ("binary_sensor", "Vendor's cloud", "connectivity"),
                "problem": ("binary_sensor", "Problem", "problem"),
                "last_contact": ("sensor", "Last contact", "timestamp"),
                "battery_voltage": ("sensor", "Battery voltage", "voltage"),
                "gsm_signal": ("sensor", "GSM signal", None),
                "gsm_status": ("sensor", "GSM status", "enum"),
                "wifi_signal": ("sensor", "Wi-Fi signal", None),
                "wifi_status": ("sensor", "Wi-Fi status", "enum"),
                "relay_12_2": ("switch", "Lamp#2", "outlet"),
                "refresh": ("button", "Refresh", None),
                "keypad": ("event", "Keypad", None),
                "remote": ("event", "Remote", None),
                "doorbell": ("event", "Doorbell", "doorbell"),
                "event": ("event", "Panel event", None),
            },
        ),
    ],
)
def test_entities(device: str, expected: dict[str, tuple[str, str, str | None]]) -> None:
    found = components(devices()[device])
    assert {key: (c["platform"], c["name"], c.get("device_class")) for key, c in found.items()} == expected


@pytest.mark.parametrize("device", ["bridge", "transmitter", "panel"])
def test_what_home_assistant_needs_of_every_component(device: str) -> None:
    payload = devices()[device]
    own = payload["device"]["identifiers"][0]
    for key, component in components(payload).items():
        assert component["unique_id"] == component["object_id"] == f"{own}_{key}"
        assert component["default_entity_id"] == f"{component['platform']}.{own}_{key}"
        assert not component["name"].startswith(payload["device"]["name"])
        assert {"name", "sw_version", "support_url"} == payload["origin"].keys()
    json.dumps(payload)


def test_availability_follows_the_bridge_and_the_panel() -> None:
    found = components(devices()["panel"])["alarm"]
    topics = [entry["topic"] for entry in found["availability"]]
    assert topics == ["sosbridge/bridge/state", "sosbridge/panel/GB7F20C14D05A91/availability"]
    assert found["availability_mode"] == "all"
    assert "availability" not in components(devices()["bridge"])["connectivity"]


def test_a_panel_without_a_control_path_offers_nothing_to_press() -> None:
    control = ControlOptions(possible=False, code=True, code_to_arm=True)
    found = components(panel_device(NAMES, PANEL, control))["alarm"]
    assert found["supported_features"] == []
    assert "code" not in found
    assert found["code_arm_required"] is found["code_disarm_required"] is False


def test_the_code_is_never_in_the_payload() -> None:
    found = components(panel_device(NAMES, PANEL, ControlOptions(possible=True, code=True)))["alarm"]
    assert found["code"] == "REMOTE_CODE_TEXT"
    pad = ControlOptions(possible=True, code=True, digits=True)
    assert components(panel_device(NAMES, PANEL, pad))["alarm"]["code"] == "REMOTE_CODE"
    assert found["code_disarm_required"] is True
    assert found["code_arm_required"] is False
    assert found["supported_features"] == ["arm_home", "arm_away"]


def test_ids_differ_between_two_bridges_and_stay_over_a_rename() -> None:
    other = replace(NAMES, base="cottage")
    assert transmitter_id(NAMES, "home") != transmitter_id(other, "home")
    renamed = panel_device(NAMES, replace(PANEL, name="Villa"), CONTROLLED)
    assert components(renamed).keys() == components(devices()["panel"]).keys()
    assert panel_id(NAMES, PANEL.guid) == renamed["device"]["identifiers"][0]


@pytest.mark.parametrize(
    ("one", "other"), [("cottage", "sosbridge/cottage"), ("a/b", "a_b"), ("a", "A"), ("hus/ö", "hus/ä")]
)
def test_ids_differ_however_alike_the_base_topics_are(one: str, other: str) -> None:
    names = [replace(NAMES, base=base) for base in (one, other)]
    first, second = (transmitter_device(each, "home", {"burglary": BURGLARY}, None) for each in names)
    assert first["device"]["identifiers"] != second["device"]["identifiers"]
    for payload, each in zip((first, second), names, strict=True):
        topic = each.topic(transmitter_id(each, "home"))
        assert re.fullmatch(r"homeassistant/device/[a-zA-Z0-9_-]+/config", topic), "Home Assistant takes no other"
        for component in components(payload).values():
            assert re.fullmatch(r"[a-z_]+\.sosbridge_[a-z0-9_]+", component["default_entity_id"])


@pytest.mark.parametrize("other", ["panel/house", "sosbridge_panel", "transmitter", "sosbridge/transmitter/home"])
def test_what_another_bridge_declares_is_never_ours(other: str) -> None:
    names = replace(NAMES, base=other)
    for device in (names.root, transmitter_id(names, "home"), panel_id(names, "P")):
        assert names.is_ours(names.topic(device))
        assert not NAMES.is_ours(names.topic(device))


def test_only_our_own_topics_are_ours() -> None:
    assert NAMES.is_ours(NAMES.topic(transmitter_id(NAMES, "home")))
    assert NAMES.is_ours(NAMES.topic(NAMES.root))
    assert not NAMES.is_ours(NAMES.topic("zigbee2mqtt_bridge"))


def test_a_component_that_is_gone_leaves_a_marker() -> None:
    before = transmitter_device(NAMES, "home", {"burglary": BURGLARY}, None)
    after = transmitter_device(NAMES, "home", {}, None)
    markers = removal(before, after)
    assert markers is not None
    assert components(markers)["alarm_burglary"] == {"platform": "switch"}
    assert components(markers).keys() == components(before).keys()
    assert removal(after, after) is None


def test_a_sensor_that_reported_a_flag_once_keeps_its_entity() -> None:
    quiet, attic = Sensor(index=1, type=1), Sensor(index=9, name="Attic", type=4, tamper=False, battery_low=False)
    told = replace(PANEL, sensors={1: quiet, 9: attic})
    moment = Now(0.0, datetime.now(UTC))
    kept = components(panel_device(NAMES, from_json(json.loads(json.dumps(to_json(told, moment))), moment), CONTROLLED))
    assert {key for key in kept if key.startswith("sensor_")} == {
        "sensor_1",
        "sensor_9",
        "sensor_9_tamper",
        "sensor_9_battery",
    }
    assert kept["sensor_9_tamper"]["name"] == "Attic tamper"


def test_an_event_entity_takes_its_own_types_only() -> None:
    found = components(devices()["panel"])["doorbell"]
    assert found["value_template"].startswith("{% if value_json is defined and value_json.type in ['doorbell'] %}")
    assert found["event_types"] == ["ring"]  # Home Assistant wants this of a doorbell


@pytest.mark.parametrize(
    ("device", "key", "expected"),
    [
        ("panel", "event", {"door opened", "AC power lost", "Wi-Fi connected", "alarm", "sos"}),
        ("panel", "remote", {"remote button"}),
        ("bridge", "events", {"command rejected", "unknown panel"}),
        ("transmitter", "result", {"undelivered", "accepted"}),
    ],
)
def test_event_types_are_words(device: str, key: str, expected: set[str]) -> None:
    """What the template makes of each type is one of the event types: Home Assistant drops any other."""
    found = components(devices()[device])[key]
    assert expected <= set(found["event_types"])
    assert not [each for each in found["event_types"] if "_" in each]
    (known,) = re.findall(r"value_json.type in (\[.*?\])", found["value_template"])
    replaced = re.findall(r"replace\('(.*?)', '(.*?)'\)", found["value_template"])
    made = [
        functools.reduce(lambda text, pair: text.replace(*pair), replaced, each) for each in ast.literal_eval(known)
    ]
    assert made == found["event_types"]


@pytest.mark.parametrize(
    ("kind", "device_class"),
    [
        (SensorType.DOOR, "door"),
        (SensorType.MOTION, "motion"),
        (SensorType.BEAM, "motion"),
        (SensorType.SMOKE, "smoke"),
        (SensorType.GAS, "gas"),
        (SensorType.WATER, "moisture"),
        (SensorType.VIBRATION, "vibration"),
        (SensorType.GLASS_BREAK, "sound"),
        (SensorType.SOS_BUTTON, "safety"),
        (None, None),
        (77, None),
    ],
)
def test_a_sensor_has_the_class_of_its_type(kind: int | None, device_class: str | None) -> None:
    panel = replace(PANEL, sensors={1: Sensor(index=1, name="Hall", type=kind)})
    found = components(panel_device(NAMES, panel, CONTROLLED))["sensor_1"]
    assert found.get("device_class") == device_class


@pytest.mark.parametrize("kind", [SensorType.REMOTE, SensorType.RFID, SensorType.DOORBELL, SensorType.FINGERPRINT_LOCK])
def test_what_only_reports_is_no_binary_sensor(kind: SensorType) -> None:
    panel = replace(PANEL, sensors={1: Sensor(index=1, name="Keys", type=kind)})
    assert "sensor_1" not in components(panel_device(NAMES, panel, CONTROLLED))
