"""What a panel's reports did not say is read: gaps, restarts, slow and lost answers, the wrong panel, no cloud."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from support.harness import live
from support.house import DOOR, GUID, OTHER, SMOKE, House, living
from support.recorder import WAIT_S

from bridge.g90.simulator import SimulatedSensor
from bridge.g90.wire.commands import SET_STATUS
from bridge.g90.wire.constants import ArmCode, NoticeKind, Source
from bridge.g90.wire.events import Notice

STATE_WITHIN_S, ALARM_WITHIN_S = 15.0, 20.0
RAISED = ("AL", "FA", "9", "Kitchen smoke")
RESTORED = ("RE", "FA", "9", "Kitchen smoke")


@live
@pytest.mark.parametrize("clock", [0, -86400, 86400 * 400])
async def test_p1_an_alarm_and_an_arming_in_a_gap_are_found(site: House, clock: float) -> None:
    local = site.controlled(control="off")
    site.g90["panels"][0]["host"] = f"127.0.0.1:{local[1]}"
    await site.start()
    panel = site.simulated(local=local)
    panel.clock = clock
    await site.enter(panel)
    await panel.arm(ArmCode.ARMED_AWAY)
    await site.state("armed_away")
    mark = site.mqtt.mark
    panel.cut()
    await panel.arm(ArmCode.DISARMED)
    await panel.arm(ArmCode.ARMED_HOME)
    await panel.alarm(SMOKE)
    await asyncio.sleep(1)
    rejoined = time.monotonic()
    panel.rejoin()
    await site.state("triggered")
    assert time.monotonic() - rejoined < STATE_WITHIN_S
    assert await site.arrived(1) == [RAISED]
    assert time.monotonic() - rejoined < ALARM_WITHIN_S
    found = await site.told("alarm", after=mark)
    assert (found["missed"], found["forwarded"], found["sensor_type"]) == (True, ["home"], "smoke")
    await panel.arm(ArmCode.DISARMED)
    assert await site.arrived(2) == [RAISED, RESTORED]
    await site.state("disarmed")


@live
async def test_p1_an_alarm_that_was_over_is_found_with_its_restore(site: House) -> None:
    local = site.controlled()
    await site.start()
    panel = await site.panel(local=local)
    panel.cut()
    await panel.alarm(SMOKE)
    await panel.arm(ArmCode.DISARMED)
    panel.rejoin()
    assert await site.arrived(2) == [RAISED, RESTORED]
    await site.state("disarmed")
    # An older one is no alarm any more.
    site.g90["missed_max_age"] = 0
    await site.restart()
    panel.cut()
    await panel.alarm(SMOKE)
    await panel.arm(ArmCode.DISARMED)
    mark = site.mqtt.mark
    panel.rejoin()
    found = await site.told("alarm", after=mark)
    assert (found["missed"], found["forwarded"]) == (True, [])
    await site.bridge.logs("is too old to forward")
    assert len(site.alarms) == 2


@live
async def test_p2_an_alarm_while_the_bridge_is_away_is_forwarded(site: House) -> None:
    local = site.controlled()
    await site.start()
    panel = await site.panel(local=local)
    site.bridge.kill()
    panel.cut()
    await panel.alarm(SMOKE)
    panel.rejoin()
    await site.resumed()
    await site.state("triggered")
    assert await site.arrived(1) == [RAISED]


@live
async def test_p3_a_panic_that_the_status_does_not_show_is_not_restored(site: House) -> None:
    local = site.controlled()
    site.settings["forward"] = [{"event": "sos", "transmitter": "home", "event_code": "PA", "restore_on": "disarmed"}]
    await site.start()
    panel = await site.panel(local=local)
    await panel.sos()
    await site.state("triggered")
    await site.arrived(1)
    await site.back()
    panel.asked.clear()
    await panel.report(Notice(kind=NoticeKind.SENSOR_CHANGE, sensor=DOOR, name="Front door", value=2))
    async with asyncio.timeout(WAIT_S):
        while {100, 200} - set(panel.asked):  # noqa: ASYNC110 - a panel has no event
            await asyncio.sleep(0.05)
    assert [each[:2] for each in await site.arrived(1)] == [("AL", "PA")]
    await site.state("triggered")


@live
async def test_p4_p5_an_alarm_without_a_reason_is_one_and_what_explains_it_finds_its_rule(site: House) -> None:
    await site.start()
    panel = await site.panel()
    mark = site.mqtt.mark
    await panel.alarmed()
    found = await site.told("alarm", after=mark)
    assert (found["source"], found["forwarded"], "sensor" in found) == ("panel", [], False)
    unmatched = (await site.event("alarm_unmatched", mark)).value
    assert (unmatched["guid"], unmatched["event"]) == (GUID, "alarm")
    await site.mqtt.wait(f"panel/{GUID}/info", lambda info: info.get("problems"), after=mark)
    await site.back()
    assert json.loads((await site.retained())[f"panel/{GUID}/info"])["problems"] == [
        "panel House: no rule forwards alarm"
    ]
    await panel.half_an_alarm(SMOKE, as_json=True)
    await asyncio.sleep(3)
    await panel.half_an_alarm(SMOKE, as_json=False)
    assert await site.arrived(1) == [RAISED]
    mark = site.mqtt.mark
    await panel.arm(ArmCode.DISARMED)
    await site.mqtt.wait(f"panel/{GUID}/info", lambda info: "problems" not in info, after=mark)


@live
async def test_p6_a_panel_that_boots_cuts_pages_off_and_has_few_sensors_is_read(site: House) -> None:
    local, second = site.controlled(), site.controlled(OTHER)
    await site.start()
    many = [SimulatedSensor(index, f"Door {index}") for index in range(23)]
    panel = site.simulated(local=local, sensors=many)
    panel.lose, panel.truncate = 2, 2
    await site.enter(panel)
    await site.state("disarmed")
    await site.panel(OTHER, local=second, sensors=())
    await site.state("disarmed", OTHER)


@live
async def test_p7_a_slow_panel_is_commanded(site: House) -> None:
    local = site.controlled()
    await site.start()
    panel = await site.panel(local=local)
    panel.delay = 5
    assert await site.outcome("ARM_AWAY") == "done"
    await site.state("armed_away")


@live
async def test_p8_a_notice_opens_a_door_that_goes_off_after_the_time_of_its_panel(site: House) -> None:
    local = site.controlled(door_off_after="1s")
    site.g90["door_off_after"] = "1h"
    await site.start()
    panel = await site.panel(local=local)
    await panel.report(Notice(kind=NoticeKind.SENSOR_ACTIVITY, sensor=DOOR, name="Front door"))
    await site.mqtt.holds(f"panel/{GUID}/sensor/{DOOR}/state", "ON")
    await site.mqtt.holds(f"panel/{GUID}/sensor/{DOOR}/state", "OFF")


@live
async def test_p12_another_panel_at_the_address_is_neither_read_nor_commanded(site: House) -> None:
    local = site.controlled()
    await site.start()
    stranger = site.simulated("GBSTRANGER00001", local=local, cloud=None)
    stranger.arm_state = ArmCode.ARMED_AWAY
    await site.stack.enter_async_context(living(stranger))
    await stranger.listening.wait()
    await site.stack.enter_async_context(living(site.simulated()))
    response = await site.command("DISARM", within=2 * WAIT_S)
    assert (response["outcome"], "is GBSTRANGER00001" in response["error"]) == ("failed", True)
    assert SET_STATUS not in stranger.asked
    assert f"panel/{GUID}/state" not in await site.retained()


@live
async def test_a_panel_that_does_not_dial_us_works_by_reading_alone(site: House) -> None:
    local = site.controlled()
    await site.start()
    panel = site.simulated(local=local, cloud=None, relays=[SimulatedSensor(12, "Lamp")])
    panel.cut()  # what it reports is in its history alone
    await site.enter(panel)
    await site.state("disarmed")
    await panel.activity(DOOR)
    await panel.alarm(SMOKE)
    assert await site.arrived(1) == [RAISED]
    assert await site.outcome("DISARM") == "done"
    assert await site.arrived(2) == [RAISED, RESTORED]
    await site.mqtt.publish(f"panel/{GUID}/relay/12/set", "ON")
    await site.mqtt.holds(f"panel/{GUID}/relay/12/state", "ON")
    assert panel.switched_on == {(12, 1)}


@live
async def test_a_button_says_who_armed(site: House) -> None:
    await site.start()
    panel = await site.panel()
    await panel.activity(3, 0, Source.REMOTE)
    await panel.arm(ArmCode.ARMED_AWAY)
    await site.mqtt.wait(f"panel/{GUID}/info", lambda info: info.get("changed_by") == "Sensor 3")
