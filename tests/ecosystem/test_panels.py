"""Panels in Home Assistant: a sensor of each type, what it reports, a code for a number pad, one that is read only."""

from __future__ import annotations

import pytest
from ecosystem.home import ALARM, CODE, PANEL, TRANSMITTER, Home, in_home
from support.house import OTHER, Simulated

from bridge.g90.simulator import SimulatedSensor
from bridge.g90.wire.constants import SensorCode, SensorType, StateCode

SENSORS = {
    # name: type, its device class in Home Assistant
    "Front door": (SensorType.DOOR, "door"),
    "Hall": (SensorType.MOTION, "motion"),
    "Drive": (SensorType.BEAM, "motion"),
    "Kitchen smoke": (SensorType.SMOKE, "smoke"),
    "Boiler gas": (SensorType.GAS, "gas"),
    "Laundry water": (SensorType.WATER, "moisture"),
    "Safe": (SensorType.VIBRATION, "vibration"),
    "Patio glass": (SensorType.GLASS_BREAK, "sound"),
    "Bedside": (SensorType.SOS_BUTTON, "safety"),
    "Shed": (SensorType.WIRED, "opening"),
    "Keyring": (SensorType.REMOTE, None),
    "Porch": (SensorType.RFID, None),
    "Gate bell": (SensorType.DOORBELL, None),
}
SMOKE, GLASS = 4, 8
READ_ONLY = f"sosbridge_panel_{OTHER.lower()}"


def _sensor(index: int, flag: str = "") -> str:
    return f"binary_sensor.{PANEL}_sensor_{index}{flag}"


async def _living(home: Home) -> Simulated:
    """Start everything, with a panel of all sensors and one that cannot be commanded."""
    sensors = tuple(SimulatedSensor(i, name, kind) for i, (name, (kind, _)) in enumerate(SENSORS.items(), start=1))
    local = home.controlled(code=CODE, name="House")
    home.g90["panels"].append({"guid": OTHER, "name": "Garage"})
    await home.start()
    panel = await home.panel(local=local, sensors=sensors)
    await home.panel(OTHER, sensors=())
    await home.stack.enter_async_context(home.hass)
    await home.there()
    await home.hass.becomes(f"alarm_control_panel.{READ_ONLY}_alarm", "unknown")
    return panel


@in_home
async def test_each_sensor_is_of_its_class_and_says_what_it_reports(home: Home) -> None:
    panel, hass = await _living(home), home.hass
    classes = {}
    for index, name in enumerate(SENSORS, start=1):
        shown = hass.state(_sensor(index)) is not None
        classes[name] = hass.attributes(_sensor(index))["device_class"] if shown else None
    assert classes == {name: device_class for name, (_, device_class) in SENSORS.items()}
    for index in (SMOKE, GLASS):
        assert hass.state(_sensor(index, "_tamper")) is None
        assert hass.state(_sensor(index, "_battery")) is None

    await panel.alarm(SMOKE, SensorCode.TAMPER)
    await hass.becomes(_sensor(SMOKE, "_tamper"), "on")
    await hass.becomes(ALARM, "triggered")
    await panel.activity(GLASS, SensorCode.BATTERY_LOW)
    await hass.becomes(_sensor(GLASS, "_battery"), "on")
    entities = await hass.entities()
    for index, flag, name in ((SMOKE, "tamper", "Kitchen smoke tamper"), (GLASS, "battery", "Patio glass battery")):
        entity = _sensor(index, f"_{flag}")
        assert hass.attributes(entity)["device_class"] == flag
        assert (entities[entity]["original_name"], entities[entity]["entity_category"]) == (name, "diagnostic")

    for state in (StateCode.AC_POWER_LOST, StateCode.BATTERY_LOW, StateCode.WIFI_CONNECTED, StateCode.DISARMED):
        await panel.panel_state(state)
    for key, wanted in {"mains": "off", "battery": "on", "wifi": "on"}.items():
        await hass.becomes(f"binary_sensor.{PANEL}_{key}", wanted)
    await panel.panel_state(StateCode.AC_POWER_RESTORED)
    await hass.becomes(f"binary_sensor.{PANEL}_mains", "on")
    await hass.becomes(f"binary_sensor.{PANEL}_battery", "off")
    await hass.becomes(ALARM, "disarmed")
    await hass.becomes(_sensor(SMOKE, "_tamper"), "off")
    assert hass.problems() == []


@in_home
async def test_a_number_pad_for_a_code_and_nothing_to_press_without_control(home: Home) -> None:
    await _living(home)
    hass, read_only = home.hass, f"alarm_control_panel.{READ_ONLY}_alarm"
    assert (hass.attributes(ALARM)["code_format"], hass.attributes(ALARM)["code_arm_required"]) == ("number", False)
    assert hass.attributes(read_only)["code_format"] is None
    assert hass.attributes(read_only)["supported_features"] == 0
    with pytest.raises(AssertionError, match="does not support"):
        await hass.call("alarm_control_panel.alarm_arm_away", read_only)
    devices = await hass.devices()
    assert (devices[READ_ONLY]["name"], devices[READ_ONLY]["serial_number"]) == ("Garage", OTHER)
    assert hass.problems() == []


@in_home
async def test_a_last_result_with_its_details_and_a_changed_password(home: Home) -> None:
    await _living(home)
    hass, last = home.hass, f"sensor.{TRANSMITTER}_last_result"
    await home.do("alarm/raise", {"event_code": "MA", "reference": "17"})
    await hass.until(lambda: hass.attributes(last).get("reference") == "17", "the result is told")
    told = hass.attributes(last)
    assert (told["status"], told["info"], told["receiver"]) == (0, "OK", "primary")
    offset = f"sensor.{TRANSMITTER}_clock_offset"
    assert abs(float(hass.state(offset) or "nan")) < 60
    assert hass.attributes(offset)["unit_of_measurement"] == "s"

    rotate = f"button.{TRANSMITTER}_rotate"
    await hass.ask("config/entity_registry/update", entity_id=rotate, disabled_by=None)
    await hass.becomes(rotate, "unknown")  # Home Assistant loads its integration again by itself
    await hass.call("button.press", rotate)
    await home.mqtt.wait("transmitter/home/auth/response", lambda value: value["outcome"] == "accepted")
    assert len(home.received("auth")) == 1
    assert hass.problems() == []
