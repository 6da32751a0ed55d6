"""Reads the figures of a month in portions, as alarms wait for the store meanwhile."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence

from bridge.common.models import Request
from bridge.record.alarms import AlarmEntry, read_entry
from bridge.record.figures import Figures, Subject, figures
from bridge.record.months import Month
from bridge.store.edges import Edges, StoredResult

_REQUESTS = (Request.ALARM, Request.RESTORE, Request.TEST)


async def read_month(
    edges: Edges, subjects: Sequence[Subject], month: Month, now: float, pending: Iterable[tuple[str, AlarmEntry]] = ()
) -> list[Figures]:
    """Return the figures of each of `subjects`, in order. Raises StoreError.

    `now` is until when a month that is not over is measured; `pending` are alarms that wait, by transmitter.
    """
    start, end = month.start(), month.end()
    entries: dict[str, list[AlarmEntry]] = defaultdict(list)
    async for portion in edges.results(start):
        for result in portion:
            found = _entry(result)
            if found is not None:
                entries[result.transmitter].append(found)
    for name, waiting in pending:
        entries[name].append(waiting)
    runs = await edges.runs(start, end, [subject.name for subject in subjects])
    months = []
    for subject in subjects:
        months.append(figures(subject, month, runs[subject.name], entries[subject.name], now))
        await asyncio.sleep(0)  # a thousand transmitters take a while
    return months


def _entry(result: StoredResult) -> AlarmEntry | None:
    return read_entry(result.request, result.payload, result.command_id) if result.request in _REQUESTS else None
