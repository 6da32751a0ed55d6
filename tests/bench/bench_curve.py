"""Cost grows in step with the work: the bridge with 1, 10, 100, 1000 transmitters, and with as many panels.

Run it: `tests/bench/run curve [--counts 1 10 100 1000]`. What each item costs beyond the first stands in the columns:
processor time of the start, memory, and the time of one burst, an alarm of each transmitter to the receiver, or each
panel's hello and alarm to MQTT. A flat column is a cost in step.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from bench.bench_g90 import ALARM, guid_of, hello
from bench.figures import at_most, row
from bench.kit import BRIDGE, Desk, Meter, bridge, broker, processor_s, resident
from support.brokers import free_port

GOAL = 1.3
SETTLED_S = 2.0
WITHIN_S = 300
Work = Callable[[Desk, int, int], Awaitable[float]]
"""Does one round of the work with so many items, at a port, and returns the seconds."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What so many items cost together."""

    items: int
    start_s: float
    processor_s: float
    memory: float
    round_s: float


@dataclass(frozen=True, slots=True)
class Share:
    """What each item costs, beyond the first: of the round, its share."""

    processor_s: float
    memory: float
    round_s: float

    @classmethod
    def of(cls, cost: Cost, first: Cost) -> Share:
        more = cost.items - first.items
        used, size = cost.processor_s - first.processor_s, cost.memory - first.memory
        return cls(used / more, size / more, cost.round_s / cost.items)


async def transmitters(desk: Desk, count: int, _port: int) -> float:
    await desk.client.subscribe(BRIDGE.done, qos=1)
    return await desk.burst(BRIDGE, count, names(count))


async def panels(desk: Desk, count: int, port: int) -> float:
    await desk.client.subscribe("bench/panel/+/event", qos=1)
    began = time.perf_counter()
    links = [await panel(guid_of(number), port) for number in range(count)]
    alarmed = 0
    async with asyncio.timeout(WITHIN_S):
        while alarmed < count:
            alarmed += b'"alarm"' in bytes((await anext(desk.messages)).payload)
    took = time.perf_counter() - began
    for link in links:
        link.close()
    return took


async def panel(guid: str, port: int) -> asyncio.StreamWriter:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(hello(guid))
    await reader.readexactly(42)
    writer.write(ALARM)
    return writer


def names(count: int) -> list[str]:
    return [f"t{number}" for number in range(count)]


async def measure(count: int, work: Work) -> Cost:
    with broker() as (running_broker, folder):
        async with Meter().listening() as meter, Desk.open(running_broker.port, meter) as desk:
            return await _measure(folder, desk, count, work)


async def _measure(folder: Path, desk: Desk, count: int, work: Work) -> Cost:
    port, table = free_port(), ""
    if work is panels:
        table = "".join(f'[[g90.panels]]\nguid = "{guid_of(number)}"\n' for number in range(count))
        table = f'[g90]\nlisten = "127.0.0.1:{port}"\n{table}'
    lines = names(count) if work is transmitters else []
    ours = bridge(folder, desk.port, desk.meter.port, lines, table)
    began = time.perf_counter()
    ours.start()
    assert ours.process is not None
    pid = ours.process.pid
    try:
        await desk.hear("bench/bridge/state", b"online")
        start_s = time.perf_counter() - began
        await asyncio.sleep(SETTLED_S)
        used, size = processor_s(pid), resident(pid)
        return Cost(count, start_s, used, size, await work(desk, count, port))
    finally:
        ours.kill()


async def curve(title: str, counts: list[int], work: Work) -> None:
    """Print what each item costs beyond the first; the last column's cost beside that of the one before is the row."""
    await measure(1, work)  # files are read from the disk
    costs = [await measure(count, work) for count in counts]
    first = costs[0]
    print(f"{title:>12} {'to online':>10} {'each start':>12} {'each in memory':>15} {'each of a round':>16}")
    print(f"{first.items:12} {first.start_s:8.2f} s", f"({first.processor_s:.2f} s, {first.memory / 2**20:.1f} MiB)")
    shares = [Share.of(cost, first) for cost in costs[1:]]
    for cost, each in zip(costs[1:], shares, strict=True):
        print(
            f"{cost.items:12} {cost.start_s:8.2f} s {each.processor_s * 1000:9.2f} ms {each.memory / 2**10:11.1f} KiB"
            f" {each.round_s * 1000:13.2f} ms"
        )
    before, last = shares[-2:]
    for what, many, few, shown in (
        ("start", last.processor_s, before.processor_s, f"{last.processor_s * 1000:.2f} ms"),
        ("memory", last.memory, before.memory, f"{last.memory / 2**10:.0f} KiB"),
        ("an alarm", last.round_s, before.round_s, f"{last.round_s * 1000:.1f} ms"),
    ):
        figure, beside = f"{what}, each of {costs[-1].items} {title}", f"each of {costs[-2].items}"
        if few > 0:
            at_most(figure, beside, many / few, GOAL, f"{{:.2f}} x ({shown})")
        else:
            row(figure, beside, f"{shown}; so many cost no more than one, as far as the clock tells")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 10, 100, 1000])
    counts = parser.parse_args().counts
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for title, work in (("transmitters", transmitters), ("panels", panels)):
        asyncio.run(curve(title, counts, work))


if __name__ == "__main__":
    main()
