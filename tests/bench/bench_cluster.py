"""What a cluster costs: an owner beside one bridge on SQLite, and many transmitters in shards over several processes.

Run it: `tests/bench/run cluster [--count 200] [--transmitters 100 1000 10000] [--processes 1 2 4] [--seconds 45]`. The
curve is measured as `bench scale` does it, with what the database does. `bench store` has the time to the receiver with
one database; here it has a synchronous standby. All of it shares the processors of one machine, so more processes gain
no more than these have.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from statistics import quantiles

from bench import bench_store
from bench.bench_scale import HEAD, Setup, compare, measure, show
from bench.figures import at_most, row, wide
from bench.kit import BRIDGE, broker
from support.postgres import PostgresServer
from support.replicas import Pair

LASTING = {"fsync": "on", "full_page_writes": "on"}
MANY_SESSIONS = {"max_connections": "200"}
SHARDS = 8
FEW = 100


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
        ours = asyncio.run(measure(Setup(FEW, 1, 1), seconds, server=server))
    sqlite, owner = asyncio.run(measure(Setup(FEW, 1), seconds)), f"an owner of {FEW} transmitters"
    for title, each, other, shown in (
        (f"resident memory of {owner}", ours.memory / 2**20, sqlite.memory / 2**20, "MiB"),
        (f"processor time of an alarm at {owner}", ours.alarm.bridges * 1000, sqlite.alarm.bridges * 1000, "ms"),
    ):
        row(title, "SQLite", f"{each / other:.2f} x ({each:.1f} {shown}, {other:.1f} {shown})")
    row(f"idle processor time of {owner}", "SQLite", f"{ours.idle.bridges:.2%}, {sqlite.idle.bridges:.2%}")


def curve(counts: Sequence[int], processes: Sequence[int], seconds: float) -> None:
    wide(*HEAD)
    wide(*["---"] * len(HEAD))
    for count in counts:
        costs = []
        for setup in (Setup(count, 1, 1), *(Setup(count, number, SHARDS) for number in processes)):
            with PostgresServer({**LASTING, **MANY_SESSIONS}) as server:
                costs.append(asyncio.run(measure(setup, seconds, server=server)))
            show(costs[-1])
        compare(costs[-1], costs[0], f"in {SHARDS} shards over {processes[-1]} processes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--transmitters", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument(
        "--seconds", type=float, default=45, help="of each setup at rest; heartbeats are sent each 45 s"
    )
    parser.add_argument("--quick", action="store_true", help="no curve, and little of the rest: a minute")
    parser.add_argument("--curve", action="store_true", help="the curve alone")
    given = parser.parse_args()
    if not given.curve:
        with_a_standby(50 if given.quick else given.count)
        beside_sqlite(5 if given.quick else given.seconds)
    if not given.quick:
        curve(given.transmitters, given.processes, given.seconds)


if __name__ == "__main__":
    main()
