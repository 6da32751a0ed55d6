"""The shipped flow in a real Node-RED: an alarm to the receiver and back, a panel's state, another way out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from ecosystem.nodered import NodeRed
from support.brokers import Mosquitto, free_port
from support.harness import live
from support.house import House, Simulated

from bridge.g90.wire.constants import ArmCode

FLOWS = Path(__file__).parents[2] / "deploy" / "node-red" / "flows.json"


@pytest.fixture
def site(tmp_path: Path) -> House:
    return House(Mosquitto(tmp_path), tmp_path, "sosbridge")


def flows(mqtt_port: int, gateway: int) -> list[dict[str, Any]]:
    """Return the flow as shipped, with the broker and the gateway of the tests."""
    found: list[dict[str, Any]] = json.loads(FLOWS.read_text("utf-8"))
    for node in found:
        if node["type"] == "mqtt-broker":
            node |= {"broker": "127.0.0.1", "port": str(mqtt_port)}
        elif node["type"] == "http request":
            node["url"] = f"http://127.0.0.1:{gateway}/message"
    return found


@asynccontextmanager
async def listening(port: int, got: asyncio.Queue[bytes]) -> AsyncIterator[None]:
    """Stand in for a text message gateway: keep what is posted."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        got.put_nowait(await reader.readexactly(length))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", port):
        yield


@live
async def test_the_flow(site: House) -> None:
    site.stack.enter_context(site.broker)
    gateway, posted = free_port(), asyncio.Queue[bytes]()
    await site.stack.enter_async_context(listening(gateway, posted))
    await site.start()
    panel = await site.panel()
    async with NodeRed(site.folder / "node-red") as node_red:
        await node_red.deploy(flows(site.broker.port, gateway))
        await _used(site, panel, node_red, posted)
    await site.primary.start()
    await site.arrived(3)
    await site.primary.stop()
    # While it was away; it goes on with what was deployed.
    mark = site.mqtt.mark
    await site.send("alarm/raise", "PA")
    await site.mqtt.wait("transmitter/home/undelivered", lambda told: told["event_code"] == "PA", after=mark)
    async with NodeRed(site.folder / "node-red"):
        assert (await _told(posted)).startswith("Alarm PA has not reached the operator: ")


async def _told(posted: asyncio.Queue[bytes]) -> str:
    async with asyncio.timeout(60):
        return str(json.loads(await posted.get())["message"])


async def _used(site: House, panel: Simulated, node_red: NodeRed, posted: asyncio.Queue[bytes]) -> None:
    await node_red.press("sosbridge.raise")
    assert (await site.arrived(1))[0] == ("AL", "BA", "1", "Test button")
    await node_red.shows("result", '"outcome":"accepted"', '"request":"alarm"', "correlationData")
    await node_red.press("sosbridge.restore")
    assert (await site.arrived(2))[1] == ("RE", "BA", "1", "Test button")
    await node_red.shows("result", '"outcome":"accepted"', '"request":"restore"')
    await panel.arm(ArmCode.ARMED_AWAY)
    await node_red.shows("panel", "armed_away")

    for receiver in (site.primary, site.secondary):
        await receiver.stop()
    await node_red.press("sosbridge.raise")
    message = await _told(posted)
    assert message.startswith("Alarm BA (Node-RED, Test button) has not reached the operator: "), message
    await node_red.shows("undelivered", "has not reached the operator")
