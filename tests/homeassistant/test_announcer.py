"""The announcer over a door that records: what is declared, removed, and told again."""

from __future__ import annotations

import asyncio
import json

import pytest

from bridge.common.models import Alarm, NamedAlarm
from bridge.homeassistant.announcer import Announcer
from bridge.homeassistant.devices import transmitter_device
from bridge.homeassistant.entity import Names, Payload
from bridge.mqtt.client import Broker
from bridge.mqtt.session import Door, Handler, Interface

NAMES = Names("homeassistant", "sosbridge", "1.2.3")
TOPIC = "homeassistant/device/sosbridge_transmitter_home/config"
BURGLARY = NamedAlarm("burglary", "Burglary", Alarm("BA"))


class RecordingDoor(Door):
    """Keeps what would be published."""

    def __init__(self) -> None:
        interface = Interface("sosbridge/bridge/state", (), (), lambda _: True, lambda _: False)
        super().__init__(Broker("localhost"), interface, Handler())
        self.states: dict[str, str] = {}
        self.published: list[tuple[str, str]] = []
        self.again: asyncio.Queue[str] = asyncio.Queue()

    def state(self, topic: str, payload: str) -> None:
        self.states[topic] = payload

    def state_again(self, topic: str) -> None:
        self.again.put_nowait(topic)

    def publish(self, topic: str, payload: str, **_: object) -> None:
        self.published.append((topic, payload))


def with_alarm() -> Payload:
    return transmitter_device(NAMES, "home", {"burglary": BURGLARY}, None)


def without_alarm() -> Payload:
    return transmitter_device(NAMES, "home", {}, None)


async def announced(*, enabled: bool = True) -> tuple[Announcer, RecordingDoor]:
    door = RecordingDoor()
    announcer = Announcer(NAMES, door, enabled=enabled)
    announcer.announce("sosbridge_transmitter_home", with_alarm())
    return announcer, door


def test_a_device_is_declared() -> None:
    _, door = asyncio.run(announced())
    assert json.loads(door.states[TOPIC]) == with_alarm()
    assert door.published == []


def test_what_goes_while_we_run_is_removed_before_the_new_payload() -> None:
    async def run() -> list[tuple[str, str]]:
        announcer, door = await announced()
        announcer.announce("sosbridge_transmitter_home", without_alarm())
        return door.published

    (marked_topic, marked), (topic, payload) = asyncio.run(run())
    assert marked_topic == topic == TOPIC
    assert json.loads(marked)["components"]["alarm_burglary"] == {"platform": "switch"}
    assert json.loads(payload) == without_alarm()


def test_what_went_while_we_were_away_is_removed_too() -> None:
    async def run() -> list[tuple[str, str]]:
        door = RecordingDoor()
        announcer = Announcer(NAMES, door, enabled=True)
        announcer.announce("sosbridge_transmitter_home", without_alarm())
        announcer.learned({TOPIC: json.dumps(with_alarm()), "homeassistant/device/other/config": "x"})
        return door.published

    published = asyncio.run(run())
    assert [json.loads(payload)["components"].get("alarm_burglary") for _, payload in published] == [
        {"platform": "switch"},
        None,
    ]


@pytest.mark.parametrize("held", ["", "x", "7", "[" * 100_000, '{"components": 7}', '{"components": {"a": 7}}'])
def test_what_others_left_there_is_overwritten_and_no_harm(held: str) -> None:
    announcer, door = asyncio.run(announced())
    announcer.learned({TOPIC: held})
    assert json.loads(door.states[TOPIC]) == with_alarm()
    assert door.published == []


def test_disabled_declares_nothing_and_all_of_ours_is_stale() -> None:
    announcer, door = asyncio.run(announced(enabled=False))
    assert door.states == {}
    assert announcer.is_stale(TOPIC)
    assert not announcer.is_stale("homeassistant/device/zigbee2mqtt/config")


def test_a_birth_brings_the_devices_again() -> None:
    async def run() -> str:
        announcer, door = await announced()
        announcer.born()
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(announcer.run())
            topic = await door.again.get()
            running.cancel()
        return topic

    assert asyncio.run(run()) == TOPIC
