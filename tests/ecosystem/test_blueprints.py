"""The shipped blueprints in a real Home Assistant: alarms forwarded, notifications, a heartbeat while all is well."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ecosystem.hass import HomeAssistant
from ecosystem.home import Home, in_home

from bridge.sos_access.simulator.receiver import Fault

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
  - sensor:
      - name: Tested yesterday
        unique_id: tested_yesterday
        device_class: timestamp
        state: "{{ now() - timedelta(hours=26 if is_state('input_boolean.broken', 'on') else 1) }}"
  - binary_sensor:
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
- alias: problem
  id: problem
  use_blueprint:
    path: sosbridge/problem.yaml
    input:
      entities: [binary_sensor.sosbridge_problem, binary_sensor.sosbridge_transmitter_home_problem]
      actions: [{action: mqtt.publish, data: {topic: notified/problem, payload: "{{ message }}", qos: 1, retain: true}}]
- alias: test failed
  id: test_failed
  use_blueprint:
    path: sosbridge/test_failed.yaml
    input:
      last_test: sensor.sosbridge_transmitter_home_last_test
      actions: [{action: mqtt.publish, data: {topic: notified/test, payload: "{{ message }}", qos: 1, retain: true}}]
- alias: overdue
  id: overdue
  use_blueprint:
    path: sosbridge/test_failed.yaml
    input:
      last_test: sensor.tested_yesterday
      actions: [{action: mqtt.publish, data: {topic: notified/overdue, payload: "{{ message }}", qos: 1, retain: true}}]
- alias: offline
  id: offline
  use_blueprint:
    path: sosbridge/panel_offline.yaml
    input:
      entities: [alarm_control_panel.sosbridge_panel_gb7f20c14d05a91_alarm]
      minutes: 0
      actions: [{action: mqtt.publish, data: {topic: notified/panel, payload: "{{ message }}", qos: 1, retain: true}}]
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


@in_home
async def test_a_problem_is_reported_and_that_it_is_over(home: Home) -> None:
    await home.inhabited()
    for receiver in (home.primary, home.secondary):
        await receiver.stop()
    assert (await home.do("ping"))["outcome"] == "unreachable"
    assert (await home.broker_holds("notified/problem", "receiver")).startswith("Transmitter home: ")
    for receiver in (home.primary, home.secondary):
        await receiver.start()
    assert (await home.do("ping"))["outcome"] == "accepted"
    assert await home.broker_holds("notified/problem", "over") == "Transmitter home: all problems are over"
    assert home.hass.problems() == []


@in_home
async def test_a_test_alarm_that_fails_or_is_overdue_is_reported(home: Home) -> None:
    await home.inhabited()
    hass = home.hass
    assert (await home.bridge.command("test")).returncode == 0
    await hass.until(lambda: hass.state("sensor.sosbridge_transmitter_home_last_test") != "unknown", "it succeeded")
    assert hass.attributes("automation.test_failed")["last_triggered"] is None
    for receiver in (home.primary, home.secondary):
        receiver.faults.add(Fault(status=3), 1)
    assert (await home.bridge.command("test")).returncode != 0
    assert (await home.broker_holds("notified/test")).startswith("Transmitter home: the test alarm failed: ")
    await hass.call("input_boolean.turn_on", "input_boolean.broken")
    assert (await home.broker_holds("notified/overdue")).endswith(": no test alarm has succeeded for 25 hours")
    assert hass.problems() == []


@in_home
async def test_a_panel_that_cannot_be_reached_is_reported(home: Home) -> None:
    await home.inhabited()
    home.bridge.kill()
    offline = "House is offline: its alarms do not reach the operator"
    assert await home.broker_holds("notified/panel", "offline") == offline
    await home.resumed()
    await home.there()
    assert await home.broker_holds("notified/panel", "online") == "House is online again"
    assert home.hass.problems() == []


async def _switch(hass: HomeAssistant, switch: str, entity: str, to: str, state: str | None = None) -> None:
    """Turn a switch, and wait for the state of an entity; without `state` it is the switch's own."""
    await hass.call(f"input_boolean.turn_{to}", f"input_boolean.{switch}")
    await hass.becomes(entity, state or to)
