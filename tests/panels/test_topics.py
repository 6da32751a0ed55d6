"""The contract's Panel part: names, payloads, commands as users write them, and what is said of bad ones."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest
from support.panels import GUID

from bridge.common.models import Secret
from bridge.common.payloads import CommandError
from bridge.g90.state.model import Hardware, Link, PanelState, Partition, Sensor
from bridge.g90.wire.events import EventType
from bridge.panels.topics import Action, PanelCommand, PanelTopics, state_payloads

TOPICS = PanelTopics("house/alarm")
SET = f"house/alarm/panel/{GUID}/set"
MOMENT = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=1)))
CODE = "735194608"


def test_a_panel_that_nothing_is_known_of_has_an_info_only() -> None:
    assert state_payloads(PanelState(guid=GUID)) == {"info": json.dumps({"guid": GUID})}


def test_payloads_are_those_of_the_contract() -> None:
    sensor = Sensor(index=9, name="Kitchen smoke", type=4, on=True, battery_low=True, last_activity=MOMENT)
    state = PanelState(
        guid=GUID,
        name="House",
        link=Link(firmware="206", address="192.0.2.7", connected_since=MOMENT, last_seen=MOMENT, online=True),
        hardware=Hardware(product="G90", ac_power=False, battery_low=True, wifi=True),
        partition=Partition(arm=EventType.ARMED_HOME),
        sensors={9: sensor, 3: Sensor(index=3)},
    )
    payloads = state_payloads(state)
    assert {leaf: payloads[leaf] for leaf in payloads if not leaf.endswith("info")} == {
        "availability": "online",
        "state": "armed_home",
        "sensor/9/state": "ON",
        "sensor/3/state": "OFF",
    }
    info = json.loads(payloads["info"])
    times = {name: datetime.fromisoformat(info.pop(name)) for name in ("connected_since", "last_seen")}
    assert set(times.values()) == {MOMENT}
    assert info == {
        "guid": GUID,
        "name": "House",
        "firmware": "206",
        "product": "G90",
        "address": "192.0.2.7",
        "ac_power": False,
        "battery_low": True,
        "wifi": True,
    }
    told = json.loads(payloads["sensor/9/info"])
    assert datetime.fromisoformat(told.pop("last_activity")) == MOMENT
    flags = {"enabled": True, "tamper": False, "battery_low": True, "open_while_arming": False}
    assert told == {"index": 9, "name": "Kitchen smoke", "type": "smoke", **flags}
    assert json.loads(payloads["sensor/3/info"])["type"] is None


@pytest.mark.parametrize("arm", [EventType.DISARMED, EventType.ARMED_AWAY, EventType.ARMED_HOME])
def test_triggered_goes_before_what_it_is_armed_as(arm: EventType) -> None:
    assert state_payloads(PanelState(guid=GUID, partition=Partition(arm=arm)))["state"] == arm.value
    assert state_payloads(PanelState(guid=GUID, partition=Partition(arm=arm, triggered=True)))["state"] == "triggered"
    assert state_payloads(PanelState(guid=GUID, link=Link(online=False)))["availability"] == "offline"


@pytest.mark.parametrize(
    ("payload", "action", "code"),
    [
        ("ARM_AWAY", Action.ARM_AWAY, None),
        (" ARM_HOME\n", Action.ARM_HOME, None),
        ('{"action": "DISARM"}', Action.DISARM, None),
        ('{"action": "DISARM", "code": "0042"}', Action.DISARM, Secret("0042")),
        ('{"action": "DISARM", "code": 1234}', Action.DISARM, Secret("1234")),
        ('{"action": "DISARM", "code": null}', Action.DISARM, None),
    ],
)
def test_a_command_is_a_word_or_an_object(payload: str, action: Action, code: Secret | None) -> None:
    assert TOPICS.parse(SET, payload.encode()) == PanelCommand(GUID, action, code)


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ("", "not an action; use one of: ARM_AWAY, ARM_HOME, DISARM"),
        ("disarm", "not an action"),
        (f'{{"action": "DISARM", "code": "{CODE}", "code": "1"}}', "duplicate field in the JSON object"),
        (CODE, "not an action"),
        (f"DISARM {CODE}", "not an action"),
        (f'{{"action": "DISARM:{CODE}"}}', "not an action"),
        (f'{{"action": "DISARM", "code": "{CODE}"', "invalid JSON"),
        (f'{{"action": "DISARM", "code": ["{CODE}"]}}', "code: must be a text"),
        ('{"action": "DISARM", "code": true}', "code: must be a text"),
        (f'{{"action": "DISARM", "pin": "{CODE}"}}', "pin: unknown field"),
        (f'{{"code": "{CODE}"}}', "action: is required"),
        (f'{{"action": {CODE}}}', "action: is required"),
        ("{" * 2000, "invalid JSON"),
        (b"\xff\xfe" + CODE.encode(), "not UTF-8"),
        (f'["DISARM", "{CODE}"]', "not an action"),
    ],
)
def test_a_bad_command_is_told_in_words_that_hold_no_code(payload: str | bytes, says: str) -> None:
    with pytest.raises(CommandError, match=says) as caught:
        TOPICS.parse(SET, payload.encode() if isinstance(payload, str) else payload)
    assert CODE not in str(caught.value)


def test_a_command_shows_no_code() -> None:
    assert CODE not in repr(TOPICS.parse(SET, f'{{"action": "DISARM", "code": "{CODE}"}}'.encode()))


def test_topics_tell_their_panel_and_only_panels_topics_do() -> None:
    assert TOPICS.guid(SET) == GUID
    assert TOPICS.guid("house/alarm/transmitter/home/ping") is None
    assert TOPICS.guid("house/alarm/panel") is None
    assert TOPICS.of(GUID, "set") == SET
    assert not set(TOPICS.commands) & set(TOPICS.states)
