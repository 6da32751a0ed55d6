"""From publish to the XML at the receiver: the bridge with PostgreSQL beside the bridge with SQLite, on one machine.

Run it: `tests/bench/run store [--count 500] [--apart-ms 100]`. Both stores sync each commit. Alarms go to the two in
turn, each so long after the one before is through.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
from pathlib import Path

from bench.figures import at_most
from bench.kit import BRIDGE, Contender, Desk, Meter, bridge, broker, running
from support.postgres import PostgresServer

GOALS = {"median": (50, 2.0), "99 of 100 below": (99, 2.0)}
WARM_UP = 20
NAME = ["home"]
SHARED = Contender("PostgreSQL", "shared/transmitter/{}/alarm/raise", "shared/transmitter/+/alarm/response")


async def measure(count: int, apart_s: float, folder: Path, port: int, url: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {SHARED.name: [], BRIDGE.name: []}
    async with Meter().listening() as meter, Desk.open(port, meter) as desk:
        (folder / "shared").mkdir()
        ours, shared = bridge(folder, port, meter.port, NAME), bridge(folder / "shared", port, meter.port, NAME)
        text = shared.config.read_text("utf-8").replace('"bench"', '"shared"')
        shared.config.write_text(text.replace("store = {", f'store = {{url = "{url}", '), "utf-8")
        with running(ours, shared):
            await desk.hear("bench/bridge/state", b"online")
            await desk.hear("shared/bridge/state", b"online")
            for contender in (SHARED, BRIDGE):
                await desk.client.subscribe(contender.done, qos=1)
            for _ in range(WARM_UP + count):
                for contender in (SHARED, BRIDGE):
                    found[contender.name].append(await desk.burst(contender, 1, NAME))
                    await asyncio.sleep(apart_s)
    return {name: times[WARM_UP:] for name, times in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--apart-ms", type=float, default=100)
    given = parser.parse_args()
    lasting = {"fsync": "on", "full_page_writes": "on"}
    with broker() as (running_broker, folder), PostgresServer(lasting) as server:
        url = server.create("bench")
        found = asyncio.run(measure(given.count, given.apart_ms / 1000, folder, running_broker.port, url))
    percentiles = {name: statistics.quantiles(times, n=100) for name, times in found.items()}
    for title, (percent, goal) in GOALS.items():
        shared, alone = (percentiles[name][percent - 1] for name in found)
        shown = f"{{:.2f}} x ({shared * 1000:.1f} ms, {alone * 1000:.1f} ms)"
        at_most(f"publish to XML at the receiver with PostgreSQL, {title}", "SQLite", shared / alone, goal, shown)


if __name__ == "__main__":
    main()
