"""The course of a run over two nodes: load goes on while whoever owns the shard fails, again and again."""

from __future__ import annotations

import argparse
import asyncio
import random
from collections import Counter, defaultdict
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

from chaos.faults import shuffled
from chaos.ledger import RECEIVERS, Ledger, now
from chaos.load import Listener, Publisher
from chaos.network import Wire
from chaos.nodes_database import Account, DatabaseWire
from chaos.nodes_faults import FAULTS, PROMOTIONS, Node
from chaos.packet_ids import PacketIds
from chaos.product import PASSWORD, Product, code, configuration
from chaos.receivers import Station
from support.brokers import Mosquitto
from support.postgres import PostgresServer
from support.replicas import Pair

from bridge.sos_access.simulator.receiver import Accounts, Fault

_BASE = "nodes"
_LEASE_S = 5.0
_STARTS_WITHIN_S = 60.0
_TAKEN_WITHIN_S = 90.0
_SETTLES_WITHIN_S = 120.0
_LATE_S = 2.0
"""So long after its end, a fault may still show."""
_ANSWERS_AFTER_S = 0.05
"""Of a receiver, so that fail-overs find alarms that were sent and not answered."""
_STORE = 'node = {{name = "{name}"}}\nstore = {{url = "{url}", lease = "{lease:g}s", path = '


class Seen(PacketIds):
    """Notes what the broker delivers again and what is acknowledged, and changes no id: connections have their own."""

    def _given_to(self, own: int) -> int:
        self._given[own] = own
        return own


@dataclass
class Outcome:
    """What came of a run, beside the ledger."""

    took: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """By fault, the time from its begin until a node was online again."""
    fail_overs: list[tuple[float, float]] = field(default_factory=list)
    """From when to when there was a fault."""
    again: int = 0
    """How often the same node took the shard again."""
    writes: int = 0
    foreign: list[str] = field(default_factory=list)
    """Writes by a node that had not, or no longer, the shard."""

    def doubles(self, ledger: Ledger) -> Counter[tuple[str, int]]:
        """Return how often alarms came again, by transmitter and fail-over.

        One that the broker delivered again when it had ended is another alarm, with a result of its own.
        """
        again: list[tuple[float, float, str]] = []
        for alarm, _ in ledger.twice():
            times = sorted(each.begun for each in alarm.treated)
            again += [(last, before, alarm.transmitter) for before, last in pairwise(times)][len(alarm.outcomes[1:]) :]
        found: Counter[tuple[str, int]] = Counter()
        for last, before, transmitter in sorted(again):
            between = [
                number
                for number, (begun, ended) in enumerate(self.fail_overs, 1)
                if begun <= last and before <= ended + _LATE_S
            ]
            first = next((each for each in between if not found[transmitter, each]), max(between, default=0))
            found[transmitter, first] += 1
        return +found


class Run:
    """Two nodes on one database, one broker and two receivers, each node with wires of its own."""

    def __init__(self, folder: Path, options: argparse.Namespace, servers: Pair | PostgresServer) -> None:
        self.options = options
        self.ledger = Ledger()
        self.outcome = Outcome()
        self._dice = random.Random(options.seed)
        self._pair = servers if isinstance(servers, Pair) else None
        self._alone = servers if isinstance(servers, PostgresServer) else None
        self._server().create(_BASE)
        self._account = Account(self._server, _BASE)
        names = self.transmitters = [f"t{number}" for number in range(1, options.transmitters + 1)]
        accounts = Accounts({code(name): PASSWORD for name in names})
        self.receivers = [Station(accounts, self.ledger, name) for name in RECEIVERS]
        for receiver in self.receivers:
            receiver.faults.add(Fault(delay=_ANSWERS_AFTER_S))
        self.ledger.accounts = {name: {code(name)} for name in names}
        self.broker = Mosquitto(folder)
        self.listener = Listener(self.broker.port, _BASE, self.ledger)
        self.publisher = Publisher(self.broker.port, _BASE, self.ledger)
        self.nodes = {name: self._node(folder / name, name) for name in ("a", "b")}

    def _server(self) -> PostgresServer:
        return self._pair.current if self._pair else self._alone  # type: ignore[return-value]

    def _node(self, folder: Path, name: str) -> Node:
        (folder / "disk").mkdir(parents=True)
        wire = Wire(f"network of {name}: broker", lambda: self.broker.port)
        wire.ids = Seen()
        wire.ids.repeated, wire.ids.acknowledged = self.ledger.delivered_again, self.ledger.taken
        node = Node(name, Product(folder, self.ledger), wire)
        servers = self._pair.servers if self._pair else [self._server()]
        for number in range(len(servers)):
            target = partial(lambda number: servers[number].port, number)
            node.databases.append(DatabaseWire(f"network of {name}: database {number}", target))
        return node

    def _configure(self, node: Node) -> None:
        hosts = ",".join(f"127.0.0.1:{wire.port}" for wire in node.databases)
        url = f"postgresql://tests@{hosts}/{_BASE}?target_session_attrs=read-write"
        ports = [receiver.address[1] for receiver in self.receivers]
        text = configuration(node.product.config.parent, _BASE, node.broker.port, ports, self.transmitters)
        own = _STORE.format(name=node.name, url=url, lease=_LEASE_S)
        node.product.config.write_text(text.replace("store = {path = ", own), "utf-8")

    async def run(self) -> None:
        with self.broker, ExitStack() as ends:
            for receiver in self.receivers:
                await receiver.start()
            for node in self.nodes.values():
                self._configure(node)
                ends.callback(node.product.end)
                for wire in node.wires:
                    await wire.start()
            clients = [asyncio.create_task(each.run()) for each in (self.listener, self.publisher)]
            try:
                await self._go()
                await self._settle()
            finally:
                for client in clients:
                    client.cancel()
                await asyncio.gather(*clients, return_exceptions=True)
                ends.close()
                for wire in (wire for node in self.nodes.values() for wire in node.wires):
                    await wire.stop()
                for receiver in self.receivers:
                    await receiver.stop()

    async def _go(self) -> None:
        for node in self.nodes.values():
            node.product.start()
            async with asyncio.timeout(_STARTS_WITHIN_S):
                await self.listener.online.wait()
        await asyncio.to_thread(self._account.begin)
        ends = self._ends()
        loads = [
            asyncio.create_task(self.publisher.load(name, random.Random(f"{self.options.seed} {name}"), rate, ends))
            for name in self.transmitters
            if (rate := self.options.rate / len(self.transmitters))
        ]
        try:
            await self._fail(ends)
        finally:
            for load in loads:
                load.cancel()
            await asyncio.gather(*loads, return_exceptions=True)

    def _ends(self) -> float:
        return now() + (86400.0 if self._pair else self.options.minutes * 60)

    async def _fail(self, ends: float) -> None:
        """Let one fault follow the other until the time is over, or each promotion was done."""
        if self._pair is None:
            for name in shuffled([*FAULTS], self._dice):
                if now() > ends:
                    return
                owner = await self._steady()
                await self._one(name, FAULTS[name](self.nodes[owner], self.ledger, self._dice))
        else:
            names = shuffled([*PROMOTIONS], self._dice)
            for _ in range(self.options.promotions):
                await self._steady()
                name = next(names)
                await self._one(name, PROMOTIONS[name](self._pair))

    async def _steady(self) -> str:
        """Wait until one node owns the shard and the other could; return the owner."""
        end = now() + _TAKEN_WITHIN_S
        while True:
            owner = await asyncio.to_thread(self._account.owner)
            able = await asyncio.to_thread(self._account.able)
            if owner is not None and able == {*self.nodes}:
                break
            assert now() < end, f"not steady: {owner} owns the shard, {able} could; {self._account.nodes()}"
            await asyncio.sleep(0.2)
        await asyncio.sleep(self._dice.uniform(0.2, 2))
        return owner

    async def _one(self, name: str, fault: AbstractAsyncContextManager[None]) -> None:
        before = await asyncio.to_thread(self._account.owner)
        self.listener.online.clear()
        begun = now()
        async with fault:
            async with asyncio.timeout(_TAKEN_WITHIN_S):
                await self.listener.online.wait()
            online = now()
            self.outcome.took[name].append(online - begun)
            self.ledger.take_overs.append((begun, online))
            self.outcome.again += await asyncio.to_thread(self._account.owner) == before
            if self.options.verbose:
                print(f"{len(self.outcome.fail_overs) + 1}: {name}, {online - begun:.1f} s", flush=True)
        self.outcome.fail_overs.append((begun, now()))

    async def _settle(self) -> None:
        """Let every alarm end, then both nodes."""
        end = now() + _SETTLES_WITHIN_S
        while self.ledger.open() and now() < end:  # noqa: ASYNC110 - results come from other processes
            await asyncio.sleep(0.2)
        self.outcome.writes = await asyncio.to_thread(self._account.writes)
        self.outcome.foreign = await asyncio.to_thread(self._account.foreign)
        for node in self.nodes.values():
            await node.product.stop()
