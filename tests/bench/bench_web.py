"""What the status page costs: memory and start with and without it, and a scrape of many transmitters.

Run it: `tests/bench/run web [--transmitters 1000] [--starts 5]`. The scrape is measured in this process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from datetime import datetime
from pathlib import Path

from bench.bench_resources import STATE, started
from bench.figures import row
from bench.kit import Desk, Meter, bridge, broker, resident
from support.brokers import free_port

from bridge.common.problems import Problems
from bridge.web.board import Board
from bridge.web.metrics import Metrics

MEMORY_GOAL_MIB, START_GOAL_S, SCRAPE_GOAL_S = 25.0, 0.5, 0.25
SETTLED_S = 3.0


def filled(count: int) -> Board:
    """A board of transmitters with two receivers, two paths, and some alarms each."""
    board = Board("bench", Problems())
    states = {
        "link": "ON",
        **{f"receiver/{name}/state": "ON" for name in ("primary", "secondary")},
        **{f"path/{name}/state": "ON" for name in ("fixed", "mobile")},
        **{f"receiver/{name}/info": '{"address": "a:1"}' for name in ("primary", "secondary")},
        **{f"path/{name}/info": '{"address": "eth0"}' for name in ("fixed", "mobile")},
        "outbox": json.dumps({"pending": 1, "oldest_at": datetime.now().astimezone().isoformat(), "rejected": 0}),
    }
    for number in range(count):
        for leaf, payload in states.items():
            board.published(f"bench/transmitter/t{number}/{leaf}", payload, event=False)
        for outcome in ("accepted", "rejected", "expired"):
            board.alarms[f"t{number}", outcome] += 1
    return board


def scrape(count: int) -> None:
    metrics = Metrics(filled(count), lambda: 0)
    metrics.text()
    spent = []
    for _ in range(5):
        began = time.process_time()
        text = metrics.text()
        spent.append(time.process_time() - began)
    took = statistics.median(spent)
    measured = f"{took:.3f} s ({len(text.splitlines())} lines)"
    row(f"a scrape of {count} transmitters", "", measured, f"under {SCRAPE_GOAL_S} s", met=took < SCRAPE_GOAL_S)


async def compare(starts: int, folder: Path, port: int) -> None:
    """Start the bridge with and without the page in turn; the first pair is left out: files come from the disk."""
    async with Meter().listening() as meter, Desk.open(port, meter) as desk:
        table = f'[web]\nlisten = "127.0.0.1:{free_port()}"\n'
        took: dict[str, list[float]] = {"": [], table: []}
        memory: dict[str, list[int]] = {"": [], table: []}
        for _ in range(starts + 1):
            for more, times in took.items():
                ours = bridge(folder, port, meter.port, ["home"], more)
                await desk.client.publish(STATE, "", qos=1, retain=True)
                times.append(await started(ours, desk))
                await asyncio.sleep(SETTLED_S)
                assert ours.process is not None
                memory[more].append(resident(ours.process.pid))
                await ours.stop()
    later = statistics.median(took[table][1:]) - statistics.median(took[""][1:])
    bigger = (statistics.median(memory[table][1:]) - statistics.median(memory[""][1:])) / 2**20
    without = f"{statistics.median(took[''][1:]):.2f} s"
    goal = f"under {START_GOAL_S} s"
    row("start with the page", "without", f"{later:.2f} s more ({without})", goal, met=later < START_GOAL_S)
    goal = f"under {MEMORY_GOAL_MIB:.0f} MiB"
    row("resident memory with the page", "without", f"{bigger:.1f} MiB more", goal, met=bigger < MEMORY_GOAL_MIB)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transmitters", type=int, default=1000)
    parser.add_argument("--starts", type=int, default=5)
    given = parser.parse_args()
    scrape(given.transmitters)
    with broker() as (running_broker, folder):
        asyncio.run(compare(given.starts, folder, running_broker.port))


if __name__ == "__main__":
    main()
