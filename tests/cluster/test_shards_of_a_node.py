"""Four shards of one node: what a process has once is shared by all of their transmitters."""

from __future__ import annotations

import asyncio
import gc
import resource

import pytest
from bench.kit import Meter, bridge, broker
from support.postgres import PostgresServer

from bridge.app import collector
from bridge.app.node import Node
from bridge.common.models import Secret
from bridge.config.sources import load
from bridge.transmitters import network

COUNT, SHARDS = 40, 4
BEGINS_EACH_S = 0.1
"""So that the pace decides, however busy the machine is."""
FEW_FILES = 140
WITHIN_S = 60


def test_the_first_heartbeats_of_all_shards_of_a_node_go_out_at_one_pace_and_all_are_counted(
    postgres: PostgresServer, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "_BEGIN_EACH_S", BEGINS_EACH_S)
    monkeypatch.setattr(collector, "_MANY", COUNT)
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW_FILES, most))
    try:
        took, frozen, reserved = asyncio.run(_first_heartbeats(postgres.create(base)))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
        postgres.drop(base)
    assert took > 0.75 * COUNT * BEGINS_EACH_S, "the shards began side by side"
    assert frozen, "each shard has few transmitters, the process many"
    assert reserved > 4 * COUNT, "connections for the transmitters of every shard"


async def _first_heartbeats(url: str) -> tuple[float, int, int]:
    """Return the seconds from the first heartbeat to that of the last transmitter.

    With it what the garbage collector leaves alone by then, and how many files the process may open.
    """
    with broker() as (running, folder):
        async with Meter().listening() as meter:
            config = bridge(folder, running.port, meter.port, [f"t{number}" for number in range(COUNT)]).config
            text = config.read_text().replace("use_single", 'heartbeat = "180s"\nuse_single')
            config.write_text(text.replace("store = {", f'store = {{url = "{url}", shards = {SHARDS}, '))
            stop, loop = asyncio.Event(), asyncio.get_running_loop()
            node = asyncio.create_task(Node(load(config), Secret(url)).run(stop), name="node")
            await meter.heard(bool, WITHIN_S)
            began = loop.time()
            await meter.heard(lambda found: len(found) == COUNT, WITHIN_S)
            found = loop.time() - began, gc.get_freeze_count(), resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            stop.set()
            await node
            return found
