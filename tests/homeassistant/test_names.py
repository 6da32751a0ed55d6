"""Topics, ids and device classes as Home Assistant gets them (TOPICS.md, Home Assistant)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from homeassistant.payloads import CONTROLLED, NAMES, PANEL

from bridge.g90.wire.constants import SensorType
from bridge.homeassistant.devices import removal, transmitter_device
from bridge.homeassistant.entity import Names
from bridge.homeassistant.panel import panel_device

BINARY = {
    "DOOR": "door",
    "GLASS_BREAK": "sound",
    "GAS": "gas",
    "SMOKE": "smoke",
    "SOS_BUTTON": "safety",
    "VIBRATION": "vibration",
    "WATER": "moisture",
    "MOTION": "motion",
    "BEAM": "motion",
    "WIRED": "opening",
}
"""The device class of each sensor type that is on or off; the others only report events."""


def test_topics() -> None:
    names = Names("ha", "cottage", "1")
    assert (names.birth_topic, names.filter, names.topic("x")) == (
        "ha/status",
        "ha/device/+/config",
        "ha/device/x/config",
    )


@pytest.mark.parametrize(
    ("base", "root", "slug"),
    [
        ("sosbridge", "sosbridge", "sosbridge"),
        ("cottage", "sosbridge-11102e6e", "sosbridge_cottage"),
        ("house/alarm", "sosbridge-f652d441", "sosbridge_house_alarm"),
        ("~", "sosbridge-", "sosbridge"),
        ("~A~b~", "sosbridge-", "sosbridge_a_b"),
        ("sosbridge/x", "sosbridge-", "sosbridge_x"),
    ],
)
def test_prefixes_of_ids(base: str, root: str, slug: str) -> None:
    names = Names("homeassistant", base, "1")
    assert names.root.startswith(root)
    assert len(names.root) == (9 if base == "sosbridge" else 18)
    assert names.slug == slug


@pytest.mark.parametrize("kind", list(SensorType))
def test_device_class_of_each_sensor_type(kind: SensorType) -> None:
    panel = replace(PANEL, sensors={1: replace(PANEL.sensors[1], type=kind)})
    found = panel_device(NAMES, panel, CONTROLLED)["components"].get("sensor_1")
    assert (found["device_class"] if found else None) == BINARY.get(kind.name)


@pytest.mark.parametrize("before", [{}, {"components": None}, {"components": {"a": 1}}, {"components": []}])
def test_nothing_is_removed_that_was_no_component(before: dict[str, object]) -> None:
    assert removal(before, {"components": {"b": {"platform": "switch"}}}) is None


def test_removed_component_keeps_its_platform_alone() -> None:
    before = {"components": {"a": {"platform": "switch", "name": "A"}, "b": {"platform": "sensor"}}}
    after = {"device": 1, "components": {"b": {"platform": "sensor", "name": "B"}}}
    assert removal(before, after) == {
        "device": 1,
        "components": {"a": {"platform": "switch"}, "b": {"platform": "sensor", "name": "B"}},
    }


def test_a_transmitter_is_available_while_its_shard_is() -> None:
    for shard, state in ((0, "b/bridge/state"), (3, "b/shard/3/state")):
        payload = transmitter_device(Names("ha", "b", "1", shard), "home", {}, None)
        assert [each["topic"] for each in payload["components"]["link"]["availability"]] == [state]
