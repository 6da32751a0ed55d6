"""What 100, 1000 and 10 000 transmitters take of 1, 2 and 4 processes, with heartbeats at 180 s.

Run it: `tests/bench/run scale [--counts 100 1000 10000] [--processes 1 2 4] [--seconds 90]`. Each process is a bridge
with a store of its own and its share of the transmitters, divided as shards are; `bench cluster` measures shards on one
PostgreSQL with the same parts. All use one broker, and one receiver, which is part of this program. After all lines are
up: the processor time of heartbeats over `--seconds`, an alarm now and then, and three bursts of 1000 alarms, at most
one for each transmitter. `--plain` is without Home Assistant's discovery, nine tenths of what is published.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bench.figures import at_most, wide
from bench.kit import Contender, Desk, Meter, bridge, broker, family_processor_s, processor_s, resident, together
from support.brokers import Mosquitto
from support.postgres import PostgresServer
from support.processes import Bridge

from bridge.config.shards import shard_of

GOAL = 1.3
BURST, BURSTS, ALARMS, APART_S = 1000, 3, 20, 0.5
MANY_ENOUGH = 1000
"""Of fewer transmitters the memory is that of the processes."""
SETTLED_S, EACH_SETTLES_S = 5.0, 0.001
"""After the first heartbeat of each, what was found out is stored and published."""
COUNTED_AFTER_S = 1.5
"""A session of PostgreSQL counts its transactions with a delay of up to a second."""
WITHIN_S = 600
MANY = Contender("the bridges", "{}/alarm/raise", "+/transmitter/+/alarm/response")
HEARTBEAT = 'heartbeat = "180s"\n'
QUIET = 'log = {level = "error"}\n'
PLAIN = "homeassistant = {enabled = false}\n"
DATABASE = "bench"
_COMMITS = b"SELECT xact_commit FROM pg_stat_database WHERE datname = %s"

_SHARDS = b"SELECT shard FROM sosbridge.shard WHERE node = %s"


class Setup(NamedTuple):
    """So many transmitters on so many processes: each with a store of its own, or all with shards of one."""

    transmitters: int
    processes: int
    shards: int = 0
    """0: stores of SQLite."""


class Used(NamedTuple):
    """What was taken until a moment, or between two: processor time in seconds, of all processes together."""

    bridges: float
    database: float
    broker: float
    commits: float
    written: float
    """Bytes that the bridges sent to the disk."""

    def since(self, before: Used, per: float) -> Used:
        return Used(*((now - then) / per for now, then in zip(self, before, strict=True)))


class Again(NamedTuple):
    """Seconds from the end of a process that is killed and started again at once."""

    alarm_s: float
    """To the XML of an alarm of a transmitter of its own, published after its end."""
    up_s: float
    """To the first heartbeat of the last of its transmitters."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a setup cost. `idle`: a second of heartbeats alone. `alarm`: each of a burst."""

    setup: Setup
    online_s: float
    up_s: float
    memory: int
    """Of all processes; what they share counts once."""
    resident: int
    """Of all processes, each with what it shares."""
    broker_memory: int
    idle: Used
    alarms_s: Sequence[float]
    burst: int
    half_s: float
    burst_s: float
    alarm: Used
    again: Again
    load: float
    """Of the machine, in the minute before the end of the burst."""


HEAD = (
    "transmitters", "processes", "shards", "to `online`", "all lines up", "memory", "heartbeats, of a core", "database",
    "broker", "commits/s", "written", "an alarm, median (worst)", "burst: half, all", "each of it", "database",
    "commits", "killed: an alarm, all lines", "load",
)  # fmt: skip


def show(cost: Cost) -> None:
    setup, idle, alarm, took = cost.setup, cost.idle, cost.alarm, sorted(cost.alarms_s)
    wide(
        setup.transmitters, setup.processes, setup.shards or "-",
        f"{cost.online_s:.1f} s", f"{cost.up_s:.0f} s",
        f"{cost.memory / 2**20:.0f} ({cost.resident / 2**20:.0f}) MiB, broker {cost.broker_memory / 2**20:.0f} MiB",
        f"{idle.bridges:.1%}", f"{idle.database:.1%}", f"{idle.broker:.2%}", f"{idle.commits:.1f}",
        f"{idle.written / 2**10:.0f} KiB/s",
        f"{statistics.median(took) * 1000:.0f} ms ({took[-1] * 1000:.0f} ms)",
        f"{cost.half_s:.1f} s, {cost.burst_s:.1f} s of {cost.burst}",
        f"{alarm.bridges * 1000:.1f} ms", f"{alarm.database * 1000:.1f} ms", f"{alarm.commits:.2f}",
        f"{cost.again.alarm_s:.1f} s, {cost.again.up_s:.0f} s",
        f"{cost.load:.1f}",
    )  # fmt: skip


class Site:
    """The processes of a setup, and what they use."""

    def __init__(self, setup: Setup, desk: Desk, running: Mosquitto, server: PostgresServer | None) -> None:
        self.desk = desk
        self._setup, self._broker, self._server = setup, running, server
        self._bridges: list[Bridge] = []
        self._names = [f"t{number}" for number in range(setup.transmitters)]
        self.topics = [f"{self._base(name)}/transmitter/{name}" for name in self._names]
        """Of each transmitter, without a leaf."""

    def _base(self, name: str) -> str:
        return "bench" if self._setup.shards else f"bench{shard_of(name, self._setup.processes)}"

    @contextlib.contextmanager
    def started(self, folder: Path, head: str) -> Iterator[None]:
        url = self._server.create(DATABASE) if self._server and self._setup.shards else ""
        with contextlib.ExitStack() as stack:
            if self._server and url:
                stack.callback(self._server.drop, DATABASE)
            self._bridges = [
                self._made(folder / str(number), number, url, head) for number in range(self._setup.processes)
            ]
            for each in self._bridges:
                each.start()
                stack.callback(each.kill)
            yield

    def _made(self, folder: Path, number: int, url: str, head: str) -> Bridge:
        folder.mkdir()
        _, processes, shards = self._setup
        ours = [name for name in self._names if url or shard_of(name, processes) == number]
        made = bridge(folder, self._broker.port, self.desk.meter.port, ours)
        text = made.config.read_text().replace("use_single_receiver", f"{HEARTBEAT}use_single_receiver")
        if url:
            head += f'node = {{name = "{_node(number)}", shards = {-(-shards // processes)}}}\n'
            text = text.replace("store = {", f'store = {{url = "{url}", shards = {shards}, ')
        else:
            text = text.replace('base_topic = "bench"', f'base_topic = "bench{number}"')
        made.config.write_text(head + text)
        return made

    @property
    def _pids(self) -> list[int]:
        return [each.process.pid for each in self._bridges if each.process is not None]

    @property
    def memory(self) -> int:
        return together(self._pids)

    @property
    def resident(self) -> int:
        """What each takes, with all that it shares: as on machines of their own."""
        return sum(map(resident, self._pids))

    @property
    def broker_memory(self) -> int:
        return resident(self._broker.pid)

    def used(self) -> Used:
        database = family_processor_s(self._server.pid) if self._server else 0.0
        io = [line for pid in self._pids for line in Path(f"/proc/{pid}/io").read_text("ascii").splitlines()]
        written = sum(int(line.split()[1]) for line in io if line.startswith("write_bytes"))
        bridges = sum(map(processor_s, self._pids))
        return Used(bridges, database, processor_s(self._broker.pid), self._commits(), written)

    def _commits(self) -> int:
        if self._server is None:
            return 0
        with self._server.connect() as admin:
            found = admin.execute(_COMMITS, (DATABASE,)).fetchone()
        return int(found["xact_commit"]) if found else 0

    async def online(self) -> None:
        """Wait until every bridge, or every shard, is online."""
        states = ("+/bridge/state", "+/shard/+/state")
        for each in states:
            await self.desk.client.subscribe(each, qos=1)
        found: set[str] = set()
        async with asyncio.timeout(WITHIN_S):
            while len(found) < (self._setup.shards or self._setup.processes):
                message = await anext(self.desk.messages)
                if message.payload == b"online":
                    found.add(str(message.topic))
        for each in states:
            await self.desk.client.unsubscribe(each)

    async def again(self) -> Again:
        """Kill the first process and start it again."""
        names = self._of_the_first()
        topic = f"{self._base(names[-1])}/transmitter/{names[-1]}"
        killed, meter = self._bridges[0], self.desk.meter
        killed.kill()
        began = time.perf_counter()
        meter.pinged.clear()
        killed.start()
        alarm_s = await self.desk.burst(MANY, 1, [topic])
        codes = {name.encode() for name in names}
        await meter.heard(codes.issubset, WITHIN_S)
        return Again(alarm_s, time.perf_counter() - began)

    def _of_the_first(self) -> list[str]:
        """Return the transmitters of the first process."""
        if self._server is None:
            return [name for name in self._names if shard_of(name, self._setup.processes) == 0]
        with self._server.connect(DATABASE) as admin:
            shards = {row["shard"] for row in admin.execute(_SHARDS, (_node(0),))}
        return [name for name in self._names if shard_of(name, self._setup.shards) in shards]


def _node(number: int) -> str:
    return f"n{number}"


async def measure(
    setup: Setup, seconds: float, alarms: int = ALARMS, server: PostgresServer | None = None, head: str = ""
) -> Cost:
    """Return what a setup costs, measured for so many seconds at rest; `server` is for its shards."""
    with broker() as (running, folder):
        async with Meter().listening() as meter, Desk.open(running.port, meter) as desk:
            site = Site(setup, desk, running, server)
            with site.started(folder, QUIET + head):
                return await _measured(setup, site, seconds, alarms)


async def _measured(setup: Setup, site: Site, seconds: float, alarms: int) -> Cost:
    began = time.perf_counter()
    await site.online()
    online_s = time.perf_counter() - began
    await site.desk.meter.heard(lambda found: len(found) == setup.transmitters, WITHIN_S)
    up_s = time.perf_counter() - began
    await asyncio.sleep(SETTLED_S + EACH_SETTLES_S * setup.transmitters)
    before, began = site.used(), time.perf_counter()
    await asyncio.sleep(seconds)
    idle = site.used().since(before, time.perf_counter() - began)
    await site.desk.client.subscribe(MANY.done, qos=1)
    alarms_s = [await _alarm(site, number) for number in range(alarms)]
    await asyncio.sleep(COUNTED_AFTER_S)
    before, began, count = site.used(), time.perf_counter(), min(BURST, setup.transmitters)
    times = [await _burst(site, count) for _ in range(BURSTS)]
    load = os.getloadavg()[0]
    # As long as at rest, or a multiple of it: transmitters of several processes begin at once, so that their heartbeats
    # come close together, and each is to have sent as many as at rest.
    await asyncio.sleep((began - time.perf_counter()) % seconds)
    took = time.perf_counter() - began
    used = Used(*(total - took * rate for total, rate in zip(site.used().since(before, 1), idle, strict=True)))
    halves, whole = map(statistics.median, zip(*times, strict=True))
    return Cost(
        setup, online_s, up_s, site.memory, site.resident, site.broker_memory, idle, alarms_s, count, halves, whole,
        Used(*(each / count / BURSTS for each in used)), await site.again(), load,
    )  # fmt: skip


async def _burst(site: Site, count: int) -> tuple[float, float]:
    """Return the seconds until half and all of a burst were at the receiver."""
    all_s = await site.desk.burst(MANY, count, site.topics)
    arrived = site.desk.meter.arrived.values()
    await asyncio.sleep(COUNTED_AFTER_S)
    return statistics.median(arrived) - max(arrived) + all_s, all_s


async def _alarm(site: Site, number: int) -> float:
    """Return the seconds from publishing one alarm among the heartbeats to its XML at the receiver."""
    took = await site.desk.burst(MANY, 1, [site.topics[number * 7 % len(site.topics)]])
    await asyncio.sleep(APART_S)
    return took


def compare(found: Cost, alone: Cost, what: str) -> None:
    """Print what an alarm, and the memory, of several processes are beside one."""
    title, beside = f"of {found.setup.transmitters} transmitters {what}", "one process"
    ours, one = found.alarm.bridges * 1000, alone.alarm.bridges * 1000
    alarm = f"{{:.2f}} x ({ours:.1f} ms, {one:.1f} ms)"
    at_most(f"processor time of an alarm in a burst {title}", beside, ours / one, GOAL, alarm)
    if found.setup.transmitters < MANY_ENOUGH:
        return
    for each, ours, one in (
        ("memory", found.memory, alone.memory),
        ("memory, what is shared counted for each,", found.resident, alone.resident),
    ):
        at_most(
            f"{each} {title}", beside, ours / one, GOAL, f"{{:.2f}} x ({ours / 2**20:.0f} MiB, {one / 2**20:.0f} MiB)"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--seconds", type=float, default=90)
    parser.add_argument("--alarms", type=int, default=ALARMS, help="that go one by one")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--quick", action="store_true", help="few transmitters, little time: half a minute")
    given = parser.parse_args()
    if given.quick:
        given.counts, given.processes, given.seconds, given.alarms = [50], [1, 2], 2, 5
    wide(*HEAD)
    wide(*["---"] * len(HEAD))
    for count in given.counts:
        costs = []
        for processes in given.processes:
            costs.append(
                asyncio.run(measure(Setup(count, processes), given.seconds, given.alarms, head=PLAIN * given.plain))
            )
            show(costs[-1])
        if len(costs) > 1:
            compare(costs[-1], costs[0], f"over {given.processes[-1]} processes")


if __name__ == "__main__":
    main()
