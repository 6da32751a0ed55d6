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
from bench.figures import row
from bench.kit import BRIDGE, Desk, Meter, bridge, broker, processor_s, resident
from integration.brokers import free_port

GOAL = 1.3
SETTLED_S = 2.0
WARM_UP = 20
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
    costs = [await measure(count, work) for count in counts]
    first, grown = costs[0], costs[1:]
    print(f"{title:>12}   to online   processor time   memory   of a round, each")
    print(f"{first.items:12} {first.start_s:9.2f} s {first.processor_s * 1000:13.0f} ms {first.memory / 2**20:5.1f} MiB"
          f" {first.round_s * 1000:8.2f} ms")
    for cost in grown:
        more = cost.items - first.items
        each_s, each_bytes = (cost.processor_s - first.processor_s) / more, (cost.memory - first.memory) / more
        print(f"{cost.items:12} {cost.start_s:9.2f} s {each_s * 1000:+10.2f} ms each {each_bytes / 1024:+5.1f} KiB each")
    

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
