"""The shipped blueprints in a real Home Assistant: forwarded, told, a heartbeat while all is well."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ecosystem.hass import HomeAssistant
from ecosystem.home import Home, in_home

BLUEPRINTS = Path(__file__).parents[2] / "homeassistant" / "blueprints"
ENTITIES = """
input_boolean: {smoke: {name: Smoke}, broken: {name: Broken}, there: {name: There, initial: true}}
input_select: {said: {options: [nothing, something]}}
template:
  - binary_sensor:
      - name: Cellar
        unique_id: cellar
        device_class: smoke
        state: "{{ states('input_boolean.smoke') }}"
        availability: "{{ is_state('input_boolean.there', 'on') }}"
      - {name: Fault, unique_id: fault, device_class: problem, state: "{{ states('input_boolean.broken') }}"}
"""
AUTOMATIONS = """
- alias: forward
  id: forward
  use_blueprint:
    path: sosbridge/forward_alarm.yaml
    input: {entities: [binary_sensor.none, binary_sensor.cellar], event_code: FA, section: "7", section_text: Cellar}
- alias: tell
  id: tell
  use_blueprint:
    path: sosbridge/alarm_undelivered.yaml
    input:
      actions: [{action: mqtt.publish, data: {topic: told, payload: "{{ message }}", qos: 1, retain: true}}]
- alias: heartbeat
  id: heartbeat
  use_blueprint:
    path: sosbridge/heartbeat_while_fine.yaml
    input: {faults: [binary_sensor.fault]}
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path, ENTITIES)
    shutil.copytree(BLUEPRINTS, home.hass.folder / "blueprints")
    home.hass.folder.joinpath("automations.yaml").write_text(AUTOMATIONS)
    return home


@in_home
async def test_an_alarm_is_forwarded_and_restored_once(home: Home) -> None:
    home.home["heartbeat"] = "off"
    await home.inhabited()
    hass = home.hass
    for name in ("forward", "tell", "heartbeat"):
        await hass.becomes(f"automation.{name}", "on")
    await _switch(hass, "smoke", "binary_sensor.cellar", "on")
    assert await home.arrived(1) == [("AL", "FA", "2", "Cellar")]
    assert (home.alarms[0].section, home.alarms[0].section_text) == ("7", "Cellar")
    await hass.restart()  # it is on when it comes back: known, and no new alarm
    await hass.becomes("binary_sensor.cellar", "on")
    await _switch(hass, "smoke", "binary_sensor.cellar", "off")
    assert await home.arrived(2) == [("AL", "FA", "2", "Cellar"), ("RE", "FA", "2", "Cellar")]
    assert hass.problems() == []


@in_home
async def test_what_happens_while_it_is_unavailable_is_not_lost(home: Home) -> None:
    await home.inhabited()
    hass = home.hass
    await hass.becomes("binary_sensor.cellar", "off")
    await _switch(hass, "there", "binary_sensor.cellar", "off", "unavailable")
    await hass.call("input_boolean.turn_on", "input_boolean.smoke")
    await _switch(hass, "there", "binary_sensor.cellar", "on", "on")
    assert await home.arrived(1) == [("AL", "FA", "2", "Cellar")]
    await home.mqtt.holds("transmitter/home/alarm/active", lambda active: len(active) == 1)
    await _switch(hass, "there", "binary_sensor.cellar", "off", "unavailable")
    await _switch(hass, "there", "binary_sensor.cellar", "on", "on")  # the former state: nothing new
    await _switch(hass, "there", "binary_sensor.cellar", "off", "unavailable")
    await hass.call("input_boolean.turn_off", "input_boolean.smoke")
    await _switch(hass, "there", "binary_sensor.cellar", "on", "off")
    assert await home.arrived(2) == [("AL", "FA", "2", "Cellar"), ("RE", "FA", "2", "Cellar")]
    assert hass.problems() == []


@in_home
async def test_heartbeats_come_while_the_house_is_fine(home: Home) -> None:
    home.home["heartbeat"] = "off"
    await home.inhabited()
    hass = home.hass
    await home.mqtt.wait("transmitter/home/ping/response", lambda told: told["outcome"] == "accepted")
    await _switch(hass, "broken", "binary_sensor.fault", "on")
    pings = len(home.received("ping"))
    await hass.call("automation.trigger", "automation.heartbeat", skip_condition=False)
    await _switch(hass, "broken", "binary_sensor.fault", "off")
    assert len(home.received("ping")) == pings
    mark = home.mqtt.mark
    await hass.call("automation.trigger", "automation.heartbeat", skip_condition=False)
    await home.mqtt.wait("transmitter/home/ping/response", lambda told: told["outcome"] == "accepted", after=mark)


@in_home
async def test_an_undelivered_alarm_is_told(home: Home) -> None:
    await home.inhabited()
    for receiver in (home.primary, home.secondary):
        await receiver.stop()
    mark = home.mqtt.mark
    await home.send("alarm/burglary/set", "ON")
    await home.mqtt.wait("transmitter/home/event", lambda told: told["type"] == "undelivered", after=mark)
    await home.hass.until(lambda: bool(home.hass.attributes("automation.tell")["last_triggered"]), "it is told")
    told = await home.broker_holds("told")
    assert told.startswith("BA: the alarm of transmitter home is undelivered ("), told
    assert told.endswith("sosbridge keeps trying."), told
    await home.mqtt.publish("transmitter/hem/alarm/raise", "BA")
    told = await home.broker_holds("told", "did not accept")
    assert told.startswith("sosbridge did not accept the command on sosbridge/transmitter/hem/alarm/raise: "), told
    assert "unknown transmitter 'hem'" in told, told
    assert home.hass.problems() == []


async def _switch(hass: HomeAssistant, switch: str, entity: str, to: str, state: str | None = None) -> None:
    """Turn a switch, and wait for the state of an entity; without `state` it is the switch's own."""
    await hass.call(f"input_boolean.turn_{to}", f"input_boolean.{switch}")
    await hass.becomes(entity, state or to)
