"""What the bridge takes while nothing happens, what its start takes, and what is left of many alarms.

Run it: `tests/bench/run resources [--seconds 60] [--alarms 100000] [--starts 5]`. Beside it, for memory and start: an
interpreter that only imports what the bridge depends on. The bridge has one line with heartbeats each 90 s.
Processor time is what the system counts for the process, memory what is resident.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import at_most, row
from bench.kit import BRIDGE, Desk, Meter, bridge, broker, processor_s, resident
from support.processes import Bridge

MEMORY_GOAL, GROWTH_GOAL, START_GOAL_S, IDLE_GOAL = 1.3, 1.02, 0.3, 0.002
SETTLED_S = 3.0
AT_ONCE = 1000
STATE = "bench/bridge/state"
NAME = ["home"]
IMPORTS = """
import aiomqtt, asyncio, pydantic_settings, sqlite3, ssl, xmltodict
print("ready", flush=True)
input()
"""


@contextlib.contextmanager
def interpreter() -> Iterator[tuple[int, float]]:
    """An interpreter that has imported the dependencies: its process, and the seconds that took."""
    began = time.perf_counter()
    command = [sys.executable, "-P", "-c", IMPORTS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process.pid, time.perf_counter() - began
        process.kill()


async def started(ours: Bridge, desk: Desk) -> float:
    """Start the bridge and return the seconds until it was online."""
    began = time.perf_counter()
    ours.start()
    await desk.hear(STATE, b"online")
    return time.perf_counter() - began


async def starts(ours: Bridge, desk: Desk, count: int) -> None:
    """Start the two in turn; the first time is left out: files are read from the disk, and a store is made."""
    online, imported = [], []
    for _ in range(count + 1):
        await desk.client.publish(STATE, "", qos=1, retain=True)
        online.append(await started(ours, desk))
        await ours.stop()
        with interpreter() as (_, took):
            imported.append(took)
    more = statistics.median(online[1:]) - statistics.median(imported[1:])
    measured = f"{more:.2f} s more ({statistics.median(imported[1:]):.2f} s)"
    row("start to `online`", "the imports alone", measured, f"{START_GOAL_S} s more", met=more <= START_GOAL_S)


async def idle(pid: int, seconds: float) -> None:
    before = processor_s(pid)
    await asyncio.sleep(seconds)
    share = (processor_s(pid) - before) / seconds
    row(f"idle processor time over {seconds:g} s", "", f"{share:.2%}", f"under {IDLE_GOAL:.1%}", met=share < IDLE_GOAL)


def memory(pid: int) -> None:
    with interpreter() as (bare, _):
        least = resident(bare)
    ours = resident(pid)
    shown = f"{{:.2f}} x ({ours / 2**20:.1f} MiB, {least / 2**20:.1f} MiB)"
    at_most("resident memory, idle", "the imports alone", ours / least, MEMORY_GOAL, shown)


async def growth(pid: int, desk: Desk, alarms: int) -> None:
    """Compare the memory after a tenth of the alarms, when every buffer has its size, and after all."""
    await desk.client.subscribe(BRIDGE.done, qos=1)
    sizes = []
    for count in (alarms // 10, alarms - alarms // 10):
        for done in range(0, count, AT_ONCE):
            await desk.burst(BRIDGE, min(AT_ONCE, count - done), NAME)
        await asyncio.sleep(SETTLED_S)
        sizes.append(resident(pid))
    early, late = sizes
    shown = f"{{:.2f}} x ({late / 2**20:.1f} MiB, {early / 2**20:.1f} MiB)"
    at_most(f"resident memory after {alarms} alarms", "after a tenth of them", late / early, GROWTH_GOAL, shown)


async def measure(given: argparse.Namespace, folder: Path, port: int) -> None:
    async with Meter().listening() as meter, Desk.open(port, meter) as desk:
        ours = bridge(folder, port, meter.port, NAME, 'heartbeat = "90s"')
        await starts(ours, desk, given.starts)
        await desk.client.publish(STATE, "", qos=1, retain=True)
        await started(ours, desk)
        assert ours.process is not None
        try:
            await asyncio.sleep(SETTLED_S)
            memory(ours.process.pid)
            await idle(ours.process.pid, given.seconds)
            await growth(ours.process.pid, desk, given.alarms)
        finally:
            ours.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--alarms", type=int, default=100_000)
    given = parser.parse_args()
    with broker() as (running_broker, folder):
        asyncio.run(measure(given, folder, running_broker.port))


if __name__ == "__main__":
    main()
