"""Restarts of each of the three leave all as it was, with no event fired twice; what is taken out goes."""

from __future__ import annotations

from ecosystem.home import ALARM, PANEL, TRANSMITTER, Home, in_home
from support.house import DOOR, GUID, SMOKE

SWITCH = f"switch.{TRANSMITTER}_alarm_burglary"


@in_home
async def test_each_of_the_three_restarts(home: Home) -> None:
    panel = await home.inhabited()
    hass = home.hass
    await hass.call("alarm_control_panel.alarm_arm_away", ALARM)
    await panel.activity(DOOR)
    await hass.becomes(f"binary_sensor.{PANEL}_sensor_{DOOR}", "on")
    await hass.call("switch.turn_on", SWITCH)
    await hass.becomes(SWITCH, "on")
    await hass.becomes(ALARM, "armed_away")
    states, events = _told(home), len(hass.fired)

    await hass.restart()
    await home.there()
    await hass.until(lambda: _told(home) == states, "all is as it was")
    assert len(hass.fired) == events

    home.mosquitto.stop()
    home.mosquitto.start()
    await home.there()
    await home.mqtt.back()
    await home.mqtt.holds(f"panel/{GUID}/availability", "online")
    await hass.until(lambda: _told(home) == states, "all is as it was")
    assert len(hass.fired) == events

    home.bridge.kill()
    await hass.becomes(SWITCH, "unavailable")
    await home.resumed()
    await home.there()
    await hass.until(lambda: _told(home) == states, "all is as it was")
    new = [(event["entity_id"], event["attributes"]["event_type"]) for event in hass.fired[events:]]
    assert set(new) <= {(f"event.{PANEL}_event", "panel online"), (f"event.{PANEL}_event", "sensor changed")}, new
    await panel.alarm(SMOKE)  # and it goes on
    await hass.becomes(ALARM, "triggered")
    assert (await home.arrived(2))[1] == ("AL", "FA", str(SMOKE), "Kitchen smoke")
    assert hass.problems() == []


@in_home
async def test_a_broker_that_lost_its_store_repeats_no_event(home: Home) -> None:
    await home.inhabited()
    hass = home.hass
    await hass.call("switch.turn_on", SWITCH)
    await hass.becomes(SWITCH, "on")
    result = f"event.{TRANSMITTER}_result"
    await hass.until(lambda: hass.state(result) != "unknown", "the result is there")
    states, events = _told(home), len(hass.fired)
    home.mosquitto.kill()
    home.mosquitto.forget()
    home.mosquitto.start()
    await hass.until(lambda: "unavailable" in hass.ours.values() or _told(home) == states, "something is seen")
    await home.there()
    await hass.until(lambda: _told(home) == states, "all is as it was")
    assert len(hass.fired) == events
    assert hass.problems() == []


def _told(home: Home) -> dict[str, str]:
    """Return the states that a restart must not change: no moments, no counters."""
    changing = ("last_contact", "last_heartbeat", "mqtt_restarts", f"{PANEL}_event", "delivered", "waiting")
    return {name: state for name, state in home.hass.ours.items() if not name.endswith(changing)}


@in_home
async def test_what_is_taken_out_goes(home: Home) -> None:
    second = {**home.transmitter("shed", "IK00002"), "alarms": [{"key": "fire", "name": "Fire", "event_code": "FA"}]}
    home.settings["transmitters"].append(second)
    panel = await home.inhabited()
    hass = home.hass
    await hass.becomes("switch.sosbridge_transmitter_shed_alarm_fire", "off")

    panel.sensors.pop(DOOR)  # taken out on the panel
    home.bridge.kill()
    home.settings["transmitters"].pop()
    home.home["alarms"].pop()
    await home.resumed()
    await hass.becomes(f"switch.{TRANSMITTER}_alarm_fire")
    await hass.becomes("switch.sosbridge_transmitter_shed_alarm_fire")
    await hass.becomes(f"binary_sensor.{PANEL}_sensor_{DOOR}")
    await hass.becomes(SWITCH, "off")
    assert (await hass.devices()).keys() == {"sosbridge", TRANSMITTER, PANEL}
    assert not [name for name in await hass.entities() if "shed" in name or name.endswith("_fire")]

    home.bridge.kill()
    home.g90["panels"] = []
    await home.start()
    await hass.becomes(ALARM)
    assert (await hass.devices()).keys() == {"sosbridge", TRANSMITTER}

    home.bridge.kill()
    home.settings["homeassistant"] = {"enabled": False}
    await home.start()
    await hass.becomes(SWITCH)
    await hass.until(lambda: not hass.ours, "nothing is left")
    assert not await hass.devices()
    # Of every device that goes it warns itself, when its own clearing of the topic comes back to it.
    assert [told for told in hass.problems() if "No device components to cleanup" not in told] == []
