"""The schedule of heartbeats (sos_access/PROTOCOL.md, Heartbeat schedule)."""

from __future__ import annotations

from bridge.common.backoff import Backoff

_HEARTBEATS_PER_LEVEL = 4
"""The protocol recommends three to six within a level."""
_FEWEST_PER_LEVEL = 2
"""The protocol requires two."""


class Heartbeat:
    """When the next heartbeat is due; `level` in seconds, None for off, `now` in seconds of a monotonic clock."""

    def __init__(self, level: float | None, now: float) -> None:
        self.level = level
        self._backoff = Backoff()
        self._interval = self._usual
        self.due: float | None = now if level else None
        """When the next one is due, the first at start; None if there is none."""

    @property
    def _usual(self) -> float:
        return self.level / _HEARTBEATS_PER_LEVEL if self.level else 0.0

    def overdue(self, now: float) -> bool:
        """Whether it is late by a whole interval, so that it goes before alarms."""
        return self.due is not None and now - self.due >= self._interval

    def accepted(self, now: float) -> None:
        self._interval = self._usual
        self._backoff.reset()
        self._plan(now)

    def too_often(self, now: float) -> None:
        """Wait longer (status 101), but keep two heartbeats within the level."""
        if self.level:
            self._interval = min(self._interval * 1.5, self.level / _FEWEST_PER_LEVEL)
        self._plan(now)

    def failed(self, now: float) -> None:
        """Retry soon, to notice early that the link is back."""
        if self.level:
            self.due = now + min(self._backoff.fail(), self._usual)

    def refused(self, now: float) -> None:
        if self.level:
            self.due = now + max(self._backoff.refuse(), self._usual)

    def disable(self) -> None:
        """Stop (status 9): the operator has not enabled heartbeats for this transmitter."""
        self.level = None
        self.due = None

    def _plan(self, now: float) -> None:
        if self.level:
            self.due = now + self._interval
