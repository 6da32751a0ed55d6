"""What the bridge writes to the card: bytes and calls for an alarm, alone and among many, and for an idle time.

Run it: `tests/bench/run writes [--count 200] [--seconds 60]`. Counted by the kernel for the bridge's process
(`/proc/PID/io`, wchar and syscw: what it wrote to files, its log at level `error` included). An idle time has
heartbeats, and is reckoned up to a day.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

from bench.figures import row
from support.brokers import Mosquitto
from support.harness import Site

_SETTLED_S = 2.0
"""Until what belongs to the alarms before is written."""


def counted(site: Site) -> tuple[int, int]:
    """Return the bytes and the calls so far."""
    assert site.bridge.process is not None
    lines = Path(f"/proc/{site.bridge.process.pid}/io").read_text("ascii").splitlines()
    found = dict(line.split(": ") for line in lines)
    return int(found["wchar"]), int(found["syscw"])


async def settled(site: Site) -> tuple[int, int]:
    await asyncio.sleep(_SETTLED_S)
    return counted(site)


def told(what: str, before: tuple[int, int], after: tuple[int, int], each: float) -> None:
    size, calls = ((late - early) / each for early, late in zip(before, after, strict=True))
    row(f"written to the disk: {what}", "", f"{size / 1024:.0f} KiB in {calls:.0f} calls")


async def bench(site: Site, count: int, seconds: int) -> None:
    async with site:
        site.settings["log"]["level"] = "error"
        site.home["heartbeat"] = "90s"
        await site.start()
        before = await settled(site)
        for _ in range(count):
            await site.do("alarm/raise", "BA")
        alone = await settled(site)
        mark = site.mqtt.mark
        for _ in range(count):
            await site.send("alarm/raise", "BA")
        await site.mqtt.wait_all("transmitter/home/alarm/response", count, after=mark)
        among = await settled(site)
        await asyncio.sleep(seconds)
        idle = counted(site)
    told("an alarm, the one before it done", before, alone, count)
    told("an alarm among many", alone, among, count)
    told("an idle day", among, idle, seconds / 86400)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=60)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, Mosquitto(Path(name)) as broker:
        folder = Path(name) / "site"
        folder.mkdir()
        asyncio.run(asyncio.wait_for(bench(Site(broker, folder, "bench"), given.count, given.seconds), 600))


if __name__ == "__main__":
    main()
