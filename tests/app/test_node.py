"""A node of a cluster: which shards it leaves to others."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from support import virtual
from support.config import HOME

from bridge.app.node import Node
from bridge.common.models import Secret
from bridge.config.sources import load
from bridge.store.postgres.nodes import Cluster, Member

SEEN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
A = Member("a", "1", "d", SEEN, SEEN, age_s=0.2, stopped=False, broker=True, shards=1)


def test_a_shard_that_is_moved_is_taken_by_that_node(tmp_path: Path) -> None:
    """Also if it was moved to another one a moment before."""
    config = tmp_path / "bridge.toml"
    config.write_text(f'node = {{name = "a"}}\nstore = {{url = "postgresql://db/x", path = "x.db"}}\n{HOME}')

    async def scenario() -> None:
        node = Node(load(config), Secret("postgresql://db/x"))
        node._cluster, node._broker = Cluster((A, replace(A, name="b")), {}), True
        node._unowned()
        found = []
        for to in ("a", "b", "a"):
            node._heard(f"moves 0 {to}")
            found.append(node._may_take(0))
        assert found == [True, False, True]

    virtual.run(scenario())
