"""Finds reports of an event that was reported before in another form (PROTOCOL.md, Repeated reports).

A panel sends an event at most once in each form. A report belongs to an earlier event if its form is new for that event
and the times agree: by the panel's clock if both forms have a time, else by arrival. The bridge's clock may be set in
between, so a panel's clock that shows a date is trusted alone. Sequences stay correct: open, close, open in one form
and then in another are three events, not six.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from bridge.g90.wire.events import A_CLOCK, Form

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.g90.wire.events import PanelEvent

CLOCK_TOLERANCE_S: Final = 2
"""The times of the forms of one event differ by up to a second."""
WITHOUT_CLOCK: Final = timedelta(seconds=10)
REPEATED: Final = timedelta(minutes=1)
"""The same report again, same form and panel time: a repetition, unless something else happened in that second."""
REMEMBERED: Final = timedelta(minutes=15)
_MOST: Final = 64


@dataclass(frozen=True, slots=True)
class ReportedEvent:
    """One event and the forms in which it was reported."""

    slot: str
    sensor: int | None
    forms: tuple[Form, ...]
    panel_time: int | None
    received: datetime
    held: PanelEvent | None = None
    """The event while it is held because another form may say more."""
    times: tuple[int | None, ...] = ()
    """The panel's time in each of `forms`, which may differ by a second; empty: `panel_time` in all of them."""

    def form_times(self) -> dict[Form, int | None]:
        """Return the panel's time in each form."""
        return dict(zip(self.forms, self.times or (self.panel_time,) * len(self.forms), strict=True))


def match(reported: Sequence[ReportedEvent], report: ReportedEvent) -> int | None:
    """Return the position in `reported` of the event that `report` (in one form) repeats, None for a new event."""
    form = report.forms[0]
    near = [i for i, entry in enumerate(reported) if entry.slot == report.slot and _agree(entry, report)]
    missing = [i for i in near if form not in reported[i].forms]
    if missing:
        return min(missing, key=lambda i: (reported[i].panel_time != report.panel_time, i))
    return next((i for i in reversed(near) if _repeats(reported, i, report)), None)


def merge(entry: ReportedEvent, report: ReportedEvent) -> ReportedEvent:
    """Return `entry` with the form of `report` added, and its time if none was known."""
    times = report.form_times() | entry.form_times()
    moment = report.panel_time if entry.panel_time is None else entry.panel_time
    if len(times) == len(entry.forms) and moment == entry.panel_time:
        return entry
    return replace(entry, forms=tuple(times), times=tuple(times.values()), panel_time=moment)


def remember(reported: tuple[ReportedEvent, ...], report: ReportedEvent) -> tuple[ReportedEvent, ...]:
    """Return `reported` with a new event added and without those too old to be repeated."""
    recent = tuple(t for t in reported if t.held or _recent(t, report))
    return (*recent[-(_MOST - 1) :], report)


def unread(reported: tuple[ReportedEvent, ...]) -> tuple[ReportedEvent, ...]:
    """Return `reported` without events known only from a response to the bridge's status request."""
    return tuple(t for t in reported if t.forms != (Form.READ,))


def _recent(entry: ReportedEvent, report: ReportedEvent) -> bool:
    """Return whether `entry` may still be repeated, by either clock: each of them may have been set."""
    if report.received - entry.received < REMEMBERED:
        return True
    if entry.panel_time is None or report.panel_time is None:
        return False
    return abs(report.panel_time - entry.panel_time) < REMEMBERED.total_seconds()


def _agree(entry: ReportedEvent, report: ReportedEvent) -> bool:
    elapsed = abs(report.received - entry.received)
    if entry.panel_time is None or report.panel_time is None:
        return elapsed <= WITHOUT_CLOCK
    recent = elapsed <= REMEMBERED or report.panel_time >= A_CLOCK
    return recent and abs(entry.panel_time - report.panel_time) <= CLOCK_TOLERANCE_S


def _repeats(reported: Sequence[ReportedEvent], place: int, report: ReportedEvent) -> bool:
    entry, form = reported[place], report.forms[0]
    if report.panel_time is None or report.panel_time != entry.form_times()[form]:
        return False
    later = reported[place + 1 :]
    second = report.panel_time
    something_else = any(t.sensor == entry.sensor and t.form_times().get(form) == second for t in later)
    return not something_else and (report.received - entry.received <= REPEATED or second >= A_CLOCK)
