"""Restarts, lost connections and strangers: what is known stays known, nothing is said twice, nobody harms a panel."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from support.g90 import Client
from support.harness import live
from support.house import DOOR, GUID, MOTION, OTHER, SMOKE, House

from bridge.g90.wire.commands import SET_STATUS
from bridge.g90.wire.constants import AlertType, ArmCode, Source, StateCode
from bridge.g90.wire.events import Alert, Form
from bridge.g90.wire.messages import Hello, build_hello, build_report

STRANGER = "GBSTRANGER00001"


@asynccontextmanager
async def dialled_from(host: str, port: int) -> AsyncIterator[Client]:
    """Somebody at another address of this machine."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(host, 0))
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


def alarm(guid: str | None) -> bytes:
    alert = Alert(form=Form.ALERT, type=AlertType.ALARM, event=SMOKE, source=1, state=254, name="x", guid=guid, time=9)
    return build_report(alert, as_json=True)


@live
async def test_state_and_sensors_are_back_after_a_restart_and_nothing_is_said_again(site: House) -> None:
    local = site.controlled()
    await site.start()
    panel = await site.panel(local=local)
    await panel.arm(ArmCode.ARMED_HOME)
    await panel.activity(DOOR)
    await panel.panel_state(StateCode.AC_POWER_LOST)
    await site.told("ac_power_lost")
    await site.state("armed_home")
    held = await site.retained()
    for stop in (False, True):
        mark = site.mqtt.mark
        if stop:
            assert await site.bridge.stop() == 0
            await site.resumed()
        else:
            await site.back()
        await panel.panel_state(StateCode.AC_POWER_RESTORED if stop else StateCode.BATTERY_LOW)
        last = "ac_power_restored" if stop else "panel_battery_low"
        await site.told(last, after=mark)
        assert site.events(after=mark) == [last]
        # Only what differs is published: since when it is connected, and what it told.
        assert {seen.topic for seen in site.of_panels(mark)} == {f"panel/{GUID}/info", f"panel/{GUID}/event"}
        again = await site.retained()
        kept = {t: text for t, text in held.items() if t.startswith("panel/") and t != f"panel/{GUID}/info"}
        assert {topic: again[topic] for topic in kept} == kept
    assert kept[f"panel/{GUID}/sensor/7/state"] == "ON"
    assert SET_STATUS not in panel.asked
    info = json.loads((await site.retained())["bridge/info"])
    assert info["panels"] == [GUID]


@live
async def test_what_happened_while_the_bridge_was_away_is_read_when_it_is_back(site: House) -> None:
    local = site.controlled()
    await site.start()
    panel = await site.panel(local=local)
    await panel.alarm(SMOKE)
    await site.state("triggered")
    await site.arrived(1)
    site.bridge.kill()
    panel.cut()
    await panel.arm(ArmCode.DISARMED)
    panel.rejoin()
    mark = site.mqtt.mark
    await site.resumed()
    await site.state("disarmed")
    await site.told("disarmed", after=mark)
    assert [each[:2] for each in await site.arrived(2)] == [("AL", "FA"), ("RE", "FA")]


@live
async def test_a_broker_that_was_away_gets_only_what_changed(site: House) -> None:
    proxy = await site.behind_proxy()
    await site.start()
    panel = await site.panel()
    await panel.arm(ArmCode.ARMED_AWAY)
    await site.told("armed_away")
    await site.state("armed_away")
    await site.mqtt.holds(f"panel/{GUID}/info", lambda info: info.get("changed_by"))  # the last of it
    for changed in (False, True):
        mark = site.mqtt.mark
        await proxy.cut()
        await site.mqtt.wait("bridge/state", lambda value: value == "offline", after=mark)
        if changed:
            await panel.arm(ArmCode.DISARMED)
            await site.bridge.logs("panel House: disarmed")
        await proxy.open()
        await site.mqtt.wait("bridge/state", lambda value: value == "online", after=mark)
        if changed:
            await site.state("disarmed")
            await site.told("disarmed", after=mark)
        assert site.events(after=mark) == (["disarmed"] if changed else [])
        assert {seen.topic for seen in site.of_panels(mark)} <= {f"panel/{GUID}/state", f"panel/{GUID}/event"}
        assert bool(site.of_panels(mark)) is changed


@live
async def test_strangers_and_garbage_change_nothing_and_are_told_once(site: House) -> None:
    await site.start()
    panel = await site.panel()
    await panel.arm(ArmCode.ARMED_AWAY)
    await site.state("armed_away")
    await site.told("armed_away")
    mark = site.mqtt.mark
    noise = random.Random(90)
    for _ in range(2):
        async with dialled_from("127.0.0.9", site.port) as stranger:
            await stranger.send(build_hello(Hello(STRANGER, "206")) + alarm(STRANGER) + alarm(None), 5)
            await stranger.send(build_hello(Hello(STRANGER, "206")))
            await stranger.receive(42)
        async with dialled_from("127.0.0.8", site.port) as garbage:
            await garbage.send(b"GET / HTTP/1.1\r\n\r\n" + noise.randbytes(3000))
            await garbage.closed()
        async with dialled_from("127.0.0.7", site.port):
            pass
    seen = await site.event("unknown_panel", mark)
    assert (seen.value["guid"], seen.value["address"]) == (STRANGER, "127.0.0.9")
    # The panel is there as before, and whatever came before its next event would have been seen by now.
    await panel.activity(DOOR)
    await site.told("door_opened", after=mark)
    await site.mqtt.publish("panel/nobody/set", "x")
    await site.event("command_rejected", mark)
    kinds = [each.value["type"] for each in site.mqtt.of("bridge/event", mark)]
    assert kinds == ["unknown_panel", "command_rejected"]
    assert {each.topic.split("/")[1] for each in site.of_panels(mark)} == {GUID}
    assert site.events(after=mark) == ["door_opened"]
    assert site.alarms == []
    await panel.sos()
    await site.state("triggered")


@live
async def test_a_panels_guid_from_a_wrong_network_is_refused(site: House) -> None:
    site.g90["panels"] = [{"guid": GUID, "address": "127.0.0.5/32"}, {"guid": OTHER}]
    await site.start()
    other = await site.panel(OTHER)
    async with dialled_from("127.0.0.6", site.port) as liar:
        await liar.send(alarm(GUID) + build_hello(Hello(GUID, "206")))
        assert await liar.closed() == b""
    seen = await site.event("wrong_address")
    assert (seen.value["guid"], seen.value["address"]) == (GUID, "127.0.0.6")
    assert not site.events()
    async with dialled_from("127.0.0.5", site.port) as panel:
        await panel.send(build_hello(Hello(GUID, "206")))
        await site.mqtt.holds(f"panel/{GUID}/availability", "online")
    await other.activity(MOTION, 0, Source.INFRARED)
    await site.told("sensor_activity", OTHER)
    assert site.alarms == []


@live
async def test_unknown_panels_are_taken_where_the_setting_says_so_and_are_not_commanded(site: House) -> None:
    site.g90.update(panels=[], unknown_panels="accept")
    await site.start()
    await site.panel()
    panel = await site.panel(OTHER)
    await panel.alarm(SMOKE)
    await site.state("triggered", OTHER)
    assert await site.arrived(1) == [("AL", "FA", "9", "Kitchen smoke")]
    response = await site.command("ARM_AWAY", OTHER)
    assert (response["outcome"], panel.arm_state) == ("failed", ArmCode.ALARMED)
    await site.back(OTHER)
    assert json.loads((await site.retained())["bridge/info"])["panels"] == [GUID, OTHER]
    # What is asked for no more is cleared from the broker.
    site.g90["unknown_panels"] = "ignore"
    site.settings["forward"] = []
    await site.restart()
    assert not [topic for topic in await site.retained() if topic.startswith("panel/")]


@live
async def test_motion_goes_off_by_itself(site: House) -> None:
    site.g90["motion_off_after"] = "0.5s"
    await site.start()
    panel = await site.panel()
    await panel.activity(MOTION, 0, Source.INFRARED)
    states = await site.mqtt.wait_all(f"panel/{GUID}/sensor/{MOTION}/state", 2)
    assert [seen.value for seen in states] == ["ON", "OFF"]
