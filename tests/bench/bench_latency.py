"""From publish to the XML at the receiver: the bridge beside a bare relay (`relay.py`), on one broker and receiver.

Run it: `tests/bench/run latency [--count 500] [--apart-ms 100]`. Only the ratios mean anything elsewhere. Alarms go to
the two in turn, each so long after the one before is through. What the bridge does after an alarm, telling its states
after 30 ms and noting each half second on disk what it told, falls on those that come sooner than that.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
from pathlib import Path

from bench.figures import at_most
from bench.kit import BRIDGE, RELAY, Desk, Meter, bridge, broker, running

GOALS = {"median": (50, 1.3), "99 of 100 below": (99, 1.5)}
WARM_UP = 20
NAME = ["home"]


async def measure(count: int, apart_s: float, folder: Path, port: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {BRIDGE.name: [], RELAY.name: []}
    async with Meter().listening() as meter, Desk.open(port, meter) as desk:
        ours = bridge(folder, port, meter.port, NAME)
        with running(ours, ["bench.relay", str(port), str(meter.port), f"{folder}/relay.db"]):
            await desk.hear("bench/bridge/state", b"online")
            await desk.hear("relay/state", b"online")
            for contender in (BRIDGE, RELAY):
                await desk.client.subscribe(contender.done, qos=1)
            for _ in range(WARM_UP + count):
                for contender in (BRIDGE, RELAY):
                    found[contender.name].append(await desk.burst(contender, 1, NAME))
                    await asyncio.sleep(apart_s)
    return {name: times[WARM_UP:] for name, times in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--apart-ms", type=float, default=100)
    given = parser.parse_args()
    with broker() as (running_broker, folder):
        found = asyncio.run(measure(given.count, given.apart_ms / 1000, folder, running_broker.port))
    percentiles = {name: statistics.quantiles(times, n=100) for name, times in found.items()}
    for title, (percent, goal) in GOALS.items():
        ours, bare = (percentiles[name][percent - 1] for name in found)
        shown = f"{{:.2f}} x ({ours * 1000:.1f} ms, {bare * 1000:.1f} ms)"
        figure = f"publish to XML at the receiver, alarms {given.apart_ms:g} ms apart, {title}"
        at_most(figure, "a bare durable relay", ours / bare, goal, shown)


if __name__ == "__main__":
    main()
