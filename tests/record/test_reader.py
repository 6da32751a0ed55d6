"""Reading the figures of a month."""

from __future__ import annotations

import asyncio
import tracemalloc
from pathlib import Path

from support.stores import open_store

from bridge.record.figures import Subject
from bridge.record.months import Month
from bridge.record.reader import read_month
from bridge.store.edges import Edges, OpenRun

MONTH = Month(2026, 10)
RUNS = 100


async def peak(edges: Edges, transmitters: int) -> int:
    """Return the most memory that reading the figures of so many transmitters took, in bytes."""
    subjects, end = [Subject(f"t{number}") for number in range(transmitters)], MONTH.end()
    async for _ in read_month(edges, subjects[:1], MONTH, end):
        pass  # what is imported and cached once
    tracemalloc.start()
    try:
        names = [found.transmitter async for found in read_month(edges, subjects, MONTH, end)]
        assert names == [each.name for each in subjects]
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_figures_of_ten_times_as_many_take_no_more_memory_at_once(tmp_path: Path) -> None:
    """A bridge with thousands of transmitters, which was restarted a hundred times, reads them each hour."""

    async def scenario() -> None:
        async with await open_store(tmp_path / "store.sqlite") as store:
            edges, begin = Edges(store), MONTH.start()
            for number in range(RUNS):
                await edges.save(OpenRun(begin + 60.0 * number, begin + 60.0 * number + 30.0))
            few, many = await peak(edges, 30), await peak(edges, 300)
            assert many < 2 * few

    asyncio.run(scenario())
