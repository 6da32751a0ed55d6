"""From runs and edges to availability: what was up, down and unknown between two times. Pure.

Time in which the bridge did not run is unknown, and so is a part from the start of a run to its first edge. Where runs
overlap because the clock was set back, the later run counts.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bridge.common.runs import Edge, Run

_DIGITS = 1000
"""Percentages have three decimals and are rounded down: an outage of 3 s in a month does not show as 100 %."""


@dataclass(frozen=True, slots=True)
class Span:
    """A time in one state; `up` is None where it is unknown."""

    start: float
    end: float
    up: bool | None


@dataclass(frozen=True, slots=True)
class Availability:
    """How long a part was up, down and unknown, in seconds."""

    up_s: float = 0.0
    down_s: float = 0.0
    unknown_s: float = 0.0
    longest_outage_s: float = 0.0
    outages: int = 0

    @property
    def percent(self) -> float | None:
        """The share of the known time in which the part was up; None if nothing is known."""
        known = self.up_s + self.down_s
        return math.floor(self.up_s / known * 100 * _DIGITS) / _DIGITS if known else None

    def as_json(self) -> dict[str, object]:
        """Return the published form (TOPICS.md, Record)."""
        return {
            "availability": self.percent,
            "down_s": round(self.down_s),
            "longest_outage_s": round(self.longest_outage_s),
            "unknown_s": round(self.unknown_s),
        }


class Timeline:
    """The states of one part, without gaps from the first run to the end of the last."""

    def __init__(self, runs: Iterable[tuple[float, float, Sequence[Edge]]]) -> None:
        """`runs`: start, end and the part's edges of each run, in the order of the runs."""
        self._spans: list[Span] = []
        for start, end, edges in runs:
            self._add(start, None)
            state: bool | None = None
            for edge in sorted(edges, key=lambda each: each.at):
                self._add(min(max(edge.at, start), end), state)
                state = edge.up
            self._add(end, state)
        self._starts = [span.start for span in self._spans]

    def _add(self, until: float, up: bool | None) -> None:  # noqa: FBT001 - a state
        if not self._spans:
            self._spans.append(Span(float("-inf"), until, None))
        last = self._spans[-1]
        if until <= last.end:
            return
        if last.up is up:
            self._spans[-1] = Span(last.start, until, up)
        else:
            self._spans.append(Span(last.end, until, up))

    def between(self, start: float, end: float) -> list[Span]:
        """Return the spans from `start` to `end`, clipped; nothing is known after the last."""
        first = max(bisect_right(self._starts, start) - 1, 0)
        found = []
        at = start
        for span in self._spans[first:]:
            if span.start >= end:
                break
            if span.end > start:
                found.append(Span(max(span.start, start), min(span.end, end), span.up))
                at = found[-1].end
        return found if at >= end else [*found, Span(at, end, None)]

    def availability(self, start: float, end: float) -> Availability:
        """Return the sums between two times; up, down and unknown make up all of it."""
        spans = self.between(start, end)
        sums = {state: math.fsum(s.end - s.start for s in spans if s.up is state) for state in (True, False, None)}
        down = [span.end - span.start for span in spans if span.up is False]
        return Availability(sums[True], sums[False], sums[None], max(down, default=0.0), len(down))


def timeline(runs: Sequence[Run], transmitter: str, part: str) -> Timeline:
    """Return the timeline of a part; each run counts until a later one starts."""
    clipped = []
    limit = float("inf")
    for run in reversed(runs):
        if (end := min(run.end, limit)) > run.start:
            edges = [edge for edge in run.edges if edge.part == part and edge.transmitter == transmitter]
            clipped.append((run.start, end, edges))
        limit = min(limit, run.start)
    return Timeline(reversed(clipped))
