"""The course of a run over several nodes: load goes on while nodes that own shards fail, again and again."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import re
import string
from collections import defaultdict
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager, ExitStack
from functools import partial
from pathlib import Path

from chaos.faults import shuffled
from chaos.ledger import RECEIVERS, Ledger, now
from chaos.load import Listener, Publisher
from chaos.network import Change, Wire
from chaos.nodes_database import Account, DatabaseWire
from chaos.nodes_faults import ALL_KILLED, FAULTS, PROMOTED, PROMOTIONS, TWO, WHOLE, Node, all_killed
from chaos.nodes_outcome import FailOver, Outcome, ShardedLedger
from chaos.packet_ids import PacketIds, packets
from chaos.product import PASSWORD, Product, code, configuration
from chaos.receivers import Station
from support.brokers import Mosquitto
from support.postgres import PostgresServer
from support.replicas import Pair

from bridge.config.shards import shard_of
from bridge.sos_access.simulator.receiver import Accounts, Fault

_BASE = "nodes"
_LEASE_S = 5.0
_TAKEN_WITHIN_S = 90.0
_SETTLES_WITHIN_S = 120.0
_RESUMED_S = 2.0
"""So long after its end, a pause may still show."""
_ANSWERS_AFTER_S = 0.05
"""Of a receiver, so that fail-overs find alarms that were sent and not answered."""
_KILLED = 0.5
"""How often a node is killed while the database is promoted."""
_FOR_TWO = 4
"""So many nodes it takes until two of them may fail at once."""
_UNEXPECTED = re.compile("Traceback|never retrieved")
_NODE = 'node = {{name = "{name}", shards = {most}}}\n'
_STORE = 'store = {{url = "{url}", lease = "{lease:g}s", shards = {shards}, path = '


class Seen(PacketIds):
    """Notes what the broker delivers again and what is acknowledged, and changes no id."""

    def _given_to(self, own: int) -> int:
        self._given[own] = own
        return own


class BrokerWire(Wire):
    """A network to the broker. Shards have connections of their own, so packet ids are those of a connection."""

    def __init__(self, name: str, target: int, ledger: Ledger) -> None:
        super().__init__(name, lambda: target)
        self.ids = PacketIds()
        self._ledger = ledger

    def _changes(self) -> tuple[Change, Change]:
        seen = Seen()
        seen.repeated, seen.acknowledged = self._ledger.delivered_again, self._ledger.taken
        return packets(seen.to_broker), packets(seen.to_client)


class States(Listener):
    """Notes when each shard came online as well, and when it was offline."""

    topics = (*Listener.topics, "shard/+/state")

    def __init__(self, port: int, base: str, ledger: Ledger) -> None:
        super().__init__(port, base, ledger)
        self.came: dict[int, list[float]] = defaultdict(list)
        self.offline: list[tuple[int, float]] = []

    def _heard(self, topic: str, payload: str) -> None:
        if not topic.endswith("/state"):
            super()._heard(topic, payload)
            return
        shard = 0 if topic.endswith("/bridge/state") else int(topic.split("/")[-2])
        if payload == "online":
            self.came[shard].append(now())
        else:
            self.offline.append((shard, now()))


class Run:
    """Several nodes on one database, one broker and two receivers, each node with wires of its own."""

    def __init__(self, folder: Path, options: argparse.Namespace, servers: Pair | PostgresServer) -> None:
        self.options = options
        self.ledger = ShardedLedger(options.shards)
        self.outcome = Outcome()
        self._all = {*range(options.shards)}
        self._before: dict[int, tuple[str, int]] = {}
        """Who owned each shard before the fault."""
        self._dice = random.Random(options.seed)
        self._pair = servers if isinstance(servers, Pair) else None
        self._alone = servers if isinstance(servers, PostgresServer) else None
        self._server().create(_BASE)
        self._account = Account(self._server, _BASE)
        names = self.transmitters = _transmitters(options.transmitters, options.shards)
        accounts = Accounts({code(name): PASSWORD for name in names})
        self.receivers = [Station(accounts, self.ledger, name) for name in RECEIVERS]
        for receiver in self.receivers:
            receiver.faults.add(Fault(delay=_ANSWERS_AFTER_S))
        self.ledger.accounts = {name: {code(name)} for name in names}
        self.broker = Mosquitto(folder)
        self.listener = States(self.broker.port, _BASE, self.ledger)
        self.publisher = Publisher(self.broker.port, _BASE, self.ledger)
        self.nodes = {name: self._node(folder / name, name) for name in string.ascii_lowercase[: options.nodes]}
        for node in self.nodes.values():
            node.others = [each for each in self.nodes.values() if each is not node]

    def _server(self) -> PostgresServer:
        return self._pair.current if self._pair else self._alone  # type: ignore[return-value]

    def _node(self, folder: Path, name: str) -> Node:
        (folder / "disk").mkdir(parents=True)
        wire = BrokerWire(f"network of {name}: broker", self.broker.port, self.ledger)
        node = Node(name, Product(folder, self.ledger), wire)
        fail = 2 if self.options.nodes >= _FOR_TWO else 1
        node.most = -(-self.options.shards // (self.options.nodes - fail))  # the others have room for all
        servers = self._pair.servers if self._pair else [self._server()]
        for number in range(len(servers)):
            target = partial(lambda number: servers[number].port, number)
            node.databases.append(DatabaseWire(f"network of {name}: database {number}", target))
        return node

    def _configure(self, node: Node) -> None:
        hosts = ",".join(f"127.0.0.1:{wire.port}" for wire in node.databases)
        url = f"postgresql://tests@{hosts}/{_BASE}?target_session_attrs=read-write"
        ports = [receiver.address[1] for receiver in self.receivers]
        text = configuration(node.product.config.parent, _BASE, node.broker.port, ports, self.transmitters, "")
        own = _NODE.format(name=node.name, most=node.most)
        own += _STORE.format(url=url, lease=_LEASE_S, shards=self.options.shards)
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
        await self._online("start", self._all, 0.0)
        self._started = now()
        await asyncio.to_thread(self._account.begin)
        ends = self._ends()
        loads = [
            asyncio.create_task(self.publisher.load(name, random.Random(f"{self.options.seed} {name}"), rate, ends))
            for name in self.transmitters
            if (rate := self.options.rate / len(self.transmitters))
        ]
        try:
            await (self._promote(self._pair) if self._pair else self._fail(ends))
        finally:
            self.publisher.over = True
            for load in loads:
                load.cancel()
            await asyncio.gather(*loads, return_exceptions=True)

    def _ends(self) -> float:
        return now() + (86400.0 if self._pair else self.options.minutes * 60)

    async def _fail(self, ends: float) -> None:
        """Let one fault of nodes follow the other until the time is over."""
        several = (ALL_KILLED, *(TWO,) * (2 if len(self.nodes) >= _FOR_TWO else 0))
        for name in shuffled([*FAULTS, *several], self._dice):
            if now() > ends:
                return
            await self._steady()
            node = self._dice.choice([each for each in self.nodes.values() if each.owns])
            if name == ALL_KILLED:
                await self._one(name, self._all, all_killed(self.nodes.values()))
            elif name == TWO:
                both = zip(self._dice.sample([*WHOLE], 2), (node, self._dice.choice(node.others)), strict=True)
                await self._together(
                    *(self._one(name, each.owns, WHOLE[kind](each, self._dice)) for kind, each in both)
                )
            else:
                await self._one(name, node.owns, FAULTS[name](node, self._dice))
            self._resumed()

    async def _promote(self, pair: Pair) -> None:
        names = shuffled([*PROMOTIONS], self._dice)
        for _ in range(self.options.promotions):
            await self._steady()
            name = next(names)
            promoted = self._one(name, self._all, PROMOTIONS[name](pair))
            node = self._dice.choice([*self.nodes.values()])
            if self._dice.random() < _KILLED:
                await self._together(promoted, self._one(PROMOTED, node.owns, WHOLE["killed"](node, self._dice)))
            else:
                await promoted

    async def _together(self, *faults: Coroutine[None, None, FailOver]) -> None:
        """Let two faults happen at once. A node may take a shard before it loses it as well."""
        async with asyncio.TaskGroup() as tasks:
            found = [tasks.create_task(each) for each in faults]
        one, other = (each.result() for each in found)
        for shard in {*one.took, *other.took}:
            came = [at for at in self.listener.came[shard] if at > one.begun]
            self.ledger.taken_over[shard].append((one.begun, came[-1]))
            if len(came) > 1:
                one.took[shard], other.took[shard] = came[-1] - one.begun, came[-1] - other.begun

    def _resumed(self) -> None:
        """Note which shards a node that goes on after a pause may still disturb."""
        for node in self.nodes.values():
            if node.resumed:
                for shard in node.owns:
                    self.ledger.taken_over[shard].append((node.resumed, node.resumed + _RESUMED_S))
                node.resumed = 0.0

    async def _steady(self) -> None:
        """Wait until each shard has an owner and each node could take one over; note who owns what."""
        end, complete = now() + _TAKEN_WITHIN_S, False
        await asyncio.sleep(self._dice.uniform(0.2, 2))
        while not complete:
            owners = await asyncio.to_thread(self._account.owners)
            able = await asyncio.to_thread(self._account.able)
            complete = len(owners) == self.options.shards and able == {*self.nodes}
            assert complete or now() < end, f"not steady: {owners}; {able} could; {self._account.nodes()}"
            await asyncio.sleep(0 if complete else 0.2)
        self._before = owners
        for node in self.nodes.values():
            node.owns = {shard for shard, (name, _) in owners.items() if name == node.name}

    async def _one(self, name: str, shards: set[int], fault: AbstractAsyncContextManager[int | None]) -> FailOver:
        """Let one fault happen to the owner of these shards."""
        found = FailOver(name, now())
        async with fault as count:
            if count is not None:
                shards = await self._changed(shards, count)
            online = await self._online(name, shards, found.begun)
            found.took = {shard: at - found.begun for shard, at in online.items()}
            after = {shard: node for shard, (node, _) in (await asyncio.to_thread(self._account.owners)).items()}
            found.again = sum(after.get(shard) == self._before[shard][0] for shard in online)
            if self.options.verbose and online:
                times = ", ".join(f"{shard} ({after.get(shard)}) {took:.1f} s" for shard, took in found.took.items())
                print(f"{len(self.outcome.fail_overs) + 1}: {name}: {times}", flush=True)
        found.ended = now()
        for shard, at in online.items():
            self.ledger.taken_over[shard].append((found.begun, at))
        self.outcome.fail_overs.append(found)
        return found

    async def _changed(self, shards: set[int], count: int) -> set[int]:
        """Return which of these shards have another session than before the fault, once `count` of them have."""
        end = now() + _TAKEN_WITHIN_S
        while True:
            owners = await asyncio.to_thread(self._account.owners)
            found = {shard for shard in shards if shard in owners and owners[shard] != self._before[shard]}
            if len(found) >= count:
                return found
            assert now() < end, f"none of {[*shards]} has another owner; {owners}"
            await asyncio.sleep(0.05)

    async def _online(self, what: str, shards: set[int], after: float) -> dict[int, float]:
        """Return when these shards came online after a moment, once all of them have."""
        end = now() + _TAKEN_WITHIN_S
        while True:
            times = {shard: [at for at in self.listener.came[shard] if at > after] for shard in shards}
            if all(times.values()):
                return {shard: each[0] for shard, each in times.items()}
            found = [shard for shard, each in times.items() if each]
            assert now() < end, f"{what}: of {[*shards]} only {found} came online again; {self._account.owners()}"
            await asyncio.sleep(0.02)

    async def _settle(self) -> None:
        """Let every alarm end, then the nodes."""
        end = now() + _SETTLES_WITHIN_S
        while self.ledger.open() and now() < end:  # noqa: ASYNC110 - results come from other processes
            await asyncio.sleep(0.2)
        self.outcome.writes = await asyncio.to_thread(self._account.writes)
        self.outcome.foreign = await asyncio.to_thread(self._account.foreign)
        self.outcome.offline = [*self.listener.offline]
        for shard, times in self.listener.came.items():
            faults = [each for each in self.outcome.fail_overs if shard in each.took]
            for at in times:
                if at > self._started and not any(each.concerns(shard, at, at) for each in faults):
                    self.outcome.unasked.append((shard, at))
        for node in self.nodes.values():
            await node.product.stop()
            self.ledger.strange += [
                f"node {node.name}: {line}" for line in node.product.log.splitlines() if _UNEXPECTED.search(line)
            ]


def _transmitters(count: int, shards: int) -> list[str]:
    """Return the first names of which each shard has as many."""
    of_shard: dict[int, list[str]] = {shard: [] for shard in range(shards)}
    for number in itertools.count(1):
        names = of_shard[shard_of(f"t{number}", shards)]
        if len(names) < -(-count // shards):
            names.append(f"t{number}")
        if all(len(each) == -(-count // shards) for each in of_shard.values()):
            return [name for names in of_shard.values() for name in names][: max(count, shards)]
    raise AssertionError
