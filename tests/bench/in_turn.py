"""Two contenders, each alarm through before the next: how long it takes from publish to the XML at the receiver."""

from __future__ import annotations

import argparse
import asyncio
import statistics
from collections.abc import Mapping, Sequence

from bench.figures import at_most
from bench.kit import Contender, Desk

WARM_UP = 20
NAME = ["home"]


def arguments(description: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--apart-ms", type=float, default=100)
    return parser.parse_args()


async def in_turn(desk: Desk, pair: Sequence[Contender], count: int, apart_s: float) -> dict[str, list[float]]:
    """Return the seconds of each of `count` alarms, by the contender's name."""
    found: dict[str, list[float]] = {contender.name: [] for contender in pair}
    for contender in pair:
        await desk.client.subscribe(contender.done, qos=1)
    for _ in range(WARM_UP + count):
        for contender in pair:
            found[contender.name].append(await desk.burst(contender, 1, NAME))
            await asyncio.sleep(apart_s)
    return {name: times[WARM_UP:] for name, times in found.items()}


def show(figure: str, beside: str, found: Mapping[str, Sequence[float]], goals: dict[str, tuple[int, float]]) -> None:
    """Print a row for each of `goals`, by title: the percentile and how the first may be to the second."""
    percentiles = [statistics.quantiles(times, n=100) for times in found.values()]
    for title, (percent, goal) in goals.items():
        first, second = (each[percent - 1] for each in percentiles)
        shown = f"{{:.2f}} x ({first * 1000:.1f} ms, {second * 1000:.1f} ms)"
        at_most(f"{figure}, {title}", beside, first / second, goal, shown)
