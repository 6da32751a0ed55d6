"""The published pyg90alarm as a peer: its bytes to our server, our bytes to its server, its commands to our panel."""

# ruff: noqa: ANN401 - settings, peers and parsed arguments of any type go through here
from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from pyg90alarm import G90Alarm
from pyg90alarm.cloud import G90CloudNotifications
from pyg90alarm.cloud import messages as peer
from pyg90alarm.cloud.protocol import G90CloudMessageContext
from pyg90alarm.const import G90ArmDisarmTypes
from pyg90alarm.notifications.protocol import G90NotificationProtocol
from support.g90 import GUID, NEW_YEAR, PATIENCE, PING, Recorder, cloud_control, dialled, run, serving

from bridge.g90.simulator import PanelSimulator, SimulatedSensor
from bridge.g90.wire.constants import ArmCode, SensorCode, SensorType, Source, StateCode
from bridge.g90.wire.messages import answer_discovery, answer_hello

CONTEXT = G90CloudMessageContext(
    device_id=GUID,
    local_ip="192.0.2.10",
    local_port=5678,
    cloud_ip="192.0.2.10",
    cloud_port=5678,
    upstream_host=None,
    upstream_port=None,
    remote_host="127.0.0.1",
    remote_port=1,
)
SENSORS = (
    SimulatedSensor(7, "Front door"),
    SimulatedSensor(9, "Kitchen smoke", SensorType.SMOKE),
    *(SimulatedSensor(20 + n, f"Hall {n}", SensorType.MOTION) for n in range(12)),
)


def hello() -> Any:
    flags = (0x2000BA58, 0x30, 0, 7, 30, 30)
    build: Any = peer.G90CloudHelloReqMessage
    return build(CONTEXT, GUID.encode(), 1, 0, 2, 0x7000, b"206", *flags)


def discovery() -> Any:
    flags = (0x05050505, 0x06060030, 0x07070707)
    build: Any = peer.G90CloudHelloDiscoveryReqMessage
    return build(CONTEXT, GUID.encode(), 0, 0, 1, 0x7000, b"206", *flags)


def sensor(kind: Any, *numbers: int, name: bytes) -> bytes:
    built: bytes = kind(CONTEXT, *numbers, name, NEW_YEAR).to_wire()
    return built


def state(value: int) -> bytes:
    build: Any = peer.G90CloudStatusChangeReqMessage
    built: bytes = build(CONTEXT, 2, value, NEW_YEAR).to_wire()
    return built


def notification(text: bytes) -> bytes:
    message = peer.G90CloudNotificationMessage(CONTEXT)
    message.header.message_length += len(text) + 1
    return message.to_wire() + text + b"\0"


def test_its_answers_are_ours_byte_for_byte() -> None:
    assert b"".join(hello().wire_responses(CONTEXT)) == answer_hello(5678)
    (theirs,) = discovery().wire_responses(CONTEXT)
    assert theirs == answer_discovery("192.0.2.10", 5678, int.from_bytes(theirs[-4:], "little"))


def test_a_panel_of_its_bytes_in_pieces_of_five(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bridge.g90")
    alarm, activity = peer.G90CloudStatusChangeAlarmReqMessage, peer.G90CloudStatusChangeSensorReqMessage
    stream = [
        hello().to_wire(),
        discovery().to_wire(),
        state(1),
        state(4),
        notification(b"[170,[1,[1]]]"),
        sensor(activity, 4, 7, 1, 1, name=b"Front door"),
        notification(b'[170,[5,[7,"Front door"]]]'),
        sensor(activity, 4, 7, 1, 0, name=b"Front door"),
        notification(b'[208,[3,9,1,254,"Kitchen smoke","%b",%d,0,[""]]]' % (GUID.encode(), NEW_YEAR)),
        sensor(alarm, 3, 9, 4, 254, name=b"Kitchen smoke"),
        sensor(alarm, 3, 4, 10, 254, name=b"Remote"),
        notification(b'[170,[4,[3,"New",1]]]'),
        peer.G90CloudPingReqMessage(CONTEXT).to_wire(),
    ]
    told = ["panel_online", "ac_power_lost", "armed_away", "door_opened", "door_closed", "alarm", "sos"]

    async def scenario() -> None:
        recorder = Recorder()
        announced = ("192.0.2.10", 5678)
        async with serving(recorder, announce=announced) as server, dialled(server.address) as panel:
            await panel.send(b"".join(stream), 5)
            answers = await panel.receive(42 + 44 + 8)
            assert answers[:42] == b"".join(hello().wire_responses(CONTEXT))
            assert peer.G90CloudHelloDiscoveryRespMessage.from_wire(answers[42:86], CONTEXT).port == 5678
            assert answers[86:] == PING
            assert recorder.types() == [*told, "sensor_changed"]
            found = recorder.states[GUID]
            assert (found.state, found.link.firmware, found.hardware.ac_power) == ("triggered", "206", False)
            assert {i: (s.name, s.on) for i, s in found.sensors.items()} == {
                7: ("Front door", False),
                9: ("Kitchen smoke", True),
                4: ("Remote", False),
                3: ("New", False),
            }

    run(scenario())
    assert ": skipped " not in caplog.text


class Notified(G90NotificationProtocol):
    """What its server hears from our panel."""

    def __init__(self) -> None:
        self.calls: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()

    async def on_armdisarm(self, state: Any) -> None:
        self.calls.put_nowait(("arm", state))

    async def on_alarm(self, event_id: int, zone_name: str, is_tampered: bool) -> None:  # noqa: FBT001 - the peer's
        self.calls.put_nowait(("alarm", event_id, zone_name, is_tampered))

    async def on_door_open_close(self, event_id: int, zone_name: str, is_open: bool) -> None:  # noqa: FBT001 - as above
        self.calls.put_nowait(("door", event_id, zone_name, is_open))


def test_its_server_understands_our_panel() -> None:
    async def scenario() -> None:
        told = Notified()
        cloud = G90CloudNotifications(lambda: told, "127.0.0.1", 0, "127.0.0.1", 5678)
        await cloud.listen()
        assert cloud._server is not None
        simulator = PanelSimulator(GUID, cloud=cloud._server.sockets[0].getsockname()[:2], sensors=SENSORS)
        task = asyncio.create_task(simulator.run())
        wanted = [
            ("arm", G90ArmDisarmTypes.ARM_AWAY),
            ("door", 7, "Front door", True),
            ("alarm", 9, "Kitchen smoke", False),
        ]
        try:
            async with asyncio.timeout(PATIENCE):
                await simulator.answered.wait()
                await simulator.arm(ArmCode.ARMED_AWAY)
                await simulator.activity(7)
                await simulator.alarm(9)
                heard: set[tuple[Any, ...]] = set()
                while not heard >= set(wanted):
                    heard.add(await told.calls.get())
                assert cloud.device_id == GUID
        finally:
            task.cancel()
            await asyncio.wait([task])
            await cloud.close()

    run(scenario())


def test_its_commands_are_obeyed_by_our_panel() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        async with serving(recorder) as server:
            simulator = PanelSimulator(GUID, cloud=("127.0.0.1", 1), local=("127.0.0.1", 0), sensors=SENSORS)
            task = asyncio.create_task(simulator.run())
            try:
                async with asyncio.timeout(PATIENCE):
                    await simulator.listening.wait()
                    assert simulator.local is not None
                    alarm = G90Alarm(*simulator.local)
                    assert (await alarm.get_host_info()).host_guid == GUID
                    assert [s.name for s in await alarm.get_sensors()] == [s.name for s in SENSORS]
                    await alarm.arm_away()
                    assert (await alarm.get_host_status()).host_status == G90ArmDisarmTypes.ARM_AWAY
                    await alarm.set_cloud_server_address(cloud_ip="127.0.0.1", cloud_port=server.address[1])
                    await recorder.told("panel_online")
                    await alarm.disarm()
                    await recorder.told("disarmed")
            finally:
                task.cancel()
                await asyncio.wait([task])

    run(scenario())


@pytest.mark.parametrize("way", [{"chop": 3}, {"glue": True}, {"chop": 7, "glue": True}])
def test_our_panel_in_pieces_or_glued_tells_everything_once(way: dict[str, Any]) -> None:
    async def scenario() -> None:
        recorder = Recorder()
        async with serving(recorder) as server:
            simulator = PanelSimulator(GUID, cloud=server.address, sensors=SENSORS, **way)
            task = asyncio.create_task(simulator.run())
            try:
                await recorder.told("panel_online")
                await simulator.arm(ArmCode.ARMED_HOME)
                await simulator.activity(7)
                await simulator.activity(7, SensorCode.CLOSED)
                await simulator.activity(20, 0, Source.INFRARED)
                await simulator.alarm(9)
                await simulator.sos()
                await simulator.panel_state(StateCode.AC_POWER_LOST)
                await cloud_control(server, GUID).disarm()
                await recorder.told("disarmed")
                assert (await cloud_control(server, GUID).status()).arm is ArmCode.DISARMED
                assert len(await cloud_control(server, GUID).sensors()) == len(SENSORS)
                assert recorder.types() == [
                    "panel_online",
                    "armed_home",
                    "door_opened",
                    "door_closed",
                    "sensor_activity",
                    "alarm",
                    "sos",
                    "ac_power_lost",
                    "disarmed",
                ]
            finally:
                task.cancel()
                await asyncio.wait([task])

    run(scenario())
