"""The vendor's cloud behind the bridge, away and back, with the panel's life on MQTT all the while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from support.brokers import free_port
from support.harness import live
from support.house import DOOR, GUID, House, Simulated
from support.recorder import WAIT_S

from bridge.g90.wire.constants import ArmCode
from bridge.g90.wire.frames import FrameBuffer
from bridge.g90.wire.messages import HelloInfo, answer_hello

VENDORS_PORT = 9999


class Vendor:
    """A cloud that answers whatever comes with its own hello."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self._writers: set[asyncio.StreamWriter] = set()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        frames = FrameBuffer()
        try:
            while data := await reader.read(4096):
                self.heard += data
                frames.feed(data)
                while frames.take():
                    writer.write(answer_hello(VENDORS_PORT))
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def vendor(port: int) -> AsyncIterator[Vendor]:
    cloud = Vendor()
    server = await asyncio.start_server(cloud.take, "127.0.0.1", port)
    try:
        yield cloud
    finally:
        server.close()
        cloud.hang_up()
        await asyncio.sleep(0)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not holds():  # noqa: ASYNC110 - the simulated panel has no event
            await asyncio.sleep(0.01)


async def answered(panel: Simulated, site: House) -> None:
    """Whoever answers, the panel sees our port."""
    panel.received.clear()
    await until(lambda: HelloInfo(site.port) in panel.received)
    assert HelloInfo(VENDORS_PORT) not in panel.received


@live
async def test_the_vendors_cloud_answers_while_it_is_there_and_we_while_it_is_not(site: House) -> None:
    port = free_port()
    site.g90["upstream"] = f"127.0.0.1:{port}"
    site.controlled(control="cloud")
    await site.start()
    panel = await site.panel(interval=0.1)
    await answered(panel, site)
    async with vendor(port) as cloud:
        await site.mqtt.wait(f"panel/{GUID}/info", lambda info: info.get("upstream_connected"))
        await answered(panel, site)
        await panel.activity(DOOR)
        await site.told("door_opened")
        await until(lambda: b"Front door" in cloud.heard)
        assert GUID.encode() in cloud.heard
        # A command of ours finds its way between the cloud's messages.
        assert await site.outcome("ARM_AWAY") == "done"
        await site.state("armed_away")
    mark = site.mqtt.mark
    await answered(panel, site)
    await panel.arm(ArmCode.DISARMED)
    await site.state("disarmed")
    async with vendor(port) as cloud:
        await site.mqtt.wait(f"panel/{GUID}/info", lambda info: info.get("upstream_connected"), after=mark)
        await until(lambda: GUID.encode() in cloud.heard)
        await answered(panel, site)
    assert site.events() == ["panel_online", "door_opened", "armed_away", "disarmed"]
