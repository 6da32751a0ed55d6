"""The figures of one transmitter and month (TOPICS.md, Record). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, tzinfo

from bridge.common.runs import Run
from bridge.common.text import timestamp
from bridge.record.alarms import AlarmEntry, Transmission, final, outcomes, split, transmission
from bridge.record.availability import Availability, timeline
from bridge.record.months import Month

LINK = "link"


@dataclass(frozen=True, slots=True)
class Subject:
    """A transmitter whose line is measured."""

    name: str
    receivers: tuple[str, ...] = ("primary",)
    paths: tuple[str, ...] = ()
    undelivered_after: float = 30.0

    @property
    def parts(self) -> tuple[str, ...]:
        return (LINK, *(f"receiver/{each}" for each in self.receivers), *(f"path/{each}" for each in self.paths))


@dataclass(frozen=True, slots=True)
class PartFigures:
    """The availability of the link, a receiver or a path, in all and by day."""

    total: Availability
    days: tuple[tuple[date, Availability], ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one transmitter in one month, up to `until`."""

    transmitter: str
    month: Month
    start: float
    until: float
    parts: Mapping[str, PartFigures]
    outcomes: Mapping[str, int]
    """Alarms and restores by outcome."""
    transmission: Transmission | None
    slow: int
    """Delivered later than `undelivered_after`."""
    undelivered_after: float
    tests_done: int
    tests_failed: int
    late: tuple[AlarmEntry, ...]
    """The alarms and restores that were slow or not delivered, oldest first."""

    def as_json(self) -> dict[str, object]:
        """Return the payload of `record` (TOPICS.md, Record)."""
        sums = {part: each.total.as_json() for part, each in self.parts.items()}
        return {
            "month": str(self.month),
            "since": iso(self.start),
            "until": iso(self.until),
            "link": sums[LINK],
            "receivers": _below("receiver/", sums),
            "paths": _below("path/", sums),
            "alarms": dict(self.outcomes),
            "transmission": _rounded(self.transmission),
            "slow": self.slow,
            "tests": {"done": self.tests_done, "failed": self.tests_failed},
        }


def figures(
    subject: Subject,
    month: Month,
    runs: Sequence[Run],
    entries: Sequence[AlarmEntry],
    now: float,
    zone: tzinfo | None = None,
) -> Figures:
    """Return the figures of `month`, of a month that is not over up to `now`.

    `runs` are all that touch the month, in the order in which they were recorded; `entries` may be of other months.
    """
    start, end = month.start(zone), month.end(zone)
    until = min(max(now, start), end)
    days = [(day, begins, min(ends, until)) for day, begins, ends in month.days(zone) if begins < until]
    alarms, tests = split(final(each for each in entries if start <= each.accepted_at < end))
    after = subject.undelivered_after
    done = sum(each.delivered for each in tests)
    return Figures(
        transmitter=subject.name,
        month=month,
        start=start,
        until=until,
        parts={part: _part(runs, subject.name, part, (start, until), days) for part in subject.parts},
        outcomes=outcomes(alarms),
        transmission=transmission(alarms),
        slow=sum((each.seconds or 0.0) > after for each in alarms),
        undelivered_after=after,
        tests_done=done,
        tests_failed=len(tests) - done,
        late=tuple(sorted((a for a in alarms if a.is_late(after, now)), key=lambda each: each.accepted_at)),
    )


def _part(
    runs: Sequence[Run],
    transmitter: str,
    part: str,
    all_of_it: tuple[float, float],
    days: Sequence[tuple[date, float, float]],
) -> PartFigures:
    found = timeline(runs, transmitter, part)
    by_day = tuple((day, found.availability(start, end)) for day, start, end in days)
    return PartFigures(found.availability(*all_of_it), by_day)


def iso(at: float) -> str:
    """Return a Unix time as published."""
    return timestamp(datetime.fromtimestamp(at, UTC))


def _below(prefix: str, sums: Mapping[str, object]) -> dict[str, object]:
    return {part.removeprefix(prefix): found for part, found in sums.items() if part.startswith(prefix)}


def _rounded(times: Transmission | None) -> dict[str, float] | None:
    return {name: round(value, 3) for name, value in asdict(times).items()} if times else None
