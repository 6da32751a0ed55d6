"""What 100, 1000 and 10 000 transmitters take of 1, 2 and 4 processes, with heartbeats at 180 s.

Run it: `tests/bench/run scale [--counts 100 1000 10000] [--processes 1 2 4] [--seconds 90]`. Each process is a bridge
with a store of its own and its share of the transmitters, divided as shards are; all use one broker and one receiver,
which is part of this program. After all lines are up: the processor time of heartbeats over two of their periods, an
alarm now and then among them, and a burst of 1000 alarms, at most one for each transmitter.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.kit import Contender, Desk, Meter, bridge, broker, processor_s, resident
from support.processes import Bridge

from bridge.config.shards import shard_of

HEAD = (
    "| transmitters | processes | to `online` | all lines up | memory, all | heartbeats, of a core | written |"
    " alarm, median (worst of 20) | burst of 1000 | each of it |\n|---|---|---|---|---|---|---|---|---|---|"
)
BURST, ALARMS, APART_S = 1000, 20, 0.5
WITHIN_S = 300
MANY = Contender("the bridges", "{}/alarm/raise", "+/transmitter/+/alarm/response")
MORE = 'heartbeat = "180s"\n'


@dataclass(frozen=True, slots=True)
class Site:
    desk: Desk
    bridges: Sequence[Bridge]
    topics: Sequence[str]
    """Of each transmitter, without a leaf."""

    @property
    def pids(self) -> list[int]:
        return [each.process.pid for each in self.bridges if each.process is not None]

    def processor_s(self) -> float:
        return sum(processor_s(pid) for pid in self.pids)

    def written(self) -> int:
        """Return the bytes that the processes sent to the disk."""
        lines = [line for pid in self.pids for line in Path(f"/proc/{pid}/io").read_text("ascii").splitlines()]
        return sum(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))

    async def online(self) -> None:
        """Wait until every bridge is online."""
        await self.desk.client.subscribe("+/bridge/state", qos=1)
        found: set[str] = set()
        async with asyncio.timeout(WITHIN_S):
            while len(found) < len(self.bridges):
                message = await anext(self.desk.messages)
                if message.payload == b"online":
                    found.add(str(message.topic))
        await self.desk.client.unsubscribe("+/bridge/state")

    async def up(self) -> None:
        """Wait until every transmitter has sent a heartbeat."""
        until = time.perf_counter() + WITHIN_S
        while len(self.desk.meter.pinged) < len(self.topics):
            assert time.perf_counter() < until
            await asyncio.sleep(0.1)


def divided(folder: Path, port: int, receiver: int, names: Sequence[str], processes: int) -> Iterator[Bridge]:
    for number in range(processes):
        (own := folder / str(number)).mkdir()
        ours = [name for name in names if shard_of(name, processes) == number]
        made = bridge(own, port, receiver, ours)
        text = made.config.read_text().replace("use_single_receiver", f"{MORE}use_single_receiver")
        text = text.replace('base_topic = "bench"', f'base_topic = "bench{number}"')
        made.config.write_text(f'log = {{level = "error"}}\n{text}')
        yield made


async def measure(count: int, processes: int, seconds: float) -> None:
    names = [f"t{number}" for number in range(count)]
    with broker() as (running, folder):
        async with Meter().listening() as meter, Desk.open(running.port, meter) as desk:
            bridges = list(divided(folder, running.port, meter.port, names, processes))
            topics = [f"bench{shard_of(name, processes)}/transmitter/{name}" for name in names]
            site = Site(desk, bridges, topics)
            with contextlib.ExitStack() as stack:
                for each in site.bridges:
                    each.start()
                    stack.callback(each.kill)
                await _measure(site, seconds)


async def _measure(site: Site, seconds: float) -> None:
    began = time.perf_counter()
    await site.online()
    online = time.perf_counter() - began
    await site.up()
    up = time.perf_counter() - began
    await asyncio.sleep(5)
    used, written = site.processor_s(), site.written()
    await asyncio.sleep(seconds)
    share, written = (site.processor_s() - used) / seconds, site.written() - written
    memory = sum(map(resident, site.pids))
    took = sorted([await alarm(site, number) for number in range(ALARMS)])
    used = site.processor_s()
    burst = min(BURST, len(site.topics))
    last = await site.desk.burst(MANY, burst, site.topics)
    each = (site.processor_s() - used) / burst
    print(
        f"| {len(site.topics)} | {len(site.bridges)} | {online:.1f} s | {up:.0f} s | {memory / 2**20:.0f} MiB"
        f" ({memory / len(site.topics) / 2**10:.0f} KiB each) | {share:.1%} | {written / seconds / 2**10:.0f} KiB/s"
        f" | {statistics.median(took) * 1000:.0f} ms ({took[-1] * 1000:.0f} ms)"
        f" | {last:.1f} s of {burst} | {each * 1000:.1f} ms |",
        flush=True,
    )


async def alarm(site: Site, number: int) -> float:
    """Return the seconds from publishing one alarm among the heartbeats to its XML at the receiver."""
    if not number:
        await site.desk.client.subscribe(MANY.done, qos=1)
    took = await site.desk.burst(MANY, 1, [site.topics[number * 7 % len(site.topics)]])
    await asyncio.sleep(APART_S)
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--seconds", type=float, default=90)
    given = parser.parse_args()
    print(HEAD)
    for count in given.counts:
        for processes in given.processes:
            asyncio.run(measure(count, processes, given.seconds))


if __name__ == "__main__":
    main()
