"""What a cluster costs: an owner beside one bridge on SQLite, and many transmitters in shards over several processes.

Run it: `tests/bench/run cluster [--count 200] [--transmitters 100 1000] [--processes 1 2 4] [--seconds 20]`. The
receiver answers at once, transmitters have heartbeats each 180 s, PostgreSQL syncs each commit. `bench store` has the
time to the receiver with one database; here it has a synchronous standby. All of it shares the processors of one
machine, so more processes gain no more than these have.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

from bench import bench_store
from bench.figures import at_most, row
from bench.kit import BRIDGE, Desk, Meter, bridge, broker, processor_s, resident
from support.postgres import PostgresServer
from support.processes import Bridge
from support.replicas import Pair

LASTING = {"fsync": "on", "full_page_writes": "on"}
SHARDS = 8
SETTLED_S = 5.0
EACH_SETTLES_S = 0.02
"""Of each transmitter: what was found out at the start is stored."""
MOST_AT_ONCE = 2000
_COMMITS = "SELECT xact_commit FROM pg_stat_database WHERE datname = %s"


@dataclass(frozen=True, slots=True)
class Cost:
    """What some processes cost together. `alarm_s`: of each of many at once."""

    start_s: float
    memory: int
    idle: float
    alarm_cpu_s: float
    alarm_s: float
    commits: float
    """Transactions of the database, a second, with heartbeats alone."""


class Cluster:
    """Processes with the same transmitters; without a server it is one, on SQLite."""

    def __init__(self, folder: Path, desk: Desk, names: Sequence[str], server: PostgresServer | None = None) -> None:
        self._folder, self._desk, self._names, self._server = folder, desk, names, server
        self._nodes: list[Bridge] = []

    @contextlib.contextmanager
    def started(self, processes: int, shards: int) -> Iterator[None]:
        url = self._server.create("bench") if self._server else ""
        for number in range(processes):
            home = self._folder / f"node{number}"
            home.mkdir()
            node = bridge(home, self._desk.port, self._desk.meter.port, self._names)
            text = node.config.read_text("utf-8").replace("receiver = true", 'receiver = true\nheartbeat = "180s"')
            if url:
                own = f'node = {{name = "n{number}", shards = {-(-shards // processes)}}}\n'
                text = own + text.replace("store = {", f'store = {{url = "{url}", shards = {shards}, ')
            node.config.write_text(text, "utf-8")
            self._nodes.append(node)
        try:
            for node in self._nodes:
                node.start()
            yield
        finally:
            for node in self._nodes:
                node.kill()
            if self._server is not None:
                self._server.drop("bench")

    @property
    def _pids(self) -> list[int]:
        return [node.process.pid for node in self._nodes if node.process is not None]

    def _used(self) -> float:
        return sum(map(processor_s, self._pids))

    def _committed(self) -> int:
        if self._server is None:
            return 0
        with self._server.connect() as admin:
            found = admin.execute(_COMMITS.encode(), ("bench",)).fetchone()
        return int(found["xact_commit"]) if found else 0

    async def cost(self, shards: int, seconds: float) -> Cost:
        began, desk = time.perf_counter(), self._desk
        for topic in ("bench/bridge/state", *(f"bench/shard/{number}/state" for number in range(1, shards))):
            await desk.hear(topic, b"online")
        start_s = time.perf_counter() - began
        await asyncio.sleep(SETTLED_S + EACH_SETTLES_S * len(self._names))
        memory, used, commits = sum(map(resident, self._pids)), self._used(), self._committed()
        await asyncio.sleep(seconds)
        idle, commits = (self._used() - used) / seconds, self._committed() - commits
        count, used = min(2 * len(self._names), MOST_AT_ONCE), self._used()
        await desk.client.subscribe(BRIDGE.done, qos=1)
        took = await desk.burst(BRIDGE, count, self._names)
        alarm_cpu_s = (self._used() - used) / count
        return Cost(start_s, memory, idle, alarm_cpu_s, took / count, commits / seconds)


async def cost(count: int, processes: int, shards: int, seconds: float, server: PostgresServer | None) -> Cost:
    with broker() as (running_broker, folder):
        async with Meter().listening() as meter, Desk.open(running_broker.port, meter) as desk:
            cluster = Cluster(folder, desk, [f"t{number}" for number in range(count)], server)
            with cluster.started(processes, shards):
                return await cluster.cost(shards, seconds)


def with_a_standby(count: int) -> None:
    with Pair(LASTING) as pair, broker() as (running_broker, folder):
        url = pair.current.create("bench")
        found = asyncio.run(bench_store.measure(count, 0.05, folder, running_broker.port, url))
    for title, (percent, goal) in bench_store.GOALS.items():
        ours, sqlite = (quantiles(found[each.name], n=100)[percent - 1] for each in (bench_store.SHARED, BRIDGE))
        shown = f"{{:.2f}} x ({ours * 1000:.1f} ms, {sqlite * 1000:.1f} ms)"
        at_most(
            f"publish to XML at the receiver, PostgreSQL with a synchronous standby, {title}", "SQLite", ours / sqlite,
            goal, shown,
        )  # fmt: skip


def beside_sqlite(seconds: float) -> None:
    with PostgresServer(LASTING) as server:
        ours, sqlite = (asyncio.run(cost(10, 1, 1, seconds, each)) for each in (server, None))
    for title, each, other, shown in (
        ("resident memory of an owner", ours.memory / 2**20, sqlite.memory / 2**20, "MiB"),
        ("processor time of an alarm at an owner", ours.alarm_cpu_s * 1000, sqlite.alarm_cpu_s * 1000, "ms"),
    ):
        row(title, "SQLite", f"{each / other:.2f} x ({each:.1f} {shown}, {other:.1f} {shown})")
    row("idle processor time of an owner", "SQLite", f"{ours.idle:.2%}, {sqlite.idle:.2%}")


def curve(counts: Sequence[int], processes: Sequence[int], seconds: float) -> None:
    print("transmitters processes shards  to online     memory    idle  each alarm commits/s")
    with PostgresServer({**LASTING, "max_connections": "200"}) as server:
        for count in counts:
            costs: list[Cost] = []
            for number in (1, *processes):
                shards = SHARDS if costs else 1
                found = asyncio.run(cost(count, number, shards, seconds, server))
                costs.append(found)
                print(
                    f"{count:12} {number:9} {shards:6} {found.start_s:8.1f} s {found.memory / 2**20:6.0f} MiB"
                    f" {found.idle:7.2%} {found.alarm_s * 1000:8.2f} ms {found.commits:.1f}",
                    flush=True,
                )
            alone, found = costs[0], costs[-1]
            title = f"of {count} transmitters in {SHARDS} shards over {processes[-1]} processes"
            at_most(f"an alarm {title}", "one process, one shard", found.alarm_s / alone.alarm_s, 1.3)
            memory = f"{{:.2f}} x ({found.memory / 2**20:.0f} MiB, {alone.memory / 2**20:.0f} MiB)"
            at_most(f"memory {title}", "one process, one shard", found.memory / alone.memory, 1.3, memory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--transmitters", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--quick", action="store_true", help="no curve, and little of the rest: under a minute")
    given = parser.parse_args()
    with_a_standby(50 if given.quick else given.count)
    beside_sqlite(5 if given.quick else given.seconds)
    if not given.quick:
        curve(given.transmitters, given.processes, given.seconds)


if __name__ == "__main__":
    main()
