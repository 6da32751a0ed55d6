"""Reads the figures of a month in portions, as alarms wait for the store meanwhile."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Sequence

from bridge.common.models import Request
from bridge.record.alarms import PENDING, AlarmEntry, read_entry
from bridge.record.figures import Figures, Subject, figures
from bridge.record.months import Month
from bridge.store.database import Store
from bridge.store.edges import Edges, StoredResult
from bridge.store.outbox import Outbox
from bridge.store.records import Queued, State

_REQUESTS = (Request.ALARM, Request.RESTORE, Request.TEST)


async def read_report(
    store: Store, outbox: Outbox, subjects: Sequence[Subject], month: Month, now: float, *, running: bool
) -> list[Figures]:
    """Return the figures with the alarms that wait. Raises StoreError.

    `running`: what the running service has not written yet is not measured yet.
    """
    edges, pending = Edges(store), await outbox.list()
    if running:
        runs = (await edges.runs(now, now)).of("")
        now = min(now, runs[-1].end) if runs else now
    waiting = [(each.command.transmitter, _waiting(each)) for each in pending if _is_waiting(each)]
    return [found async for found in read_month(edges, subjects, month, now, waiting)]


async def read_month(
    edges: Edges, subjects: Sequence[Subject], month: Month, now: float, pending: Iterable[tuple[str, AlarmEntry]] = ()
) -> AsyncGenerator[Figures, None]:
    """Yield the figures of each of `subjects`, in order. Raises StoreError.

    Those of thousands would take much memory at once. `now` is until when a month that is not over is measured;
    `pending` are alarms that wait, by transmitter.
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
    runs = await edges.runs(start, end)
    for subject in subjects:
        yield figures(subject, month, runs.of(subject.name), entries.get(subject.name, ()), now)


def _entry(result: StoredResult) -> AlarmEntry | None:
    return read_entry(result.request, result.payload, result.command_id) if result.request in _REQUESTS else None


def _is_waiting(queued: Queued) -> bool:
    return queued.state is State.PENDING and queued.command.request in (Request.ALARM, Request.RESTORE)


def _waiting(queued: Queued) -> AlarmEntry:
    command = queued.command
    return AlarmEntry(
        request=command.request,
        outcome=PENDING,
        accepted_at=command.accepted_at.timestamp(),
        event_code=command.identity.event_code,
        reference=command.reference or "",
        attempts=queued.attempts or None,
        error=queued.error,
        command_id=queued.id,
    )
