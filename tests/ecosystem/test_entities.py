"""Home Assistant finds everything by itself, with the right state, class and category, and warns of nothing."""

from __future__ import annotations

from datetime import datetime

from ecosystem.home import ALARM, CODE, PANEL, TRANSMITTER, Home, in_home
from support.house import GUID, SMOKE

MOMENT = "a moment"
"""Any time: a state of an entity whose state is one."""
DIAGNOSTIC, CONFIG = "diagnostic", "config"

ENTITIES: dict[str, dict[str, tuple[str, str | None, str | None, str | None]]] = {
    "sosbridge": {
        "binary_sensor.sosbridge_connectivity": ("Connectivity", "connectivity", DIAGNOSTIC, "on"),
        "sensor.sosbridge_version": ("Version", None, DIAGNOSTIC, None),
        "sensor.sosbridge_waiting": ("Alarms waiting", None, None, "0"),
        "sensor.sosbridge_set_aside": ("Alarms rejected", None, None, "0"),
        "sensor.sosbridge_delivered": ("Alarms delivered", None, None, "0"),
        "sensor.sosbridge_mqtt_restarts": ("MQTT reconnects", None, DIAGNOSTIC, "0"),
        "binary_sensor.sosbridge_problem": ("Problem", "problem", None, "off"),
        "event.sosbridge_events": ("Bridge", None, None, "unknown"),
    },
    TRANSMITTER: {
        f"switch.{TRANSMITTER}_alarm_burglary": ("Burglary", None, None, "off"),
        f"switch.{TRANSMITTER}_alarm_fire": ("Fire", None, None, "off"),
        f"button.{TRANSMITTER}_heartbeat": ("Send heartbeat", None, CONFIG, "unknown"),
        f"button.{TRANSMITTER}_rotate": ("Change password", None, CONFIG, "disabled"),
        f"button.{TRANSMITTER}_test": ("Send test alarm", None, None, "unknown"),
        f"binary_sensor.{TRANSMITTER}_link": ("Receiver link", "connectivity", None, "on"),
        f"sensor.{TRANSMITTER}_last_result": ("Last result", "enum", None, "unknown"),
        f"sensor.{TRANSMITTER}_last_heartbeat": ("Last heartbeat", "timestamp", DIAGNOSTIC, MOMENT),
        f"sensor.{TRANSMITTER}_clock_offset": ("Clock offset", "duration", DIAGNOSTIC, None),
        f"sensor.{TRANSMITTER}_waiting": ("Alarms waiting", None, None, "0"),
        f"binary_sensor.{TRANSMITTER}_problem": ("Problem", "problem", None, "off"),
        f"binary_sensor.{TRANSMITTER}_receiver_primary": ("Primary receiver", "connectivity", DIAGNOSTIC, None),
        f"binary_sensor.{TRANSMITTER}_receiver_secondary": ("Secondary receiver", "connectivity", DIAGNOSTIC, None),
        f"event.{TRANSMITTER}_result": ("Alarm result", None, None, "unknown"),
        f"sensor.{TRANSMITTER}_last_test": ("Last test", "timestamp", None, "unknown"),
        f"sensor.{TRANSMITTER}_availability": ("Availability", None, DIAGNOSTIC, "disabled"),
        f"sensor.{TRANSMITTER}_transmission_time": ("Transmission time", "duration", DIAGNOSTIC, "disabled"),
    },
    PANEL: {
        ALARM: ("Alarm", None, None, "disarmed"),
        f"binary_sensor.{PANEL}_sensor_7": ("Front door", "door", None, "off"),
        f"binary_sensor.{PANEL}_sensor_8": ("Hall", "motion", None, "off"),
        f"binary_sensor.{PANEL}_sensor_9": ("Kitchen smoke", "smoke", None, "off"),
        f"binary_sensor.{PANEL}_sensor_10": ("Upstairs smoke", "smoke", None, "off"),
        f"binary_sensor.{PANEL}_mains": ("Mains power", "plug", DIAGNOSTIC, "unknown"),
        f"binary_sensor.{PANEL}_battery": ("Panel battery", "battery", DIAGNOSTIC, "off"),
        f"binary_sensor.{PANEL}_wifi": ("Wi-Fi", "connectivity", DIAGNOSTIC, None),
        f"binary_sensor.{PANEL}_upstream": ("Vendor's cloud", "connectivity", DIAGNOSTIC, None),
        f"binary_sensor.{PANEL}_problem": ("Problem", "problem", DIAGNOSTIC, None),
        f"sensor.{PANEL}_battery_voltage": ("Battery voltage", "voltage", DIAGNOSTIC, None),
        f"sensor.{PANEL}_gsm_signal": ("GSM signal", None, DIAGNOSTIC, None),
        f"sensor.{PANEL}_gsm_status": ("GSM status", "enum", DIAGNOSTIC, None),
        f"sensor.{PANEL}_wifi_signal": ("Wi-Fi signal", None, DIAGNOSTIC, None),
        f"sensor.{PANEL}_wifi_status": ("Wi-Fi status", "enum", DIAGNOSTIC, None),
        f"button.{PANEL}_refresh": ("Refresh", None, DIAGNOSTIC, None),
        f"sensor.{PANEL}_last_contact": ("Last contact", "timestamp", DIAGNOSTIC, MOMENT),
        f"event.{PANEL}_keypad": ("Keypad", None, None, "unknown"),
        f"event.{PANEL}_remote": ("Remote", None, None, "unknown"),
        f"event.{PANEL}_doorbell": ("Doorbell", "doorbell", None, "unknown"),
        f"event.{PANEL}_event": ("Panel event", None, None, None),
    },
}
"""By device and entity: name, device class, category, and the state where nothing has happened yet."""


@in_home
async def test_everything_is_found(home: Home) -> None:
    await home.inhabited()
    devices, entities = await home.hass.devices(), await home.hass.entities()
    assert devices.keys() == ENTITIES.keys()
    for key, expected in ENTITIES.items():
        device = devices[key]
        assert (device["via_device_id"] is None) == (key == "sosbridge")
        found = {name: entity for name, entity in entities.items() if entity["device_id"] == device["id"]}
        assert found.keys() == expected.keys()
        for name, (words, device_class, category, state) in expected.items():
            entity = found[name]
            assert (entity["original_name"], entity["entity_category"]) == (words, category), name
            assert (entity["disabled_by"] is not None) == (state == "disabled"), name
            if state != "disabled":
                assert home.hass.attributes(name).get("device_class") == device_class, name
                _is(home, name, state)
    assert home.hass.attributes(ALARM)["supported_features"] == 1 | 2  # arm home, arm away
    assert home.hass.attributes("sensor.sosbridge_delivered")["state_class"] == "total_increasing"
    assert home.hass.problems() == []


def _is(home: Home, name: str, state: str | None) -> None:
    found = home.hass.state(name)
    if state == MOMENT:
        assert datetime.fromisoformat(found or ""), name
    elif state is not None:
        assert found == state, name


@in_home
async def test_what_is_commanded_is_done(home: Home) -> None:
    panel = await home.inhabited()
    hass = home.hass
    await hass.call("alarm_control_panel.alarm_arm_away", ALARM)
    await hass.becomes(ALARM, "armed_away")
    await panel.alarm(SMOKE)
    await hass.becomes(ALARM, "triggered")
    assert await home.arrived(1) == [("AL", "FA", "9", "Kitchen smoke")]
    mark = home.mqtt.mark
    await hass.call("alarm_control_panel.alarm_disarm", ALARM, code="0000000")
    await home.mqtt.wait(f"panel/{GUID}/set/response", lambda told: told["outcome"] == "wrong_code", after=mark)
    assert hass.state(ALARM) == "triggered"
    await hass.call("alarm_control_panel.alarm_disarm", ALARM, code=CODE)
    await hass.becomes(ALARM, "disarmed")
    assert (await home.arrived(2))[1] == ("RE", "FA", "9", "Kitchen smoke")
    burglary = f"switch.{TRANSMITTER}_alarm_burglary"
    await hass.call("switch.turn_on", burglary)
    await hass.becomes(burglary, "on")
    assert (await home.arrived(3))[2][:2] == ("AL", "BA")
    assert home.alarms[2].section == "1"
    await hass.call("switch.turn_off", burglary)
    await hass.becomes(burglary, "off")
    assert (await home.arrived(4))[3][:2] == ("RE", "BA")
    await hass.call("button.press", f"button.{TRANSMITTER}_test")
    assert (await home.arrived(5))[4][:2] == ("AL", "TST")
    pings = len(home.received("ping"))
    await hass.call("button.press", f"button.{TRANSMITTER}_heartbeat")
    await home.mqtt.wait("transmitter/home/ping/response", lambda told: "accepted_at" in told, after=mark)
    assert len(home.received("ping")) == pings + 1
    await hass.becomes(f"sensor.{TRANSMITTER}_last_result", "accepted")
    assert hass.attributes(f"sensor.{TRANSMITTER}_last_result")["receiver"] == "primary"
    await hass.until(lambda: _fired(home, "result") == ["accepted"] * 5, f"five results: {_fired(home, 'result')}")
    assert hass.problems() == []


def _fired(home: Home, key: str) -> list[str]:
    """Return the types that an event entity has fired, in order."""
    return [each["attributes"]["event_type"] for each in home.hass.fired if each["entity_id"].endswith(f"_{key}")]


@in_home
async def test_a_receiver_that_is_away_from_the_start(home: Home) -> None:
    home.home["heartbeat"] = "off"
    for receiver in (home.primary, home.secondary):
        await receiver.stop()
    await home.inhabited()
    assert (await home.do("ping"))["outcome"] == "unreachable"
    hass, heartbeat = home.hass, f"sensor.{TRANSMITTER}_last_heartbeat"
    await hass.becomes(f"binary_sensor.{TRANSMITTER}_problem", "on")
    await hass.becomes(f"binary_sensor.{TRANSMITTER}_link", "off")
    await hass.until(lambda: "link_down" in _problems(home), "the line is down")
    assert hass.state(heartbeat) == "unknown"
    await home.primary.start()
    await home.do("ping")
    await hass.until(lambda: hass.state(heartbeat) != "unknown", "a heartbeat is told")
    await hass.until(lambda: _problems(home) == {"receiver_down"}, "only the secondary is down")
    told = hass.state(heartbeat)
    await home.primary.stop()
    assert (await home.do("ping"))["outcome"] == "unreachable"
    assert hass.state(heartbeat) == told
    assert hass.problems() == []


def _problems(home: Home) -> set[str]:
    """Return the kinds of problems that the transmitter has."""
    found = home.hass.attributes(f"binary_sensor.{TRANSMITTER}_problem")["problems"]
    return {problem["kind"] for problem in found}
