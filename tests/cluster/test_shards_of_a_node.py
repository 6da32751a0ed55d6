"""The shards of a node: what a process has once is shared, and one that takes long to begin is kept."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from bench.kit import Meter, bridge, broker
from support.postgres import PostgresServer

from bridge.app import build, collector
from bridge.app.node import Node
from bridge.common.models import Secret
from bridge.config.sources import load
from bridge.homeassistant.announcer import Announcer
from bridge.transmitters import network

COUNT = 40
BEGINS_EACH_S = 0.1
"""So that the pace decides, however busy the machine is."""
FEW_FILES = 140
LEASE_S = 4
WITHIN_S = 60


@pytest.fixture
def url(postgres: PostgresServer, base: str) -> Iterator[str]:
    yield postgres.create(base)
    postgres.drop(base)


@contextlib.asynccontextmanager
async def _node(url: str, shards: int) -> AsyncIterator[Meter]:
    """Run a node with `COUNT` transmitters in so many shards; return their receiver."""
    with broker() as (running, folder):
        async with Meter().listening() as meter:
            config = bridge(folder, running.port, meter.port, [f"t{number}" for number in range(COUNT)]).config
            text = config.read_text().replace("use_single", 'heartbeat = "180s"\nuse_single')
            store = f'store = {{url = "{url}", lease = "{LEASE_S}s", shards = {shards}, '
            config.write_text(text.replace("store = {", store))
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(Node(load(config), Secret(url)).run(stop), name="node")
                yield meter
                stop.set()


def test_the_first_heartbeats_of_all_shards_go_out_at_one_pace(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_BEGIN_EACH_S", BEGINS_EACH_S)

    async def took() -> float:
        async with _node(url, 4) as meter:
            await meter.heard(bool, WITHIN_S)
            began = time.monotonic()
            await meter.heard(lambda found: len(found) == COUNT, WITHIN_S)
            return time.monotonic() - began

    assert asyncio.run(took()) > 0.75 * COUNT * BEGINS_EACH_S, "the shards began side by side"


def test_the_transmitters_of_all_shards_count(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "_MANY", COUNT)

    async def counted() -> tuple[int, int]:
        async with _node(url, 4) as meter:
            await meter.heard(lambda found: len(found) == COUNT, WITHIN_S)
            return gc.get_freeze_count(), resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW_FILES, most))
    try:
        frozen, reserved = asyncio.run(counted())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
    assert frozen, "each shard has few transmitters, the process many"
    assert reserved > 4 * COUNT, "connections for the transmitters of every shard"


def _slow(call: Callable[..., object], seconds: float) -> Callable[..., object]:
    def slow(*args: object) -> object:
        time.sleep(seconds)
        return call(*args)

    return slow


@pytest.mark.parametrize(
    ("where", "what", "seconds"),
    [(build, "line", (LEASE_S + 1) / COUNT), (Announcer, "announce_transmitter", (LEASE_S + 1) / COUNT)],
    ids=["to build", "to announce"],
)
def test_a_shard_is_kept_whose_transmitters_take_longer_than_the_lease(
    url: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    where: object,
    what: str,
    seconds: float,
) -> None:
    monkeypatch.setattr(where, what, _slow(getattr(where, what), seconds))

    async def begin() -> None:
        async with _node(url, 1) as meter:
            await meter.heard(lambda found: len(found) == COUNT, WITHIN_S)

    asyncio.run(begin())
    assert "ended the session" not in caplog.text
