"""One discovery payload of each kind, with all that it can hold, a dashboard, and what they were when last looked at.

`python tests/homeassistant/payloads.py` writes the snapshots anew: read their difference before it is committed.
"""

from __future__ import annotations

import json
from pathlib import Path

from bridge.common.models import Alarm, NamedAlarm
from bridge.g90.state.model import Link, PanelState, Partition, Relay, Sensor
from bridge.g90.wire.constants import SensorType
from bridge.g90.wire.events import EventType
from bridge.homeassistant.dashboard import dashboard
from bridge.homeassistant.devices import bridge_device, transmitter_device
from bridge.homeassistant.entity import Names, Payload
from bridge.homeassistant.panel import ControlOptions, panel_device
from bridge.transmitters.topics import Reach

NAMES = Names("homeassistant", "sosbridge", "1.2.3")
BURGLARY = NamedAlarm("burglary", "Burglary", Alarm("BA", section="1"))
PANEL = PanelState(
    guid="GB7F20C14D05A91",
    name="House",
    link=Link(firmware="206"),
    partition=Partition(arm=EventType.DISARMED),
    sensors={
        1: Sensor(index=1, name="Front door", type=SensorType.DOOR),
        9: Sensor(index=9, name="Kitchen smoke", type=SensorType.SMOKE, tamper=True, battery_low=True),
        11: Sensor(index=11, name="Keypad", type=SensorType.RFID),
        13: Sensor(index=13, name="Turned off", type=SensorType.DOOR, flags=0),
        14: Sensor(index=14, name="Siren", type=129),
    },
    relays={"12-2": Relay(index=12, channel=2, name="Lamp#2", type=128)},
)
REACH = Reach({"primary": "a.example:1", "secondary": "b.example:1"}, {"fixed": "eth0", "mobile": "wwan0"})
CONTROLLED = ControlOptions(possible=True)
SNAPSHOTS = Path(__file__).with_name("snapshots")


def devices() -> dict[str, Payload]:
    return {
        "bridge": bridge_device(NAMES),
        "bridge_of_two_shards": bridge_device(NAMES, 2),
        "transmitter": transmitter_device(NAMES, "home", {"burglary": BURGLARY}, "TA", REACH),
        "panel": panel_device(NAMES, PANEL, CONTROLLED),
        "panel_with_code": panel_device(NAMES, PANEL, ControlOptions(possible=True, code=True, code_to_arm=True)),
        "panel_without_control": panel_device(NAMES, PANEL, ControlOptions(possible=False)),
    }


def made_dashboard() -> str:
    """Return the dashboard of a house and a transmitter."""
    alarms = {"burglary": BURGLARY, "fire": NamedAlarm("fire", "Fire: cellar", Alarm("FA"))}
    transmitter = transmitter_device(NAMES, "home", alarms, "TST", REACH)
    return dashboard([bridge_device(NAMES), transmitter, panel_device(NAMES, PANEL, CONTROLLED)])


def written(payload: Payload) -> str:
    return json.dumps(payload, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    SNAPSHOTS.mkdir(exist_ok=True)
    for name, payload in devices().items():
        (SNAPSHOTS / f"{name}.json").write_text(written(payload), "utf-8")
    (SNAPSHOTS / "dashboard.yaml").write_text(made_dashboard(), "utf-8")
