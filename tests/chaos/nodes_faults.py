"""What becomes of a node that owns the shard, by name: each fault begins, the other node takes over, it ends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from chaos.ledger import Ledger, now
from chaos.network import Wire
from chaos.nodes_database import DatabaseWire, Lost
from chaos.product import Product
from support.replicas import Pair

_PAUSED_S = 20.0
_RESUMED_S = 2.0
"""So long after its end, a fault may still show."""


@dataclass
class Node:
    """One node, and its networks."""

    name: str
    product: Product
    broker: Wire
    databases: list[DatabaseWire] = field(default_factory=list)

    @property
    def wires(self) -> list[Wire]:
        return [self.broker, *self.databases]


Fault = Callable[[Node, Ledger, random.Random], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def _killed(node: Node, _: Ledger, dice: random.Random) -> AsyncIterator[None]:
    """Half of the times it is started again at once, and may own the shard again."""
    node.product.kill()
    soon = dice.random() < 0.5
    if soon:
        node.product.start()
    yield
    if not soon:
        node.product.start()


@asynccontextmanager
async def _stopped(node: Node, _: Ledger, __: random.Random) -> AsyncIterator[None]:
    stopping = asyncio.create_task(node.product.stop())
    yield
    await stopping
    node.product.start()


@asynccontextmanager
async def _paused(node: Node, ledger: Ledger, _: random.Random) -> AsyncIterator[None]:
    until = now() + _PAUSED_S
    node.product.pause()
    try:
        yield
        await asyncio.sleep(max(0.0, until - now()))
    finally:
        resumed = now()
        node.product.resume()
    ledger.take_overs.append((resumed, resumed + _RESUMED_S))


@asynccontextmanager
async def _no_network(
    node: Node, _: Ledger, __: random.Random, *, wires: Callable[[Node], list[Wire]], hole: bool
) -> AsyncIterator[None]:
    """`hole`: it swallows everything; else it hangs up and refuses."""
    chosen = wires(node)
    for each in chosen:
        if hole:
            each.swallow()
        else:
            await each.stop()
    try:
        yield
    finally:
        for each in chosen:
            if hole:
                each.release()
            else:
                await each.start()


@asynccontextmanager
async def _lost_commit(node: Node, _: Ledger, __: random.Random, *, lost: Lost) -> AsyncIterator[None]:
    for each in node.databases:
        each.loses = lost
    yield
    for each in node.databases:
        each.loses = None


def _to_broker(node: Node) -> list[Wire]:
    return [node.broker]


def _to_database(node: Node) -> list[Wire]:
    return [*node.databases]


FAULTS: dict[str, Fault] = {
    "killed": _killed,
    "stopped": _stopped,
    "paused for 20 s": _paused,
    "cut off from the database": partial(_no_network, wires=_to_database, hole=False),
    "cut off from the database, which swallows": partial(_no_network, wires=_to_database, hole=True),
    "cut off from the broker": partial(_no_network, wires=_to_broker, hole=False),
    "cut off from the broker, which swallows": partial(_no_network, wires=_to_broker, hole=True),
    "a COMMIT is lost": partial(_lost_commit, lost="request"),
    "the answer to a COMMIT is lost": partial(_lost_commit, lost="answer"),
}


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


PROMOTIONS: dict[str, Callable[[Pair], AbstractAsyncContextManager[None]]] = {
    "primary killed, standby promoted": _crashed,
    "standby promoted, primary shut down after 3 s": _outlived,
    "primary killed, standby promoted, no write without another standby": _strict,
}
