"""Tables of rules: what is urgent, what a rule matches, what a fault says (TOPICS.md, Panel events)."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from support.g90 import GUID, NOW, OTHER

from bridge.common.errors import ConfigError
from bridge.common.models import Request
from bridge.g90.wire.constants import SENSOR_TYPE_NAMES
from bridge.g90.wire.events import EventType, PanelEvent
from bridge.panels.forwarding import Forwarded, Rule, fits, forward
from bridge.panels.rules import faults, parse_event, parse_sensor_type, unknown_names

ALARM = PanelEvent(guid=GUID, type=EventType.ALARM, at=NOW, sensor=9, name="Hall", sensor_type="motion")
RULE = Rule(event=EventType.ALARM, transmitter="home", event_code="BA")
URGENT = {"smoke", "gas", "water"}


@pytest.mark.parametrize("sensor_type", sorted(SENSOR_TYPE_NAMES))
def test_alarms_of_smoke_gas_and_water_are_urgent(sensor_type: str) -> None:
    (sent,) = forward([RULE], (), replace(ALARM, sensor_type=sensor_type)).sendings
    assert sent.alarm.urgent is (sensor_type in URGENT)


@pytest.mark.parametrize("kind", list(EventType))
def test_only_sos_and_alarms_are_urgent(kind: EventType) -> None:
    (sent,) = forward([replace(RULE, event=kind)], (), replace(ALARM, type=kind, sensor_type="smoke")).sendings
    assert sent.alarm.urgent is (kind in (EventType.SOS, EventType.ALARM))


@pytest.mark.parametrize(
    ("wanted", "name", "matches"),
    [
        (None, None, True),
        ("*", None, True),
        ("?*", None, False),
        ("?", None, False),
        ("hall", "HALL", True),
        ("H?LL", "Hall", True),
        ("hal", "Hall", False),
        ("9", None, True),
        ("09", None, True),
        ("8", "9", False),
        (9, None, True),
        (10, None, False),
    ],
)
def test_sensor_of_a_rule(wanted: int | str | None, name: str | None, *, matches: bool) -> None:
    assert fits(replace(RULE, sensor=wanted), replace(ALARM, name=name)) is matches


TEXTS = ("transmitter_area", "section", "section_text", "detector", "detector_text", "additional_info")


@pytest.mark.parametrize("field", TEXTS)
def test_each_text_of_a_rule_is_filled(field: str) -> None:
    rule = replace(RULE, **{field: "{event} {sensor} {name} {nothing} {"})  # type: ignore[arg-type]
    (sent,) = forward([rule], (), ALARM).sendings
    assert getattr(sent.alarm, field) == "alarm 9 Hall {nothing} {"


@pytest.mark.parametrize("placeholder", ["sensor", "name", "sensor_type", "source", "action"])
def test_what_an_event_does_not_have_is_empty(placeholder: str) -> None:
    bare = PanelEvent(guid=GUID, type=EventType.ALARM, at=NOW)
    rule = replace(RULE, section=f"<{{{placeholder}}}>", section_text=f"{{{placeholder}}}")
    (sent,) = forward([rule], (), bare).sendings
    assert (sent.alarm.section, sent.alarm.section_text) == ("<>", None)
    assert (sent.alarm.detector, sent.alarm.detector_text) == (None, None)


def test_a_sensor_without_a_name_has_no_detector_text() -> None:
    (sent,) = forward([RULE], (), replace(ALARM, name=None)).sendings
    assert (sent.alarm.detector, sent.alarm.detector_text) == ("9", None)


def test_keys_name_the_transmitter_and_a_restore_has_its_own() -> None:
    step = forward([replace(RULE, restore_on=EventType.DISARMED)], (), ALARM)
    (raised,) = step.sendings
    assert raised.key == f"{ALARM.key}>home>BA"
    (restore,) = forward([], step.active, replace(ALARM, type=EventType.DISARMED, sensor=None)).sendings
    assert (restore.key, restore.request) == (f"{ALARM.key}>home>BA>restore", Request.RESTORE)
    assert restore.raised_code == "BA"


def test_stored_alarm_is_the_same_after_a_restart() -> None:
    rule = replace(RULE, restore_on=timedelta(minutes=5), urgent=True, **dict.fromkeys(TEXTS, "1"))  # type: ignore[arg-type]
    (active,) = forward([rule], (), ALARM).active
    stored = json.loads(json.dumps(active.as_json()))
    assert stored["alarm"] | {"transmitter_time": None} == {
        "event_code": "BA",
        "transmitter_time": None,
        "reference": None,
        "position": None,
        "urgent": False,
        **dict.fromkeys(TEXTS, "1"),
    }
    assert (stored["transmitter"], stored["guid"], stored["sensor"]) == ("home", GUID, 9)
    assert (stored["restore_on"], stored["restore_after"]) == (None, 300.0)
    assert Forwarded.from_json(stored) == active


@pytest.mark.parametrize("text", ["alarm", " Alarm\n", "ALARM"])
def test_event_names_in_any_case(text: str) -> None:
    assert parse_event(text) is EventType.ALARM


def test_unknown_event_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_event("fire")
    assert str(caught.value) == f"unknown event 'fire'; known: {', '.join(sorted(EventType))}"


PLACEHOLDERS = "action, event, guid, name, panel, sensor, sensor_type, source"


def said(rule: Rule, panels: set[str] | None = None) -> list[str]:
    """Return the faults of a rule, without what names it."""
    lines = faults([rule], panels)
    return [line.removeprefix(f"forward: rule 1 ({rule.event} to {rule.transmitter}): ") for line in lines]


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        (replace(RULE, restore_on=EventType.ALARM), "restore_on is the event that raises the alarm"),
        (replace(RULE, event=EventType.DOOR_CLOSED, sensor_type="gas"), "a gas sensor does not open or close"),
        (replace(RULE, event=EventType.RFID, sensor_type="gas"), "rfid does not come from a gas sensor"),
        (
            replace(RULE, event=EventType.PANEL_OFFLINE, sensor=1),
            "panel_offline is an event of the panel itself and has no sensor",
        ),
        (
            replace(RULE, event=EventType.PANEL_OFFLINE, sensor_type="gas"),
            "panel_offline is an event of the panel itself and has no sensor",
        ),
        (
            replace(RULE, event=EventType.PANEL_OFFLINE, restore_on=EventType.DOOR_CLOSED),
            "door_closed is an event of a sensor and cannot restore an event of the panel",
        ),
        (
            replace(RULE, section="{zone}"),
            f"unknown placeholder {{zone}}; known: {PLACEHOLDERS}",
        ),
    ],
)
def test_what_a_fault_says(rule: Rule, line: str) -> None:
    assert said(rule) == [line]


def test_an_unknown_sensor_type_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_sensor_type("zzz")
    assert str(caught.value) == f"unknown sensor type 'zzz'; known: {', '.join(sorted(SENSOR_TYPE_NAMES))}"


def test_sensor_types_in_any_case() -> None:
    assert [parse_sensor_type(text) for text in ("smoke", " Smoke", "type_16")] == ["smoke", "smoke", "type_16"]


def test_an_unknown_transmitter_is_named_with_the_one_that_was_meant() -> None:
    assert unknown_names(RULE, None, ["hme"]) == ["unknown transmitter 'home'; did you mean 'hme'?"]


def test_panels_of_rules() -> None:
    assert said(RULE, {GUID}) == said(replace(RULE, panel=GUID), {GUID}) == said(replace(RULE, panel=OTHER)) == []
    assert unknown_names(replace(RULE, panel=GUID), {GUID: ""}, ["home"]) == []
    assert unknown_names(replace(RULE, panel=OTHER), None, ["home"]) == []
    [line] = unknown_names(replace(RULE, panel=OTHER), {GUID: ""}, ["home"])
    assert line.startswith(f"unknown panel '{OTHER}'")
    meant = f"unknown panel 'house'; did you mean '{GUID}'?"
    assert unknown_names(replace(RULE, panel="house"), {GUID: "House", "X": ""}, ["home"]) == [meant]
    assert said(RULE, set()) == ["no panel is configured"]


@pytest.mark.parametrize(
    "rule",
    [
        replace(RULE, event=EventType.PANEL_OFFLINE, restore_on=EventType.PANEL_ONLINE),
        replace(RULE, event=EventType.DOOR_OPENED, restore_on=EventType.DOOR_CLOSED),
        replace(RULE, restore_on=timedelta(minutes=1)),
        replace(RULE, event=EventType.PANEL_OFFLINE, restore_on=timedelta(minutes=1)),
        replace(RULE, sensor_type="output"),
    ],
)
def test_rules_without_a_fault(rule: Rule) -> None:
    assert said(rule) == []


def test_a_rule_that_never_matches_names_the_one_before_it() -> None:
    other = replace(RULE, event=EventType.SOS)
    lines = faults([other, RULE, replace(RULE, sensor=1)], None)
    assert lines == ("forward: rule 3 (alarm to home): rule 2 before it already sends all of its events to home",)
