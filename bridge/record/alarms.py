"""From results in the history to figures: outcomes, transmission times, late alarms. Pure."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bridge.common.models import Outcome, Request

PENDING = "pending"
"""In place of an outcome: the alarm waits in the outbox."""
_DELIVERED = (Outcome.ACCEPTED, Outcome.DUPLICATE)


@dataclass(frozen=True, slots=True)
class AlarmEntry:
    """An alarm, restore or test alarm and how it ended. Times are Unix times in seconds."""

    request: str
    outcome: str
    """An outcome of TOPICS.md, Results; or PENDING."""
    accepted_at: float
    completed_at: float | None = None
    event_code: str = ""
    reference: str = ""
    receiver: str = ""
    path: str = ""
    attempts: int | None = None
    error: str = ""
    command_id: int | None = None

    @property
    def delivered(self) -> bool:
        return self.outcome in _DELIVERED

    @property
    def seconds(self) -> float | None:
        """The time from the bridge's acceptance to the receiver's; None where no receiver took it."""
        if not (self.delivered and self.receiver) or self.completed_at is None:
            return None
        return max(self.completed_at - self.accepted_at, 0.0)

    def is_late(self, after_s: float, now: float) -> bool:
        """Whether it took longer than `after_s`, or was not delivered; what waits is late after the same time."""
        if self.outcome == PENDING:
            return now - self.accepted_at > after_s
        return not self.delivered or (self.seconds or 0.0) > after_s


@dataclass(frozen=True, slots=True)
class Transmission:
    """Transmission times in seconds: mean, 95 % (nearest rank) and longest."""

    mean_s: float
    p95_s: float
    max_s: float


def read_entry(request: str, payload: str, command_id: int | None = None) -> AlarmEntry | None:
    """Return the entry of a result as published; None if it cannot be read."""
    try:
        fields = json.loads(payload)
    except ValueError:
        return None
    return entry(request, fields, command_id) if isinstance(fields, dict) else None


def entry(request: str, fields: Mapping[str, Any], command_id: int | None = None) -> AlarmEntry | None:
    """Return the entry of a result; None if it has no times that can be read."""
    times = [_time(fields.get(name)) for name in ("accepted_at", "completed_at")]
    accepted = times[1] if times[0] is None else times[0]
    if accepted is None:
        return None
    texts = {name: str(fields.get(name) or "") for name in ("event_code", "reference", "receiver", "path", "error")}
    attempts = fields.get("attempts")
    return AlarmEntry(
        request, str(fields.get("outcome")), accepted, times[1],
        attempts=attempts if isinstance(attempts, int) else None, command_id=command_id, **texts,
    )  # fmt: skip


def final(entries: Iterable[AlarmEntry]) -> list[AlarmEntry]:
    """Return `entries` in order, without refused passwords that another entry of the same alarm follows."""
    found = list(entries)
    last = {each.command_id: each for each in found}
    return [
        each
        for each in found
        if each.outcome != Outcome.UNAUTHORIZED or each.command_id is None or last[each.command_id] is each
    ]


def outcomes(entries: Iterable[AlarmEntry]) -> dict[str, int]:
    """Return how many ended in which way, most frequent first."""
    return dict(Counter(each.outcome for each in entries).most_common())


def transmission(entries: Iterable[AlarmEntry]) -> Transmission | None:
    """Return the transmission times; None if no receiver took any."""
    times = sorted(each.seconds for each in entries if each.seconds is not None)
    if not times:
        return None
    return Transmission(math.fsum(times) / len(times), times[math.ceil(0.95 * len(times)) - 1], times[-1])


def split(entries: Sequence[AlarmEntry]) -> tuple[list[AlarmEntry], list[AlarmEntry]]:
    """Return the alarms and restores, and the test alarms."""
    tests = [each for each in entries if each.request == Request.TEST]
    return [each for each in entries if each.request in (Request.ALARM, Request.RESTORE)], tests


def _time(text: object) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp() if isinstance(text, str) else None
    except ValueError:
        return None
