"""A house with panels: the site of the integration tests, and simulated panels that dial its bridge."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from support.brokers import Mosquitto, free_port
from support.harness import Site
from support.recorder import WAIT_S, Seen, connect

from bridge.g90.simulator import PanelSimulator, SimulatedSensor
from bridge.g90.wire.constants import AlertType, SensorCode, SensorType
from bridge.g90.wire.messages import build_report

GUID = "GB7F20C14D05A91"
OTHER = "GB7F20C14D05A92"
DOOR, MOTION, SMOKE, UPSTAIRS = 7, 8, 9, 10
SENSORS = (
    SimulatedSensor(DOOR, "Front door"),
    SimulatedSensor(MOTION, "Hall", SensorType.MOTION),
    SimulatedSensor(SMOKE, "Kitchen smoke", SensorType.SMOKE),
    SimulatedSensor(UPSTAIRS, "Upstairs smoke", SensorType.SMOKE),
)
FIRE = {
    "event": "alarm",
    "sensor_type": "smoke",
    "transmitter": "home",
    "event_code": "FA",
    "restore_on": "disarmed",
}


class Simulated(PanelSimulator):
    """A simulated panel that can be held back: `asked` are the codes of the commands that it got."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - the simulator's
        super().__init__(*args, **kwargs)
        self.asked: list[int] = []
        self.says = asyncio.Event()
        """Cleared, the panel arms and does not say so."""
        self.says.set()

    async def _do(self, code: int, request: object) -> list[object] | None:
        self.asked.append(code)
        return await super()._do(code, request)

    async def _after_local(self, request: bytes) -> None:
        await self.says.wait()
        await super()._after_local(request)

    async def half_an_alarm(self, index: int, *, as_json: bool) -> None:
        """Tell an alarm in one of its two forms, with a time that both have."""
        alert = self._alert(AlertType.ALARM, index, SensorCode.ALARM)
        await self.send([build_report(alert, as_json=as_json)])


@asynccontextmanager
async def living(simulator: PanelSimulator) -> AsyncIterator[None]:
    """Let a simulated panel live for a while."""
    task = asyncio.create_task(simulator.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled():
        await task


class House(Site):
    """A site whose bridge listens to panels; `codes` are those that nobody may read."""

    def __init__(self, broker: Mosquitto, folder: Path, base: str) -> None:
        super().__init__(broker, folder, base)
        self.port = free_port()
        self.codes: set[str] = set()
        self.simulators: dict[str, Simulated] = {}

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.settings["g90"] = {"listen": f"127.0.0.1:{self.port}", "panels": [{"guid": GUID, "name": "House"}]}
        self.settings["forward"] = [dict(FIRE)]
        return self

    def _check(self) -> None:
        super()._check()
        for code in self.codes:
            assert code not in self.bridge.log
            assert not [seen for seen in self.mqtt.seen if code in seen.payload and not seen.topic.endswith("/set")]

    async def retained(self) -> dict[str, str]:
        """Return what the broker holds below the base topic.

        All of it with QoS 0: of QoS 1 a broker sends twenty before it waits for acknowledgements, and the end goes by.
        """
        end = f"end/{uuid.uuid4().hex}"
        found: dict[str, str] = {}
        async with asyncio.timeout(WAIT_S), connect(self.broker.port) as client:
            for topic in (end, f"{self.base}/#"):
                await client.subscribe(topic)
            await client.publish(end, b"")
            async for message in client.messages:
                if message.topic.value == end:
                    break
                if message.retain:
                    found[message.topic.value.removeprefix(f"{self.base}/")] = bytes(message.payload).decode()
        return found

    @property
    def g90(self) -> dict[str, Any]:
        table: dict[str, Any] = self.settings["g90"]
        return table

    def controlled(self, guid: str = GUID, control: str = "local", **settings: Any) -> tuple[str, int]:  # noqa: ANN401
        """Give a panel a control path; return where it is to answer."""
        local = ("127.0.0.1", free_port())
        table = {"guid": guid, "control": control, **settings}
        if control == "local":
            table["host"] = f"127.0.0.1:{local[1]}"
        self.g90["panels"] = [each for each in self.g90["panels"] if each["guid"] != guid] + [table]
        return local

    async def panel(self, guid: str = GUID, **options: Any) -> Simulated:  # noqa: ANN401 - the simulator's
        """Let a panel dial the bridge; return when the bridge says that it is online."""
        simulator = self.simulated(guid, **options)
        await self.enter(simulator)
        return simulator

    def simulated(self, guid: str = GUID, **options: Any) -> Simulated:  # noqa: ANN401 - the simulator's
        given = {"cloud": ("127.0.0.1", self.port), "sensors": SENSORS, **options}
        return Simulated(guid, **given)

    async def enter(self, simulator: Simulated) -> None:
        self.simulators[simulator.guid] = simulator
        await self.stack.enter_async_context(living(simulator))
        await self.mqtt.holds(f"panel/{simulator.guid}/availability", "online")
        await self._dialled(simulator.guid)
        if simulator.local:
            await self.learnt(simulator)

    async def _dialled(self, guid: str) -> None:
        """Wait for the panel's own connection: one that was only read is online as well, and cannot report."""
        simulator = self.simulators[guid]
        if simulator.cloud:
            async with asyncio.timeout(WAIT_S):
                await simulator.answered.wait()

    async def learnt(self, simulator: Simulated, after: int = 0) -> None:
        """Wait until the bridge has read what the panel tells of itself."""
        topic = f"panel/{simulator.guid}/info"
        await self.mqtt.wait(topic, lambda info: "battery_mv" in info, after=after)
        for index in simulator.sensors:
            await self.mqtt.wait(f"panel/{simulator.guid}/sensor/{index}/info")

    async def back(self, guid: str = GUID) -> None:
        """Kill the bridge, start it again, and wait until the panel has dialled it."""
        self.bridge.kill()
        await self.resumed(guid)

    async def resumed(self, guid: str = GUID) -> None:
        """Start the bridge again and wait until the panel has dialled it."""
        topic = f"panel/{guid}/info"
        before = json.loads((await self.retained())[topic])["connected_since"]
        mark = self.mqtt.mark
        await self.start()
        await self.mqtt.wait(topic, lambda info: info.get("connected_since", before) != before, after=mark)
        await self._dialled(guid)

    async def state(self, wanted: str, guid: str = GUID) -> None:
        await self.mqtt.holds(f"panel/{guid}/state", wanted)

    async def told(self, kind: str, guid: str = GUID, after: int = 0) -> dict[str, Any]:
        """Wait for an event of a panel and return it."""
        seen = await self.mqtt.wait(f"panel/{guid}/event", lambda value: value["type"] == kind, after=after)
        assert not seen.retain
        event: dict[str, Any] = seen.value
        return event

    def events(self, guid: str = GUID, after: int = 0) -> list[str]:
        return [seen.value["type"] for seen in self.mqtt.of(f"panel/{guid}/event", after)]

    def of_panels(self, after: int) -> list[Seen]:
        """Return all that was published about panels, without commands."""
        seen = self.mqtt.seen[after:]
        return [each for each in seen if each.topic.startswith("panel/") and not each.topic.endswith("/set")]

    async def command(self, payload: object, guid: str = GUID, within: float = WAIT_S) -> dict[str, Any]:
        """Command a panel over MQTT and return the response."""
        mark = self.mqtt.mark
        text = payload if isinstance(payload, str) else json.dumps(payload)
        await self.mqtt.publish(f"panel/{guid}/set", text)
        seen = await self.mqtt.wait(f"panel/{guid}/set/response", after=mark, within=within)
        assert seen.retain
        response: dict[str, Any] = seen.value
        return response

    async def outcome(self, payload: object, guid: str = GUID, within: float = WAIT_S) -> str:
        response = await self.command(payload, guid, within)
        return str(response["outcome"])

    async def arrived(self, count: int) -> list[tuple[str, str, str | None, str | None]]:
        """Wait until receivers have so many alarms; return each one's type, event code, detector and its text."""
        async with asyncio.timeout(WAIT_S):
            while len(self.alarms) < count:  # noqa: ASYNC110 - a receiver has no event
                await asyncio.sleep(0.01)
        return [(each.alarm_type, each.event_code, each.detector, each.detector_text) for each in self.alarms]

    @property
    def alarms(self) -> list[Any]:
        """Return the alarms and restores that a receiver has accepted as new, in order."""
        found = [each for each in self.arrivals if each.kind in ("alarm", "restore") and each.status == 0]
        return [each.request for each in found]
