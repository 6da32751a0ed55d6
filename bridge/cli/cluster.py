"""`sosbridge cluster`: who owns what, which nodes live, what is in the way of a take-over."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bridge.cli.findings import print_findings
from bridge.common.errors import BridgeError, ConfigError
from bridge.common.extras import require
from bridge.common.models import Secret
from bridge.common.text import counted, lasted, timestamp
from bridge.config.settings import Settings
from bridge.config.shards import digest

if TYPE_CHECKING:
    from bridge.store.postgres.nodes import Cluster, Member, ShardOwner

Row = tuple[str, str, str, str]
"""What, its name, whether it works, details."""


async def status(args: argparse.Namespace) -> int:
    settings = args.load_settings()
    url = _url(settings)
    from bridge.store.postgres.asking import look, waiting  # noqa: PLC0415 - an extra

    shards, found = await look(url)
    waits = await waiting(url)
    rows = [_shard(shard, found.owners.get(shard), waits.get(shard, 0)) for shard in range(shards)]
    ours = digest(settings)
    rows += [_node(each, found, ours) for each in found.nodes]
    return print_findings(("what", "name", "works", "details"), rows, as_json=args.json)


def _shard(shard: int, owner: ShardOwner | None, waiting: int) -> Row:
    waits = f"; alarms of panels that wait for its owner: {waiting}" if waiting else ""
    if owner is None:
        return "shard", str(shard), "FAILED", f"no node owns it: nothing is sent; start a node{waits}"
    if owner.stuck:
        words = f"waiting for the synchronous standby for {lasted(owner.waits_s)}: no take-over is possible"
        return "shard", str(shard), "FAILED", f"{owner.node}, {words}{waits}"
    since = f" since {timestamp(owner.since)[:19]}" if owner.since else ""
    return "shard", str(shard), "ok", f"{owner.node}{since}{waits}"


def _node(node: Member, cluster: Cluster, ours: str) -> Row:
    if not node.alive:
        when = "stopped" if node.stopped else "not seen"
        return "node", node.name, "warning", f"{when} since {timestamp(node.seen_at)[:19]}"
    owned = [*map(str, cluster.owned(node.name))]
    faults = ["does not reach the broker"] if node.broker is False else []
    if node.digest != ours:
        faults.append("its configuration differs from this one")
    full = ["takes no more"] if node.shards <= len(owned) < len(cluster.owners) else []
    words = [f"owns {', '.join(owned)}" if owned else "standby", *full, f"version {node.version}", *faults]
    return "node", node.name, "warning" if faults else "ok", ", ".join(words)


async def move(args: argparse.Namespace) -> int:
    url = _url(args.load_settings())
    from bridge.store.postgres.asking import ask, look  # noqa: PLC0415 - an extra

    shards, found = await look(url)
    if args.shard >= shards:
        there = f"there are shards 0 to {shards - 1}" if shards else "no node has used this database yet"
        raise ConfigError(f"SHARD: {args.shard}: {there}")
    if (reason := _obstacle(args.shard, args.node, found)) is not None:
        raise BridgeError(f"shard {args.shard} was not moved: {reason}")
    if not (await ask(url, args.shard, "move", {"node": args.node}))["done"]:
        raise BridgeError(f"node {args.node} cannot take shard {args.shard} over; see sosbridge cluster status")
    print(f"shard {args.shard} is given to node {args.node}")
    return 0


def _obstacle(shard: int, name: str, cluster: Cluster) -> str | None:
    """Return why a shard cannot be moved to the node `name`; None: nothing is in the way."""
    nodes = {each.name: each for each in cluster.nodes}
    if (node := nodes.get(name)) is None:
        return f"unknown node {name}; known: {', '.join(nodes)}"
    owned, room = cluster.owned(name), f"takes no more than {counted(node.shards, 'shard')}"
    reasons = {
        f"node {name} owns it already": shard in owned,
        "no node owns it; start a node": shard not in cluster.owners,
        f"node {name} does not run; start it": not node.alive,
        f"node {name} does not reach the broker": node.broker is False,
        f"node {name} {room}; raise its node.shards, or move one away": len(owned) >= node.shards,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


async def forget(args: argparse.Namespace) -> int:
    url = _url(args.load_settings())
    from bridge.store.postgres.asking import forget as forget_node  # noqa: PLC0415 - an extra

    if not await forget_node(url, args.node):
        raise BridgeError(f"node {args.node} runs, or is not known; see sosbridge cluster status")
    print(f"node {args.node} was removed")
    return 0


def _url(settings: Settings) -> Secret:
    if settings.store.url is None:
        raise ConfigError("store.url is missing; only nodes that share a database are a cluster")
    require("postgres", "store.url", "psycopg")
    return settings.store.url
