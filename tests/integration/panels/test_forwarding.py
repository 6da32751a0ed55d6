"""From a sensor to the operator: one physical event is one alarm, restored once, whatever is killed between."""

from __future__ import annotations

from typing import Any

from support.harness import live
from support.house import DOOR, GUID, OTHER, SMOKE, UPSTAIRS, House

from bridge.g90.wire.constants import ArmCode, StateCode

RAISED = ("AL", "FA", "9", "Kitchen smoke")
RESTORED = ("RE", "FA", "9", "Kitchen smoke")


@live
async def test_a_smoke_alarm_told_twice_is_one_alarm_restored_once_at_disarm(site: House) -> None:
    await site.start()
    panel = await site.panel()
    await panel.arm(ArmCode.ARMED_AWAY)
    await site.state("armed_away")
    await panel.alarm(SMOKE)
    await site.state("triggered")
    await site.arrived(1)
    await site.mqtt.holds("transmitter/home/alarm/active", lambda active: len(active) == 1)
    await panel.arm(ArmCode.DISARMED)
    await site.state("disarmed")
    assert await site.arrived(2) == [RAISED, RESTORED]
    await site.mqtt.holds("transmitter/home/alarm/active", [])
    await site.told("disarmed")
    assert site.events() == ["panel_online", "armed_away", "alarm", "disarmed"]
    # Were a second alarm or restore on its way, the next one would come behind it.
    await panel.alarm(UPSTAIRS)
    assert await site.arrived(3) == [RAISED, RESTORED, ("AL", "FA", "10", "Upstairs smoke")]
    alarm = await site.told("alarm")
    assert (alarm["sensor"], alarm["name"], alarm["sensor_type"]) == (9, "Kitchen smoke", "smoke")
    await site.mqtt.holds(f"panel/{GUID}/sensor/10/state", "ON")
    await site.mqtt.holds(f"panel/{GUID}/sensor/9/state", "OFF")


@live
async def test_killed_between_the_two_forms_of_an_alarm(site: House) -> None:
    await site.start()
    panel = await site.panel()
    await panel.half_an_alarm(SMOKE, as_json=True)
    await site.state("triggered")
    await site.back()
    await panel.half_an_alarm(SMOKE, as_json=False)
    await site.arrived(1)
    await site.back()
    await panel.arm(ArmCode.DISARMED)
    await site.arrived(2)
    await site.state("disarmed")
    await site.back()
    await panel.arm(ArmCode.ARMED_AWAY)
    await site.state("armed_away")
    await panel.alarm(SMOKE)
    assert await site.arrived(3) == [RAISED, RESTORED, RAISED]


@live
async def test_an_alarm_that_was_held_for_its_type_is_told_after_a_kill(site: House) -> None:
    """The second form never comes: who knows no sensor's type takes the alarm all the same."""
    site.settings["forward"] = [{"event": "alarm", "transmitter": "home", "event_code": "BA"}]
    await site.start()
    panel = await site.panel()
    await panel.half_an_alarm(SMOKE, as_json=True)
    await site.state("triggered")
    site.bridge.kill()
    await site.start()
    assert await site.arrived(1) == [("AL", "BA", "9", "Kitchen smoke")]


@live
async def test_the_receivers_are_away_and_the_bridge_is_killed(site: House) -> None:
    await site.start()
    panel = await site.panel()
    await site.primary.stop()
    await site.secondary.stop()
    await panel.alarm(SMOKE)
    await site.told("alarm")
    await panel.arm(ArmCode.DISARMED)
    await site.told("disarmed")
    await site.mqtt.holds("transmitter/home/outbox", lambda outbox: outbox["pending"] == 2)
    site.bridge.kill()
    await site.primary.start()
    await site.start()
    assert await site.arrived(2) == [RAISED, RESTORED]


@live
async def test_an_alarm_of_a_transmitter_that_is_configured_no_more(site: House) -> None:
    office = {**site.transmitter("office", "IK00002"), "authentication": "secondpassword5"}
    site.accounts.accept_unknown = True
    site.settings["transmitters"].append(office)
    site.settings["forward"].append({**site.settings["forward"][0], "transmitter": "office"})
    await site.start()
    panel = await site.panel()
    await panel.alarm(SMOKE)
    await site.arrived(2)
    del site.settings["transmitters"][1], site.settings["forward"][1]
    await site.back()
    await panel.arm(ArmCode.DISARMED)
    await site.state("disarmed")
    assert (await site.arrived(3))[2] == RESTORED


@live
async def test_rules_by_panel_name_and_time_to_two_transmitters(site: House) -> None:
    site.accounts.accept_unknown = True
    site.passwords.add("secondpassword5")
    office = {**site.transmitter("office", "IK00002"), "authentication": "secondpassword5"}
    site.settings["transmitters"].append(office)
    site.g90["panels"].append({"guid": OTHER, "name": "Office"})
    door: dict[str, Any] = {"event": "door_opened", "sensor": "front*", "panel": OTHER, "event_code": "BA"}
    site.settings["forward"] = [
        {**door, "transmitter": "home", "restore_on": "1s", "restore_event_code": "BR"},
        {
            **door,
            "transmitter": "office",
            "section": "2",
            "section_text": "{panel}",
            "detector_text": "{name} ({sensor})",
        },
        {"event": "ac_power_lost", "transmitter": "home", "event_code": "AT", "restore_on": "ac_power_restored"},
    ]
    await site.start()
    house, other = await site.panel(), await site.panel(OTHER)
    await house.activity(DOOR)
    await site.told("door_opened")
    await other.activity(DOOR)
    await site.arrived(3)
    await house.panel_state(StateCode.AC_POWER_LOST)
    await site.arrived(4)
    await house.panel_state(StateCode.AC_POWER_RESTORED)
    await site.arrived(5)
    found = {(each.transmitter_code, each.alarm_type, each.event_code): each for each in site.alarms}
    assert found.keys() == {
        ("IK00001", "AL", "BA"),
        ("IK00001", "RE", "BR"),
        ("IK00002", "AL", "BA"),
        ("IK00001", "AL", "AT"),
        ("IK00001", "RE", "AT"),
    }
    at_office = found["IK00002", "AL", "BA"]
    assert (at_office.section, at_office.section_text, at_office.detector_text) == ("2", "Office", "Front door (7)")
    assert found["IK00001", "RE", "BR"].detector == "7"
    assert found["IK00001", "AL", "AT"].detector is None


@live
async def test_a_silent_panel_is_offline_an_event_and_an_alarm_and_comes_back(site: House) -> None:
    site.g90["offline_after"] = "1s"
    site.settings["forward"] = [
        {"event": "panel_offline", "transmitter": "home", "event_code": "YC", "restore_on": "panel_online"}
    ]
    site.g90["panels"].append({"guid": OTHER})
    await site.start()
    await site.panel(OTHER, interval=0.2)
    panel = await site.panel(interval=0.2)
    panel._interval = 3600
    await site.mqtt.holds(f"panel/{GUID}/availability", "offline")
    await site.told("panel_offline")
    await panel.activity(DOOR)
    await site.mqtt.holds(f"panel/{GUID}/availability", "online")
    arrived = await site.arrived(2)
    assert [each[:2] for each in arrived[:2]] == [("AL", "YC"), ("RE", "YC")]
    assert "panel_offline" not in site.events(OTHER)
    await site.mqtt.wait_all(f"panel/{GUID}/event", 2, lambda value: value["type"] == "panel_online")
    await site.told("door_opened")
    assert site.events()[:2] == ["panel_online", "panel_offline"]
