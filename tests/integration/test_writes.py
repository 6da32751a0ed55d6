"""What is written to the card: little for an alarm, nothing while nothing happens."""

from __future__ import annotations

import asyncio
from pathlib import Path

from support.harness import Site, live

BEATS = 15
PER_ALARM = 120_000
"""Bytes. Measured: a third of it, see tests/bench/bench_writes.py."""


def written(site: Site) -> int:
    """Return how many bytes the bridge has written to files so far."""
    assert site.bridge.process is not None
    lines = Path(f"/proc/{site.bridge.process.pid}/io").read_text("ascii").splitlines()
    return int(dict(line.split(": ") for line in lines)["wchar"])


def files(site: Site) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in site.folder.rglob("*")}


async def _beats(site: Site, count: int) -> None:
    """Wait for so many heartbeats."""
    goal = len(site.received("ping")) + count
    async with asyncio.timeout(30):
        while len(site.received("ping")) < goal:  # noqa: ASYNC110 - the receiver has no event
            await asyncio.sleep(0.05)


@live
async def test_nothing_is_written_while_only_heartbeats_go(site: Site) -> None:
    site.settings["log"]["level"] = "info"
    site.home["heartbeat"] = "90s"
    site.bridge.program = (str(Path(__file__).parents[1] / "support/hurried.py"),)
    await site.start()
    assert (await site.do("alarm/raise", "BA"))["outcome"] == "accepted"
    await _beats(site, 5)  # until what belongs to the alarm is written
    before, bytes_before = files(site), written(site)
    await _beats(site, BEATS)
    assert files(site) == before
    assert written(site) == bytes_before


@live
async def test_an_alarm_costs_little(site: Site) -> None:
    site.settings["log"]["level"] = "error"
    await site.start()
    count = 20
    before = written(site)
    for _ in range(count):
        await site.do("alarm/raise", "BA")
    assert 0 < written(site) - before < count * PER_ALARM
