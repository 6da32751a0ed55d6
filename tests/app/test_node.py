"""A node of a cluster: which shards it leaves to others."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from support import virtual
from support.config import HOME

from bridge.app.node import Node
from bridge.app.ownership import Ownership, Place
from bridge.common.errors import StoreError
from bridge.common.models import Secret
from bridge.config.settings import Settings
from bridge.config.sources import load
from bridge.store.postgres.nodes import Cluster, Member, ShardOwner

SEEN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
A = Member("a", "1", "d", SEEN, SEEN, age_s=0.2, stopped=False, broker=True, shards=1)


def _node(folder: Path, shards: int = 1) -> Node:
    config = folder / "bridge.toml"
    store = f'{{url = "postgresql://db/x", path = "x.db", shards = {shards}}}'
    config.write_text(f'node = {{name = "a"}}\nstore = {store}\n{HOME}')
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


def test_others_know_that_a_node_does_not_reach_the_broker_before_its_shard_is_free(tmp_path: Path) -> None:
    """A shard that has no connection for a moment may be connecting."""

    async def scenario() -> None:
        node = _node(tmp_path)
        loop = asyncio.get_running_loop()
        lost_at = math.inf
        status = SimpleNamespace(broker_away_s=lambda: max(loop.time() - lost_at, 0.0))
        node._bridges = {0: SimpleNamespace(status=status)}  # type: ignore[dict-item]
        watching = asyncio.create_task(node._watch_broker())
        await asyncio.sleep(60)
        lost_at = loop.time()
        found = []
        for _ in range(2):
            await asyncio.sleep(2.4)
            found.append(node._broker)
        lost_at = math.inf
        await asyncio.sleep(1)
        assert [*found, node._broker] == [True, False, True]
        watching.cancel()

    virtual.run(scenario())


class _Notified:
    """Stands for a membership: notifies at its times, and counts the looks."""

    def __init__(self, news: Sequence[tuple[float, str]]) -> None:
        self._began = asyncio.get_running_loop().time()
        self._news = [*news]
        self.looks: list[float] = []

    @property
    def _now(self) -> float:
        return round(asyncio.get_running_loop().time() - self._began, 3)

    async def look(self, *, broker: bool | None) -> Cluster:
        assert broker in (True, None)
        self.looks.append(self._now)
        return Cluster((A,), {0: ShardOwner("b", SEEN, 0.0)})

    async def news(self, within_s: float) -> list[str]:
        at, text = self._news[0] if self._news else (math.inf, "")
        await asyncio.sleep(max(0.001, min(within_s, at - self._now)))  # less is no time to a loop
        if self._now < at:
            return []
        del self._news[0]
        return [text]


@pytest.mark.parametrize(
    ("news", "looks"),
    [
        pytest.param([], [0, 0.5, 1.0], id="each half second"),
        pytest.param([(0.01 * n, f"request {n % 2}") for n in range(100)], [0, 0.5, 1.0], id="requests need none"),
        pytest.param([(0.2, "moves 0 b"), (0.3, "request 0")], [0, 0.2, 0.7], id="a move is looked at, once"),
        pytest.param([(0.2, "news of a later version")], [0, 0.2, 0.7], id="unknown"),
    ],
)
def test_the_cluster_is_looked_at_regularly_and_when_news_is_about_it(
    tmp_path: Path, news: list[tuple[float, str]], looks: list[float]
) -> None:
    async def scenario() -> None:
        node, membership = _node(tmp_path), _Notified(news)
        node._membership = membership  # type: ignore[assignment]
        with suppress(TimeoutError):
            async with asyncio.timeout(1.1), asyncio.TaskGroup() as tasks:
                await node._follow(tasks)
        assert membership.looks == pytest.approx(looks, abs=0.01)

    virtual.run(scenario())


def test_transmitters_are_divided_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for each shard that is taken over: that would grow with shards and transmitters."""
    asked = Mock(side_effect=lambda name, count: int(name[1:]) % count)
    monkeypatch.setattr("bridge.config.shards.shard_of", asked)
    path = tmp_path / "bridge.toml"
    rows = "".join(HOME.replace('"home"', f'"t{n}"').replace("IK1", f"IK{n}") for n in range(8))
    path.write_text(f'node = {{name = "a"}}\nstore = {{url = "postgresql://db/x", path = "x.db", shards = 4}}\n{rows}')
    node, places = Node(load(path), Secret("postgresql://db/x")), []

    async def homes(_: object) -> object:
        return None

    def bridge(settings: Settings, _: object, place: Place) -> None:
        places.append((len(settings.transmitters), len(place.others), len(place.max_ages)))
        raise StoreError("that is enough")

    monkeypatch.setattr("bridge.app.node._homes", homes)
    monkeypatch.setattr("bridge.app.node.Bridge", bridge)

    async def scenario() -> None:
        for shard in range(4):
            ownership = Ownership(None, "a", shard, 5.0, lambda: node._cluster, lambda: True)  # type: ignore[arg-type]
            with pytest.raises(StoreError):
                await node._serve(None, ownership)  # type: ignore[arg-type]

    asyncio.run(scenario())
    assert places == [(2, 6, 8), (2, 6, 0), (2, 6, 0), (2, 6, 0)], "the ages are used by panels, which shard 0 has"
    assert asked.call_count == 8


@pytest.mark.parametrize(
    ("shards", "other", "differs"),
    [
        (2, {"digest": "x"}, True),
        (1, {"digest": "x"}, False),
        (2, {"digest": "x", "stopped": True}, False),
        (2, {}, False),
    ],
)
def test_another_shard_may_have_another_configuration(
    tmp_path: Path, shards: int, other: dict[str, Any], *, differs: bool
) -> None:
    node = _node(tmp_path, shards)
    own = replace(A, digest=node._digest)
    node._cluster = Cluster((own, replace(own, name="b", **other)), {})
    assert node._differs() is differs
