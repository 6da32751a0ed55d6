"""The announcer: what is declared, removed, and published again."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from support import virtual

from bridge.common.models import Alarm, Incoming, NamedAlarm
from bridge.homeassistant.announcer import Announcer
from bridge.homeassistant.devices import transmitter_device
from bridge.homeassistant.entity import Names, Payload
from bridge.mqtt.outgoing import Outgoing

NAMES = Names("homeassistant", "sosbridge", "1.2.3")
TOPIC = "homeassistant/device/sosbridge_transmitter_home/config"
BURGLARY = NamedAlarm("burglary", "Burglary", Alarm("BA"))


class Published(Outgoing):
    """Keeps what would be published."""

    def __init__(self) -> None:
        super().__init__(asyncio.Event())
        self.declared: dict[str, str] = {}
        self.published: list[tuple[str, str]] = []
        self.again: asyncio.Queue[str] = asyncio.Queue()

    def state(self, topic: str, payload: str) -> None:
        self.declared[topic] = payload

    def state_again(self, topic: str) -> None:
        self.again.put_nowait(topic)

    def publish(self, topic: str, payload: str, **_: object) -> None:
        self.published.append((topic, payload))


def with_alarm() -> Payload:
    return transmitter_device(NAMES, "home", {"burglary": BURGLARY}, None)


def without_alarm() -> Payload:
    return transmitter_device(NAMES, "home", {}, None)


async def announced(*, enabled: bool = True, alarm: bool = True) -> tuple[Announcer, Published]:
    outgoing = Published()
    announcer = Announcer(NAMES, outgoing, {}, enabled=enabled)
    announcer.announce_transmitter("home", {"burglary": BURGLARY} if alarm else {}, None)
    return announcer, outgoing


def test_a_device_is_declared() -> None:
    _, outgoing = asyncio.run(announced())
    assert json.loads(outgoing.declared[TOPIC]) == with_alarm()
    assert outgoing.published == []


def test_what_goes_while_we_run_is_removed_before_the_new_payload() -> None:
    async def run() -> list[tuple[str, str]]:
        announcer, outgoing = await announced()
        announcer.announce_transmitter("home", {}, None)
        return outgoing.published

    (marked_topic, marked), (topic, payload) = asyncio.run(run())
    assert marked_topic == topic == TOPIC
    assert json.loads(marked)["components"]["alarm_burglary"] == {"platform": "switch"}
    assert json.loads(payload) == without_alarm()


def test_what_went_while_we_were_away_is_removed_too() -> None:
    async def run() -> list[tuple[str, str]]:
        announcer, outgoing = await announced(alarm=False)
        announcer.learned({TOPIC: json.dumps(with_alarm()), "homeassistant/device/other/config": "x"})
        return outgoing.published

    published = asyncio.run(run())
    assert [json.loads(payload)["components"].get("alarm_burglary") for _, payload in published] == [
        {"platform": "switch"},
        None,
    ]


@pytest.mark.parametrize("held", ["", "x", "7", "[" * 100_000, '{"components": 7}', '{"components": {"a": 7}}'])
def test_what_others_left_there_is_overwritten_and_no_harm(held: str) -> None:
    announcer, outgoing = asyncio.run(announced())
    announcer.learned({TOPIC: held})
    assert json.loads(outgoing.declared[TOPIC]) == with_alarm()
    assert outgoing.published == []


def test_disabled_declares_nothing_and_all_of_ours_is_stale() -> None:
    announcer, outgoing = asyncio.run(announced(enabled=False))
    assert outgoing.declared == {}
    assert announcer.is_stale(TOPIC)
    assert not announcer.is_stale("homeassistant/device/zigbee2mqtt/config")


def test_a_birth_brings_the_devices_again() -> None:
    async def run() -> str:
        announcer, outgoing = await announced()
        status = Incoming("homeassistant/status", b"", retained=False, duplicate=False, mid=None, reply=None)
        assert announcer.route.filter == status.topic
        for payload in (b"offline", b"online"):
            await announcer.handle_status([replace(status, payload=payload)])
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(announcer.run())
            topic = await outgoing.again.get()
            running.cancel()
        return topic

    assert asyncio.run(run()) == TOPIC


@pytest.mark.parametrize(("devices", "seconds"), [(10, 2), (300, 60), (3000, 60), (20_000, 100)])
def test_a_birth_brings_thousands_of_devices_within_a_minute(devices: int, seconds: float) -> None:
    async def run() -> float:
        outgoing = Published()
        announcer = Announcer(NAMES, outgoing, {}, enabled=True)
        announcer._devices.update({f"topic {number}": {} for number in range(devices)})
        await announcer.handle_status([Incoming("x", b"online", retained=False, duplicate=False, mid=None, reply=None)])
        began, running = asyncio.get_running_loop().time(), asyncio.create_task(announcer.run())
        for _ in range(devices):
            await outgoing.again.get()
        took = asyncio.get_running_loop().time() - began
        running.cancel()
        return took

    assert virtual.run(run()) == pytest.approx(seconds, rel=0.11)
