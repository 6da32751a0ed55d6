"""The page, the metrics, the report and the health check of a running bridge, while a receiver dies."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest
from support.brokers import Mosquitto, free_port
from support.harness import Site, live


@pytest.fixture
def site(shared_broker: Mosquitto, tmp_path: Path, base: str) -> Site:
    return Site(shared_broker, tmp_path, base)


async def _text(client: aiohttp.ClientSession, path: str) -> str:
    async with client.get(path) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.text()


async def _until(client: aiohttp.ClientSession, path: str, wanted: str) -> str:
    async with asyncio.timeout(30):
        while wanted not in (text := await _text(client, path)):  # noqa: ASYNC110 - metrics are asked for
            await asyncio.sleep(0.1)
    return text


@live
async def test_what_is_on_mqtt_is_on_the_page(site: Site) -> None:
    site.settings["web"] = {"listen": f"127.0.0.1:{free_port()}"}
    await site.start()
    await site.checked()
    async with aiohttp.ClientSession(f"http://{site.settings['web']['listen']}") as client:
        assert (await _text(client, "/")).startswith("<!DOCTYPE html>")
        await site.do("alarm/raise", "BA")
        found = await _until(client, "/metrics", 'sosbridge_alarms_total{outcome="accepted",transmitter="home"} 1.0')
        assert 'sosbridge_receiver_up{receiver="primary",transmitter="home"} 1.0' in found
        assert "sosbridge_exchange_duration_seconds_count 0.0" not in found
        printed = (await site.bridge.command("homeassistant", "dashboard")).stdout
        assert await _text(client, "/dashboard.yaml") == printed
        assert "Burglary" in printed
        assert "Transmission record: home" in await _text(client, "/report/home/2026-11")
        async with client.get("/events") as events:
            line = await events.content.readline()
            whole = json.loads(line.removeprefix(b"data: "))
            assert whole["connected"] is True
            assert whole["transmitters"]["home"]["last_alarm"]["outcome"] == "accepted"
            assert whole["transmitters"]["home"]["days"]
        assert await _text(client, "/healthz?strict") == "ok\n"
        await site.primary.stop()
        await site.do("alarm/raise", "FA")
        await _until(client, "/metrics", 'sosbridge_problem{kind="receiver_down",transmitter="home"} 1.0')
        async with client.get("/healthz?strict") as answer:
            assert answer.status == 503
            assert "receiver_down: home" in await answer.text()
        assert await _text(client, "/healthz") == "ok\n"


@live
async def test_a_port_that_is_taken_does_not_stop_alarms(site: Site) -> None:
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    site.settings["web"] = {"listen": f"127.0.0.1:{port}"}
    await site.start()
    found = await site.mqtt.wait("bridge/problem/info", bool)
    assert [each["kind"] for each in found.value] == ["web_port_taken"]
    assert "Address already in use" in found.value[0]["text"]
    assert (await site.do("alarm/raise", "BA"))["outcome"] == "accepted"
    taken.close()
    await taken.wait_closed()
    await site.mqtt.wait("bridge/problem", lambda value: value == "OFF", after=site.mqtt.mark)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
        assert await _text(client, "/healthz") == "ok\n"
