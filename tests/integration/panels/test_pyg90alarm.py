"""A panel whose bytes the published pyg90alarm makes, in pieces of five, through the whole bridge to MQTT."""

from __future__ import annotations

import json
from typing import Any

from pyg90alarm.cloud import messages as peer
from pyg90alarm.cloud.protocol import G90CloudMessageContext
from support.g90 import PING, dialled
from support.harness import live
from support.house import GUID, House

NEW_YEAR = 1767225600
ANNOUNCED = ("192.0.2.10", 5678)
CONTEXT = G90CloudMessageContext(
    device_id=GUID,
    local_ip=ANNOUNCED[0],
    local_port=ANNOUNCED[1],
    cloud_ip=ANNOUNCED[0],
    cloud_port=ANNOUNCED[1],
    upstream_host=None,
    upstream_port=None,
    remote_host="127.0.0.1",
    remote_port=1,
)
_Alarm, _Activity = peer.G90CloudStatusChangeAlarmReqMessage, peer.G90CloudStatusChangeSensorReqMessage


def hello() -> Any:  # noqa: ANN401 - the peer's
    build: Any = peer.G90CloudHelloReqMessage
    return build(CONTEXT, GUID.encode(), 1, 0, 2, 0x7000, b"206", 0x2000BA58, 0x30, 0, 7, 30, 30)


def discovery() -> Any:  # noqa: ANN401 - the peer's
    build: Any = peer.G90CloudHelloDiscoveryReqMessage
    return build(CONTEXT, GUID.encode(), 0, 0, 1, 0x7000, b"206", 0x05050505, 0x06060030, 0x07070707)


def state(value: int, late: int = 0) -> bytes:
    build: Any = peer.G90CloudStatusChangeReqMessage
    built: bytes = build(CONTEXT, 2, value, NEW_YEAR + late).to_wire()
    return built


def sensor(kind: Any, *numbers: int, name: bytes, late: int = 0) -> bytes:  # noqa: ANN401 - the peer's
    built: bytes = kind(CONTEXT, *numbers, name, NEW_YEAR + late).to_wire()
    return built


def notification(text: str) -> bytes:
    message = peer.G90CloudNotificationMessage(CONTEXT)
    message.header.message_length += len(text.encode()) + 1
    return message.to_wire() + text.encode() + b"\0"


def alert(kind: int, event: int, source: int, value: int, name: str, late: int = 0) -> bytes:
    return notification(f'[208,[{kind},{event},{source},{value},"{name}","{GUID}",{NEW_YEAR + late},0,[""]]]')


STEPS = [
    # (bytes, the event that they are, with what it tells; None: told before)
    (state(1), {"type": "ac_power_lost"}),
    (state(2), {"type": "ac_power_restored"}),
    (state(6), {"type": "panel_battery_low"}),
    (state(8), {"type": "wifi_disconnected"}),
    (state(7), {"type": "wifi_connected"}),
    (notification("[170,[1,[2]]]"), {"type": "armed_home", "source": "panel"}),
    (alert(2, 5, 0, 0, ""), None),
    (state(5), None),
    (state(4, 60), {"type": "armed_away"}),
    (notification('[170,[6,[7,"Front door"]]]'), {"type": "door_open_when_arming", "sensor": 7, "name": "Front door"}),
    (sensor(_Activity, 4, 7, 1, 1, name=b"Front door"), {"type": "door_opened", "sensor": 7, "name": "Front door"}),
    (notification('[170,[5,[7,"Front door"]]]'), None),
    (sensor(_Activity, 4, 7, 1, 0, name=b"Front door"), {"type": "door_closed", "sensor": 7}),
    (sensor(_Activity, 4, 8, 8, 0, name=b"Hall"), {"type": "sensor_activity", "sensor": 8, "source": "infrared"}),
    (sensor(_Activity, 4, 8, 8, 1, name=b"Hall"), {"type": "tamper", "sensor": 8, "name": "Hall"}),
    (sensor(_Activity, 4, 8, 8, 2, name=b"Hall"), {"type": "low_battery", "sensor": 8}),
    (sensor(_Activity, 4, 3, 10, 1, name=b"Remote"), {"type": "remote_button", "sensor": 3, "action": "arm_home"}),
    (sensor(_Activity, 4, 2, 11, 8, name=b"Keypad"), {"type": "rfid", "sensor": 2, "action": "card_2"}),
    (sensor(_Activity, 4, 6, 12, 0, name=b"Bell"), {"type": "doorbell", "sensor": 6, "source": "doorbell"}),
    (
        notification('[170,[4,[5,"K\u00f6k",1]]]'),
        {"type": "sensor_changed", "sensor": 5, "name": "K\u00f6k", "action": "added"},
    ),
    (notification("[170,[1,[4]]]"), None),
    (alert(3, 9, 1, 254, "Kitchen smoke"), None),  # held for its type, which the next form tells
    (sensor(_Alarm, 3, 9, 4, 254, name=b"Kitchen smoke"), {"type": "alarm", "sensor": 9, "sensor_type": "smoke"}),
    (sensor(_Alarm, 3, 3, 10, 254, name=b"Remote", late=60), {"type": "sos", "sensor": 3}),
    (sensor(_Alarm, 1, 0, 0, 0, name=b"", late=90), {"type": "sos", "source": "panel"}),
]


KNOWN = {"ac_power": True, "battery_low": True, "wifi": True, "firmware": "206", "address": "127.0.0.1"}
NAMES = {2: "Keypad", 3: "Remote", 5: "K\u00f6k", 6: "Bell", 7: "Front door", 8: "Hall", 9: "Kitchen smoke"}


@live
async def test_every_state_sensor_and_event_as_the_contract_says(site: House) -> None:
    site.g90["announce"] = "{}:{}".format(*ANNOUNCED)
    await site.start()
    wanted = [{"type": "panel_online", "source": "bridge"}, *(told for _, told in STEPS if told)]
    async with dialled(("127.0.0.1", site.port)) as panel:
        await panel.send(hello().to_wire() + discovery().to_wire() + peer.G90CloudPingReqMessage(CONTEXT).to_wire(), 5)
        answers = await panel.receive(42 + 44 + 8)
        assert answers[:42] == b"".join(hello().wire_responses(CONTEXT))
        assert peer.G90CloudHelloDiscoveryRespMessage.from_wire(answers[42:86], CONTEXT).port == ANNOUNCED[1]
        assert answers[86:] == PING
        await panel.send(b"".join(message for message, _ in STEPS), 5)
        found = await site.mqtt.wait_all(f"panel/{GUID}/event", len(wanted))
    assert [seen.value["type"] for seen in found] == [each["type"] for each in wanted]
    for seen, each in zip(found, wanted, strict=True):
        told = seen.value
        assert {name: told.get(name) for name in each} == each
        assert told["at"]
        assert not seen.retain
    await site.state("triggered")
    await site.mqtt.holds(f"panel/{GUID}/sensor/9/state", "ON")
    await _topics(site)
    assert await site.arrived(1) == [("AL", "FA", "9", "Kitchen smoke")]
    assert "skipped" not in site.bridge.log


async def _topics(site: House) -> None:
    states = [seen.value for seen in site.mqtt.of(f"panel/{GUID}/state")]
    assert states[-1] == "triggered"
    assert set(states) <= {"armed_home", "armed_away", "triggered"}
    await site.mqtt.holds(f"panel/{GUID}/info", lambda info: KNOWN.items() <= info.items())
    await site.mqtt.holds(f"panel/{GUID}/sensor/7/state", "OFF")
    await site.mqtt.holds(f"panel/{GUID}/sensor/8/info", lambda info: info["tamper"] and info["battery_low"])
    for index in NAMES:
        await site.mqtt.wait(f"panel/{GUID}/sensor/{index}/info")
    held = {topic.removeprefix(f"panel/{GUID}/"): text for topic, text in (await site.retained()).items()}
    assert held["availability"] == "online"
    info = json.loads(held["info"])
    assert {name: info[name] for name in KNOWN} == KNOWN
    assert (info["guid"], info["name"]) == (GUID, "House")
    assert {"connected_since", "last_seen"} <= info.keys()
    assert held["sensor/7/state"] == "OFF"
    assert held["sensor/9/state"] == "ON"
    sensors = {index: json.loads(held[f"sensor/{index}/info"]) for index in NAMES}
    assert {index: each["name"] for index, each in sensors.items()} == NAMES
    assert (sensors[8]["type"], sensors[8]["tamper"], sensors[8]["battery_low"]) == ("motion", True, True)
    assert sensors[9].keys() == {
        *("index", "name", "type", "enabled", "tamper", "battery_low", "open_while_arming", "last_activity")
    }
