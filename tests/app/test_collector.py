"""What a bridge with many transmitters keeps from the garbage collector, and gives back."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import suppress

import pytest

from bridge.app.collector import Collector


@pytest.fixture(autouse=True)
def _unfrozen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("bridge.app.collector._EACH_S", 0.01)
    gc.unfreeze()
    yield
    gc.unfreeze()


async def _run(collector: Collector, seconds: float) -> int:
    """Run `collector` and return how many objects were frozen before it was cancelled."""
    running = asyncio.create_task(collector.run())
    await asyncio.sleep(seconds)
    frozen = gc.get_freeze_count()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    return frozen


def test_what_was_built_and_what_runs_is_frozen_once_and_given_back_at_the_end() -> None:
    collector = Collector(10_000)
    collector.built()
    built = gc.get_freeze_count()
    made = [[number] for number in range(1000)]
    assert asyncio.run(_run(collector, 0.2)) >= built + len(made)
    assert gc.get_freeze_count() == 0, "a node that gives up a shard would keep it in memory"


def test_what_another_bridge_of_the_process_has_unfrozen_is_frozen_again() -> None:
    collector = Collector(10_000)
    collector.built()
    gc.unfreeze()
    assert asyncio.run(_run(collector, 0.2)) > 0


def test_a_home_is_left_to_the_collector() -> None:
    collector = Collector(3)
    collector.built()
    assert asyncio.run(_run(collector, 0.1)) == 0
