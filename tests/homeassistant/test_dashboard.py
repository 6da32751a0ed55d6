"""The dashboard is made of entities that are announced, asks before it raises an alarm, and needs no editing."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from homeassistant.payloads import CONTROLLED, NAMES, PANEL, SNAPSHOTS, made_dashboard

from bridge.cli import call
from bridge.common.models import Alarm, NamedAlarm
from bridge.g90.state.model import Now, PanelState
from bridge.g90.state.storage import to_json
from bridge.homeassistant.dashboard import dashboard
from bridge.homeassistant.devices import transmitter_device
from bridge.homeassistant.entity import Payload
from bridge.homeassistant.panel import ControlOptions, panel_device
from bridge.store.outbox import Outbox
from bridge.store.sqlite.database import SqliteStore

Output = pytest.CaptureFixture[str]
ALARMS = {key: NamedAlarm(key, name, Alarm("BA")) for key, name in (("burglary", "Burglary"), ("fire", "Fire: cellar"))}
HOME = transmitter_device(NAMES, "home", ALARMS, "TST")
HOUSE = panel_device(NAMES, PANEL, CONTROLLED)
HOME_ID, HOUSE_ID = "sosbridge_transmitter_home", "sosbridge_panel_gb7f20c14d05a91"


def sections(*devices: Payload) -> list[list[dict[str, Any]]]:
    """Return the cards of each section of the dashboard."""
    (view,) = yaml.safe_load(dashboard(devices))["views"]
    return [section["cards"] for section in view["sections"]]


def named(value: Any) -> set[str]:  # noqa: ANN401 - whatever YAML holds
    """Return all entities in a part of the dashboard."""
    if isinstance(value, dict | list):
        return set().union(*(named(each) for each in (value.values() if isinstance(value, dict) else value)))
    return set(re.findall(r"[a-z_]+\.sosbridge\w+", str(value)))


def test_it_is_as_it_was_when_last_looked_at() -> None:
    """Where this is meant: python tests/homeassistant/payloads.py, then read the difference."""
    assert made_dashboard() == (SNAPSHOTS / "dashboard.yaml").read_text("utf-8")


def test_entities_exist() -> None:
    announced = {each["default_entity_id"] for device in (HOME, HOUSE) for each in device["components"].values()}
    shown = named(sections(HOME, HOUSE))
    assert shown <= announced
    assert len(shown) > 12


def test_a_panel_has_its_alarm_and_its_sensors() -> None:
    house, _, _ = sections(HOME, HOUSE)
    heading, alarm, *sensors = house
    assert heading["heading"] == "House"
    assert (alarm["type"], alarm["states"]) == ("alarm-panel", ["arm_home", "arm_away"])
    assert [(each["type"], each["entity"], each["name"]) for each in sensors] == [
        ("tile", f"binary_sensor.{HOUSE_ID}_sensor_1", "Front door"),
        ("tile", f"binary_sensor.{HOUSE_ID}_sensor_9", "Kitchen smoke"),
    ]


def test_a_panel_without_control_has_nothing_to_press() -> None:
    device = panel_device(NAMES, PanelState(guid="P"), ControlOptions(possible=False))
    (cards, _) = sections(device)
    assert cards == [
        {"type": "heading", "heading": "Panel P", "icon": "mdi:shield-home"},
        {"type": "tile", "entity": "alarm_control_panel.sosbridge_panel_p_alarm", "name": "Alarm"},
    ]


def test_what_raises_an_alarm_asks_first() -> None:
    _, cards, _ = sections(HOME, HOUSE)
    raising = {f"switch.{HOME_ID}_alarm_{key}" for key in ALARMS} | {f"button.{HOME_ID}_test"}
    pressed = [card for card in cards if card.get("entity") in raising]
    assert {card["entity"] for card in pressed} == raising
    for card in pressed:
        assert card["type"] in ("tile", "button")
        taps = [card["tap_action"]] + ([card["icon_tap_action"]] if card["type"] == "tile" else [])
        assert all("Continue?" in tap["confirmation"]["text"] for tap in taps)
    (heartbeat,) = (card for card in cards if card.get("entity") == f"button.{HOME_ID}_heartbeat")
    assert "confirmation" not in heartbeat["tap_action"]


def test_problems_are_listed_while_there_are_any() -> None:
    _, cards, _ = sections(HOME, HOUSE)
    (card,) = (card for card in cards if card["type"] == "markdown")
    problem = f"binary_sensor.{HOME_ID}_problem"
    assert card["visibility"] == [{"condition": "state", "entity": problem, "state": "on"}]
    assert f"state_attr('{problem}', 'problems')" in card["content"]
    assert card["content"].endswith("{{ each.text }}\n{% endfor %}")


def test_several_of_each_have_their_own_headings() -> None:
    other = transmitter_device(NAMES, "my-cottage", {}, None)
    found = sections(HOME, other, HOUSE, HOUSE)
    headings = [cards[0]["heading"] for cards in found]
    assert headings == ["House", "House", "Transmitter home", "Transmitter my-cottage", "History"]
    # Home Assistant replaces what an entity id cannot have.
    assert f"binary_sensor.{HOME_ID.replace('home', 'my_cottage')}_link" in named(found)


@pytest.mark.parametrize(
    "name",
    [
        "On",
        "no",
        "Yes",
        "off",
        "y",
        "N",
        "null",
        "true",
        "False",
        "Dörr: #2",
        "- x",
        "7",
        "1e3",
        "a: b",
        "En dörr",
        'a "b" {{ c }}',
        "~",
    ],
)
def test_names_stay_as_they_are(name: str) -> None:
    device = transmitter_device(NAMES, "home", {"x": NamedAlarm("x", name, Alarm("BA"))}, None)
    cards, _ = sections(device)
    assert [card["name"] for card in cards if card.get("entity") == f"switch.{HOME_ID}_alarm_x"] == [name]


# The command


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> Path:
    """The example configuration, with a store that does not exist yet."""
    assert call(["config", "example"]) == 0
    path = tmp_path / "sosbridge.toml"
    path.write_text(capsys.readouterr().out.replace("/data/", f"{tmp_path}/"), "utf-8")
    monkeypatch.setenv("SOSBRIDGE_CONFIG", str(path))
    return path


def test_the_dashboard_of_the_example(config: Path, capsys: Output) -> None:
    assert call(["homeassistant", "dashboard"]) == 0
    output = capsys.readouterr()
    assert {f"switch.{HOME_ID}_alarm_burglary", f"alarm_control_panel.{HOUSE_ID}_alarm"} <= named(
        yaml.safe_load(output.out)
    )
    assert output.err == "the sensors of House are not known yet; run this again once it has connected\n"
    assert not list(config.parent.glob("*.db*"))  # it creates no store


def test_the_sensors_of_a_panel_that_has_connected(config: Path, capsys: Output) -> None:
    async def store() -> None:
        async with await SqliteStore.open(config.parent / "sosbridge.db") as opened:
            content = {"state": to_json(PANEL, Now(0.0, datetime.now(UTC))), "forwarded": []}
            await Outbox(opened).keep_panel(PANEL.guid, content, {})

    asyncio.run(store())
    assert call(["homeassistant", "dashboard"]) == 0
    output = capsys.readouterr()
    assert f"binary_sensor.{HOUSE_ID}_sensor_9" in named(yaml.safe_load(output.out))
    assert output.err == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [("[homeassistant]\nenabled = false\n", "homeassistant.enabled is false"), ("[mqtt]\n", "nothing to show")],
)
def test_without_entities_there_is_no_dashboard(config: Path, capsys: Output, text: str, words: str) -> None:
    config.write_text(text)
    assert call(["homeassistant", "dashboard"]) == 2
    assert words in capsys.readouterr().err
