"""The demo's simulated panel and its configuration: reports over TCP, commands over UDP, smoke forwarded as FA."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bridge.g90.simulator import PanelSimulator, SimulatedSensor
from bridge.g90.wire.constants import SensorType

GUID = "GBDEMO000000001"
_SMOKE = 9


class DemoPanel:
    """A panel with a smoke sensor. `cloud`: where the bridge listens; `local`: where the panel takes commands."""

    def __init__(self, cloud: tuple[str, int], local: tuple[str, int]) -> None:
        self._cloud = cloud
        self._local = local
        sensors = [SimulatedSensor(_SMOKE, "Kitchen smoke", SensorType.SMOKE), SimulatedSensor(7, "Front door")]
        self._simulator = PanelSimulator(GUID, cloud=cloud, local=local, sensors=sensors)

    @property
    def settings(self) -> dict[str, object]:
        """Return the tables of the bridge's configuration."""
        panel = {"guid": GUID, "name": "House", "control": "local", "host": "{}:{}".format(*self._local)}
        rule = {"event": "alarm", "sensor_type": "smoke", "transmitter": "home", "event_code": "FA"}
        return {
            "g90": {"listen": "{}:{}".format(*self._cloud), "panels": [panel]},
            "forward": [{**rule, "panel": GUID, "restore_on": "disarmed"}],
        }

    @asynccontextmanager
    async def living(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._simulator.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait((task,))

    async def smoke(self) -> None:
        """Trigger the smoke sensor."""
        await self._simulator.alarm(_SMOKE)
