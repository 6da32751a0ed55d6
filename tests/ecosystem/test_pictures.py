"""The pages that users look at, in a browser: what should be read there is there. PICTURES keeps the pictures."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ecosystem.home import ALARM, CODE, PANEL, TRANSMITTER, Home, in_home
from support.house import DOOR, GUID

from bridge.g90.simulator import SimulatedSensor
from bridge.g90.wire.constants import StateCode
from bridge.g90.wire.events import EventType

DASHBOARD = """
lovelace:
  dashboards:
    house-alarm: {mode: yaml, filename: dashboard.yaml, title: Alarm, icon: mdi:shield-home, show_in_sidebar: true}
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path, DASHBOARD)


@in_home
async def test_what_users_look_at(home: Home, tmp_path: Path) -> None:
    panel = await home.inhabited(relays=[SimulatedSensor(12, "Garden light")])
    hass = home.hass
    await hass.call("alarm_control_panel.alarm_arm_away", ALARM)
    await hass.becomes(ALARM, "armed_away")
    await hass.call("switch.turn_on", f"switch.{TRANSMITTER}_alarm_burglary")
    await hass.becomes(f"sensor.{TRANSMITTER}_last_result", "accepted")
    await hass.call("switch.turn_off", f"switch.{TRANSMITTER}_alarm_burglary")
    await hass.call("alarm_control_panel.alarm_disarm", ALARM, code=CODE)
    await hass.becomes(ALARM, "disarmed")
    for told in (StateCode.AC_POWER_RESTORED, StateCode.WIFI_CONNECTED):
        await panel.panel_state(told)
    await hass.becomes(f"binary_sensor.{PANEL}_wifi", "on")
    await hass.call("switch.turn_on", f"switch.{PANEL}_relay_12")
    await hass.becomes(f"switch.{PANEL}_relay_12", "on")
    assert (await home.bridge.command("test")).returncode == 0
    await panel.activity(DOOR)
    await hass.becomes(f"binary_sensor.{PANEL}_sensor_{DOOR}", "on")
    made = (await home.bridge.command("homeassistant", "dashboard")).stdout
    made = made.replace("hours_to_show: 24", "hours_to_show: 0.01")  # all this took seconds
    home.hass.folder.joinpath("dashboard.yaml").write_text(made)
    folder = os.environ.get("PICTURES") or tmp_path
    ids = {key: device["id"] for key, device in (await hass.devices()).items()}
    pages = {
        "/house-alarm/alarm": ("dashboard", 760),
        f"/config/devices/device/{ids['sosbridge']}": ("bridge", 760),
        f"/config/devices/device/{ids[TRANSMITTER]}": ("transmitter", 1320),
        f"/config/devices/device/{ids[PANEL]}": ("panel", 1840),
    }
    taken = {page: {"file": f"{folder}/{name}.png", "height": height} for page, (name, height) in pages.items()}
    dashboard, bridge, transmitter, house = (await _looked(home, taken)).values()
    assert {"Operator", "History", "House", "Disarmed", "Front door", "Receiver link", "Burglary"} <= {*dashboard}
    assert {"Connectivity", "Alarms waiting", "Alarms delivered", "Version"} <= {*bridge}
    assert {"Burglary", "Send heartbeat", "Send test alarm", "Receiver link", "Alarm result"} <= {*transmitter}
    assert {"Front door", "Mains power", "Doorbell", "Garden light", "GSM signal", "Wi-Fi status", "Refresh"} <= {
        *house
    }
    assert GUID in " ".join(house)
    assert "door opened" in house
    assert not {*dashboard, *house} & {str(each) for each in EventType if "_" in each}
    assert not [text for text in dashboard if "not found" in text.lower() or "not available" in text.lower()]


async def _looked(home: Home, pages: dict[str, Any]) -> dict[str, list[str]]:
    login = home.hass.login.browser
    url = f"http://127.0.0.1:{home.hass.port}"
    wanted = json.dumps({"url": url, "access": login.access, "refresh": login.refresh, "pages": pages})
    command = [os.environ["BROWSER_PYTHON"], str(Path(__file__).with_name("pictures.py"))]
    told = await asyncio.to_thread(
        subprocess.run, command, input=wanted, stdout=subprocess.PIPE, text=True, timeout=240, check=True
    )
    found: dict[str, list[str]] = json.loads(told.stdout)
    return found
