"""TOPICS.md names what the code publishes and subscribes, and nothing else."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from docs.test_readme import EVENTS, PANELS, TOPICS

from bridge.common.models import Alarm, Outcome, Result
from bridge.common.problems import Kind
from bridge.g90.wire.constants import SENSOR_TYPE_NAMES
from bridge.g90.wire.events import EventType
from bridge.homeassistant.devices import _ALARM_RESULTS, _BRIDGE_EVENTS
from bridge.panels.topics import Action, SetOutcome
from bridge.transmitters.reachability import REACH_EVENTS

TEXT = Path(__file__).parents[2].joinpath("bridge/TOPICS.md").read_text("utf-8")
FILTERS = (*TOPICS.commands, *TOPICS.states, *PANELS.commands, *PANELS.states, *EVENTS)


def section(heading: str) -> str:
    """Return what stands below a heading, up to the next one."""
    return re.split(r"^#+ .*$", TEXT.split(f" {heading}\n", 1)[1], flags=re.MULTILINE)[0]


def first_cells(text: str) -> set[str]:
    """Return what the first column of the tables in `text` has between backticks, their heads left out."""
    rows = re.sub(r"^.*\n\|---.*$", "", text, flags=re.MULTILINE)
    cells = re.findall(r"^\| (`[^|]*`) \|", rows, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def topics() -> list[str]:
    return sorted(set(re.findall(r"^\| `(sosbridge/[A-Za-z/]+)`", TEXT, re.MULTILINE)))


@pytest.mark.parametrize("topic", topics())
def test_topics_exist(topic: str) -> None:
    assert any(paho.topic_matches_sub(pattern, topic) for pattern in FILTERS)


@pytest.mark.parametrize("pattern", FILTERS)
def test_every_topic_has_a_row(pattern: str) -> None:
    assert any(paho.topic_matches_sub(pattern, topic) for topic in topics())


def test_bridge_events() -> None:
    assert first_cells(section("1.3 Bridge events")) == set(_BRIDGE_EVENTS)


def test_problems() -> None:
    found = section("1.4 Problems")
    assert first_cells(found) == set(Kind) - {Kind.BROKER_DOWN}
    assert f"`{Kind.BROKER_DOWN}`" in found


def test_alarm_fields() -> None:
    assert first_cells(section("2.2 Alarm payload")) == {field.name for field in fields(Alarm)}


def test_transmitter_events() -> None:
    (line,) = re.findall(r"^Types of `event`: (.*)$", section("2.4 Transmitter events"), re.MULTILINE)
    assert set(re.findall(r"`([^`]+)`", line)) == {*_ALARM_RESULTS, *REACH_EVENTS}


def test_results() -> None:
    names = {field.name for field in fields(Result)} | set(map(str, Outcome))
    assert first_cells(section("2.5 Results")) == names


def test_actions_and_outcomes_of_panels() -> None:
    assert all(f"`{action}`" in section("3.1 Panel commands") for action in Action)
    named = first_cells(section("3.2 Panel states"))
    assert {name for name in named if not name.startswith("sosbridge/")} == set(map(str, SetOutcome))


def test_sensor_types() -> None:
    assert first_cells(section("3.4 Sensor info").partition("| `type` | number |")[2]) | {"output"} == SENSOR_TYPE_NAMES


def test_panel_events() -> None:
    types = section("3.5 Panel events").partition("| `type` | event |")[2]
    assert first_cells(types) == set(map(str, EventType))
