"""A node of a cluster: which shards it leaves to others."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

from support import virtual
from support.config import HOME

from bridge.app.node import Node
from bridge.common.models import Secret
from bridge.config.sources import load
from bridge.store.postgres.nodes import Cluster, Member

SEEN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
A = Member("a", "1", "d", SEEN, SEEN, age_s=0.2, stopped=False, broker=True, shards=1)


def _node(folder: Path) -> Node:
    config = folder / "bridge.toml"
    config.write_text(f'node = {{name = "a"}}\nstore = {{url = "postgresql://db/x", path = "x.db"}}\n{HOME}')
    return Node(load(config), Secret("postgresql://db/x"))


def test_a_shard_that_is_moved_is_taken_by_that_node(tmp_path: Path) -> None:
    """Also if it was moved to another one a moment before."""

    async def scenario() -> None:
        node = _node(tmp_path)
        node._cluster, node._broker = Cluster((A, replace(A, name="b")), {}), True
        node._unowned()
        found = []
        for to in ("a", "b", "a"):
            node._heard(f"moves 0 {to}")
            found.append(node._may_take(0))
        assert found == [True, False, True]

    virtual.run(scenario())


def test_a_node_reaches_the_broker_while_its_shards_connect(tmp_path: Path) -> None:
    """The first look at a shard without a connection is forgiven: it may be connecting."""

    async def scenario() -> None:
        node = _node(tmp_path)
        away_s = 0.0
        status = SimpleNamespace(online=lambda: False, broker_away_s=lambda: away_s)
        node._bridges = {0: SimpleNamespace(status=status)}  # type: ignore[dict-item]
        watching = asyncio.create_task(node._watch_broker())
        await asyncio.sleep(60)
        assert node._broker
        away_s = 1.0
        await asyncio.sleep(15)
        assert node._broker is False
        watching.cancel()

    virtual.run(scenario())
