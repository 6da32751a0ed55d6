"""What is in the way of a take-over, in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bridge.app.standby_check import missing, report
from bridge.common.problems import Kind, Problems
from bridge.store.postgres.nodes import Cluster, Member, ShardOwner

SEEN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
A = Member("a", "1", "d", SEEN, SEEN, age_s=0.2, stopped=False, broker=True, shards=1)
B = replace(A, name="b")


def _cluster(*nodes: Member, waits_s: float = 0.0) -> Cluster:
    return Cluster(nodes, {0: ShardOwner("a", SEEN, waits_s)})


@pytest.mark.parametrize(
    ("cluster", "text"),
    [
        (_cluster(A), None),
        (_cluster(A, B), None),
        (_cluster(A, replace(B, broker=None)), None),
        (_cluster(A, replace(B, age_s=14.0)), None),
        (_cluster(A, replace(B, age_s=16.0)), "node b was last seen at 2026-03-01"),
        (_cluster(A, replace(B, age_s=16.0, stopped=True)), "node b was stopped at 2026-03-01"),
        (_cluster(A, replace(B, broker=False)), "node b cannot take over: it does not reach the broker"),
        (_cluster(A, B, waits_s=2.5), "the database has been waiting for its synchronous standby for 2 s"),
        (_cluster(A, B, waits_s=1.0), None),
    ],
)
def test_what_is_missing(cluster: Cluster, text: str | None) -> None:
    found = missing(cluster, "a")
    assert found is None if text is None else (found or "").startswith(text)


def test_a_node_that_is_gone_can_be_removed() -> None:
    assert "sosbridge cluster forget b" in (missing(_cluster(A, replace(B, age_s=99.0)), "a") or "")


def test_a_shard_that_nobody_takes() -> None:
    problems = Problems()
    report(_cluster(A, B), "a", "d", problems, [1, 3])
    found = problems.get(Kind.STANDBY_MISSING)
    assert found is not None
    assert found.text == "no node takes shards 1, 3: start a node, or raise node.shards"


@pytest.mark.parametrize(
    ("owners", "most", "text"),
    [
        ("ab", 2, None),
        ("ab", 1, "node a owns 1 shard, and the others have room for 0: raise node.shards, or start another node"),
        ("aab", 2, "node a owns 2 shards, and the others have room for 1: raise node.shards, or start another node"),
        ("aabc", 2, None),
    ],
)
def test_the_others_have_room_for_the_shards_of_each(owners: str, most: int, text: str | None) -> None:
    nodes = tuple(replace(A, name=name, shards=most) for name in sorted({*owners}))
    found = Cluster(nodes, {shard: ShardOwner(name, SEEN, 0.0) for shard, name in enumerate(owners)})
    assert missing(found, "a") == text
    assert missing(found, nodes[-1].name) == text, "each node sees it"


def test_configurations_are_compared_with_nodes_that_live() -> None:
    problems = Problems()
    report(_cluster(A, replace(B, digest="e")), "a", "d", problems)
    found = problems.get(Kind.CONFIGURATION_DIFFERS)
    assert found is not None
    assert found.text == "node b runs with another configuration than a; make them the same, and restart"
    report(_cluster(A, replace(B, digest="e", stopped=True)), "a", "d", problems)
    assert problems.get(Kind.CONFIGURATION_DIFFERS) is None


def test_who_can_take_over() -> None:
    others = (
        B,
        replace(B, name="c", stopped=True),
        replace(B, name="d", broker=False),
        replace(B, name="e", age_s=4.0),
        replace(B, name="f", shards=2),
    )
    owners = {shard: ShardOwner(node, SEEN, 0.0) for shard, node in enumerate("affb")}
    assert [each.name for each in Cluster((A, *others), {0: owners[0], 1: owners[1]}).successors("a")] == ["b", "f"]
    assert Cluster((A, *others), owners).successors("a") == [], "b and f take no more"
    assert [each.name for each in _cluster(A, *others).heirs("a")] == ["b", "d", "e", "f"], "in doubt the will says it"
