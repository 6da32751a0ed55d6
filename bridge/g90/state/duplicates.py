"""One physical event, told in several forms, is one event: which reports say what was told before.

A panel tells an event at most once in each form. A report is the same event as one told before if it comes in a form in
which that was not told yet and their times agree: by the panel's clock where both forms have one, else by when we heard
of them. Our clock may be set meanwhile, so a panel's that shows a date is believed alone. Whole sequences stay right,
too: open, close, open in one form and then in another are three events, not six.
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
"""The forms of one event were seen to differ by a second at most."""
WITHOUT_CLOCK: Final = timedelta(seconds=10)
REPEATED: Final = timedelta(minutes=1)
"""The very same report again, same form and second: a repetition, unless something else happened in that second."""
REMEMBERED: Final = timedelta(minutes=15)
_MOST: Final = 64


@dataclass(frozen=True, slots=True)
class ReportedEvent:
    """One physical event, and the forms that told it."""

    slot: str
    sensor: int | None
    forms: tuple[Form, ...]
    panel_time: int | None
    received: datetime
    held: PanelEvent | None = None
    """Not passed on yet: another form may know more of it."""
    times: tuple[int | None, ...] = ()
    """The panel's time in each of `forms`, which may differ by a second; empty: `panel_time` in all of them."""

    def said_at(self) -> dict[Form, int | None]:
        """Return the panel's time in each form."""
        return dict(zip(self.forms, self.times or (self.panel_time,) * len(self.forms), strict=True))


def match(told: Sequence[ReportedEvent], report: ReportedEvent) -> int | None:
    """Return the place in `told` of the event that `report` (in one form) says again, None for a new event."""
    form = report.forms[0]
    near = [i for i, entry in enumerate(told) if entry.slot == report.slot and _agree(entry, report)]
    unsaid = [i for i in near if form not in told[i].forms]
    if unsaid:
        return min(unsaid, key=lambda i: (told[i].panel_time != report.panel_time, i))
    return next((i for i in reversed(near) if _repeats(told, i, report)), None)


def merge(entry: ReportedEvent, report: ReportedEvent) -> ReportedEvent:
    """Return `entry` with the form of `report` added, and its time where none was known."""
    said = report.said_at() | entry.said_at()
    moment = report.panel_time if entry.panel_time is None else entry.panel_time
    if len(said) == len(entry.forms) and moment == entry.panel_time:
        return entry
    return replace(entry, forms=tuple(said), times=tuple(said.values()), panel_time=moment)


def remember(told: tuple[ReportedEvent, ...], report: ReportedEvent) -> tuple[ReportedEvent, ...]:
    """Return `told` with a new event and without those too old to be told again."""
    recent = tuple(t for t in told if t.held or _recent(t, report))
    return (*recent[-(_MOST - 1) :], report)


def unread(told: tuple[ReportedEvent, ...]) -> tuple[ReportedEvent, ...]:
    """Return `told` without what nothing but an answer to a request of ours told."""
    return tuple(t for t in told if t.forms != (Form.READ,))


def _recent(entry: ReportedEvent, report: ReportedEvent) -> bool:
    """Tell whether `entry` may be told again, by either clock: each of them may be set."""
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


def _repeats(told: Sequence[ReportedEvent], place: int, report: ReportedEvent) -> bool:
    entry, form = told[place], report.forms[0]
    if report.panel_time is None or report.panel_time != entry.said_at()[form]:
        return False
    later = told[place + 1 :]
    second = report.panel_time
    something_else = any(t.sensor == entry.sensor and t.said_at().get(form) == second for t in later)
    return not something_else and (report.received - entry.received <= REPEATED or second >= A_CLOCK)
