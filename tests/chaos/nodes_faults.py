"""What becomes of a node that owns shards, by name: each fault begins, other nodes take over, it ends.

A fault gives how many of the node's shards change hands for it; None: all of them.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from chaos.ledger import now
from chaos.network import Wire
from chaos.nodes_database import DatabaseWire, Lost
from chaos.product import Product
from support.replicas import Pair

_PAUSED_S = 20.0
_COMMAND_S = 30.0


@dataclass
class Node:
    """One node, and its networks."""

    name: str
    product: Product
    broker: Wire
    databases: list[DatabaseWire] = field(default_factory=list)
    others: list[Node] = field(default_factory=list)
    most: int = 1
    """How many shards it takes at most."""
    owns: set[int] = field(default_factory=set)
    """Its shards when the last fault began."""
    resumed: float = 0.0
    """When it went on after a pause."""

    @property
    def has_room(self) -> bool:
        return len(self.owns) < self.most

    @property
    def wires(self) -> list[Wire]:
        return [self.broker, *self.databases]


Fault = Callable[[Node, random.Random], AbstractAsyncContextManager[int | None]]


@asynccontextmanager
async def _killed(node: Node, dice: random.Random) -> AsyncIterator[int | None]:
    """Half of the times it is started again at once, and may own shards again."""
    node.product.kill()
    soon = dice.random() < 0.5
    if soon:
        node.product.start()
    yield None
    if not soon:
        node.product.start()


@asynccontextmanager
async def _stopped(node: Node, _: random.Random) -> AsyncIterator[int | None]:
    stopping = asyncio.create_task(node.product.stop())
    yield None
    await stopping
    node.product.start()


@asynccontextmanager
async def _paused(node: Node, _: random.Random) -> AsyncIterator[int | None]:
    until = now() + _PAUSED_S
    node.product.pause()
    try:
        yield None
        await asyncio.sleep(max(0.0, until - now()))
    finally:
        node.resumed = now()
        node.product.resume()


@asynccontextmanager
async def _no_network(
    node: Node, _: random.Random, *, wires: Callable[[Node], list[Wire]], hole: bool
) -> AsyncIterator[int | None]:
    """`hole`: it swallows everything; else it hangs up and refuses."""
    chosen = wires(node)
    for each in chosen:
        if hole:
            each.swallow()
        else:
            await each.stop()
    try:
        yield None
    finally:
        for each in chosen:
            if hole:
                each.release()
            else:
                await each.start()


@asynccontextmanager
async def _lost_commit(node: Node, _: random.Random, *, lost: Lost) -> AsyncIterator[int | None]:
    for each in node.databases:
        each.loses = lost
    yield 1
    for each in node.databases:
        each.loses = None


@asynccontextmanager
async def _moved(node: Node, dice: random.Random) -> AsyncIterator[int | None]:
    """`cluster move` gives one of its shards to another node."""
    shard, to = dice.choice(sorted(node.owns)), dice.choice([each for each in node.others if each.has_room])
    async with asyncio.timeout(_COMMAND_S):
        wrong = await node.product.command("cluster", "move", str(shard), to.name)
    assert not wrong, wrong
    yield 1


def _to_broker(node: Node) -> list[Wire]:
    return [node.broker]


def _to_database(node: Node) -> list[Wire]:
    return [*node.databases]


WHOLE: dict[str, Fault] = {
    "killed": _killed,
    "stopped": _stopped,
    "paused for 20 s": _paused,
    "cut off from the database": partial(_no_network, wires=_to_database, hole=False),
    "cut off from the database, which swallows": partial(_no_network, wires=_to_database, hole=True),
    "cut off from the broker": partial(_no_network, wires=_to_broker, hole=False),
    "cut off from the broker, which swallows": partial(_no_network, wires=_to_broker, hole=True),
}
"""Those after which a node has no shard: two of them may come at once."""
ALL_KILLED, TWO = "all nodes killed", "two nodes at once"
SLOW = "cut off from the broker, which swallows", TWO, ALL_KILLED
"""The broker may notice it sooner than the node; or no node lives for a while."""
FAULTS: dict[str, Fault] = WHOLE | {
    "a COMMIT is lost": partial(_lost_commit, lost="request"),
    "the answer to a COMMIT is lost": partial(_lost_commit, lost="answer"),
    "a shard is moved": _moved,
}


@asynccontextmanager
async def all_killed(nodes: Collection[Node]) -> AsyncIterator[int | None]:
    """The power fails for all nodes, and comes back."""
    for node in nodes:
        node.product.kill()
    for node in nodes:
        node.product.start()
    yield None


@asynccontextmanager
async def _crashed(pair: Pair) -> AsyncIterator[None]:
    """The primary dies, the standby is promoted."""
    await asyncio.to_thread(pair.current.stop, "QUIT")
    await asyncio.to_thread(pair.promote)
    await asyncio.to_thread(pair.set_synchronous, "")
    yield
    await asyncio.to_thread(pair.replace)


@asynccontextmanager
async def _outlived(pair: Pair) -> AsyncIterator[None]:
    """The standby is promoted while the primary lives, which can commit nothing; then it is shut down."""
    old = pair.current
    await asyncio.to_thread(pair.promote)
    await asyncio.to_thread(pair.set_synchronous, "")
    await asyncio.sleep(3)
    await asyncio.to_thread(old.stop)
    yield
    await asyncio.to_thread(pair.replace)


@asynccontextmanager
async def _strict(pair: Pair) -> AsyncIterator[None]:
    """The new primary takes no write either until it has a standby of its own."""
    await asyncio.to_thread(pair.current.stop, "QUIT")
    await asyncio.to_thread(pair.promote)
    await asyncio.to_thread(pair.set_synchronous, "*", wait=False)
    replacing = asyncio.create_task(asyncio.to_thread(pair.replace))
    yield
    await replacing


PROMOTED = "a node killed while the standby is promoted"
PROMOTIONS: dict[str, Callable[[Pair], AbstractAsyncContextManager[None]]] = {
    "primary killed, standby promoted": _crashed,
    "standby promoted, primary shut down after 3 s": _outlived,
    "primary killed, standby promoted, no write without another standby": _strict,
}
