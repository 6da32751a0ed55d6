"""Looks whether another node could take over, and reports what is in the way."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.common.problems import Kind, Problems
from bridge.common.text import lasted
from bridge.store.postgres.nodes import Cluster, Member

GRACE_S = 15.0
"""A node that restarts is no problem."""


def report(cluster: Cluster, name: str, digest: str, problems: Problems, unowned: Sequence[int] = ()) -> None:
    """Set the problems of the cluster as node `name` sees it, whose configuration has this digest.

    `unowned` are the shards that nobody has taken for a while.
    """
    text = missing(cluster, name)
    if unowned:
        shards = f"shard{'s' * (len(unowned) > 1)} {', '.join(map(str, unowned))}"
        text = f"no node takes {shards}: start a node, or raise node.shards" + (f"; {text}" if text else "")
    problems.set(Kind.STANDBY_MISSING, text)
    others = configured_otherwise(cluster, name, digest)
    text = f"{_nodes(others)} with another configuration than {name}; make them the same, and restart"
    problems.set(Kind.CONFIGURATION_DIFFERS, text if others else None)


def configured_otherwise(cluster: Cluster, name: str, digest: str) -> list[str]:
    """Return the other nodes that live and have another digest than node `name`."""
    return [each.name for each in cluster.others(name) if each.alive and each.digest != digest]


def missing(cluster: Cluster, name: str) -> str | None:
    """Return why no other node could take over from `name`, or not every one; None if all could."""
    if cluster.stuck_s:
        return (
            f"the database has been waiting for its synchronous standby for {lasted(cluster.stuck_s)}: nothing is"
            " accepted or sent, and no node can take over; start the standby, or take it out of"
            " synchronous_standby_names"
        )
    others = [each for each in cluster.others(name) if each.age_s > GRACE_S or each.broker is False]
    return "; ".join(map(_why, others)) or _full(cluster)


def _full(cluster: Cluster) -> str | None:
    """Return which node has more shards than the others could take over."""
    room = {each.name: each.shards - len(cluster.owned(each.name)) for each in cluster.nodes}
    for name in room if len(room) > 1 else ():
        owned, free = len(cluster.owned(name)), sum(room.values()) - room[name]
        if owned > free:
            shards = f"{owned} shard{'s' * (owned > 1)}"
            return (
                f"node {name} owns {shards}, and the others have room for {free}: raise node.shards, or start"
                " another node"
            )
    return None


def _why(node: Member) -> str:
    if node.age_s <= GRACE_S:
        return f"node {node.name} cannot take over: it does not reach the broker"
    seen = "was stopped" if node.stopped else "was last seen"
    forget = f"start it, or remove it with sosbridge cluster forget {node.name}"
    return f"node {node.name} {seen} at {node.seen_at.astimezone():%Y-%m-%d %H:%M:%S}; {forget}"


def _nodes(names: list[str]) -> str:
    return f"node {names[0]} runs" if len(names) == 1 else f"nodes {', '.join(names)} run"
