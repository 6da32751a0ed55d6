"""When to try again, and when the next heartbeat is due. Pure: time is given, in seconds of a monotonic clock."""

from __future__ import annotations

import random
from collections.abc import Callable

FIRST_S = 1.0
LONGEST_S = 60.0
_HEARTBEATS_PER_LEVEL = 4
"""The seed recommends three to six within a level."""
_FEWEST_PER_LEVEL = 2
"""The seed requires two."""


class Backoff:
    """1 s doubling to 60 s, each shortened by up to a quarter at random: a thousand bridges do not retry as one."""

    def __init__(
        self, jitter: Callable[[], float] = random.random, *, first: float = FIRST_S, longest: float = LONGEST_S
    ) -> None:
        self._jitter = jitter
        self._first = first
        self._longest = longest
        self._next = first

    def fail(self) -> float:
        """Return the seconds to wait after one more failure."""
        wait = self._next
        self._next = min(2 * wait, self._longest)
        return self._shortened(wait)

    def refuse(self) -> float:
        """Return the wait after an authentication error: at once the longest, a wrong password does not mend itself."""
        self._next = self._longest
        return self._shortened(self._longest)

    def reset(self) -> None:
        self._next = self._first

    def _shortened(self, wait: float) -> float:
        return wait * (1 - self._jitter() / 4)


class Heartbeat:
    """The schedule of one transmitter (seed, section Monitored Connection); `level` in seconds, None for off."""

    def __init__(self, level: float | None, now: float) -> None:
        self.level = level
        self._backoff = Backoff()
        self._interval = self._usual
        self.due: float | None = now if level else None
        """When the next one is to be sent: the first at start; None where there is none."""

    @property
    def _usual(self) -> float:
        return self.level / _HEARTBEATS_PER_LEVEL if self.level else 0.0

    def overdue(self, now: float) -> bool:
        """Whether the next one has waited for a whole interval, so that even an alarm has to let it pass."""
        return self.due is not None and now - self.due >= self._interval

    def accepted(self, now: float) -> None:
        self._interval = self._usual
        self._backoff.reset()
        self._plan(now)

    def too_often(self, now: float) -> None:
        """Wait longer (code 101), though never so long that fewer than two fall within the level."""
        if self.level:
            self._interval = min(self._interval * 1.5, self.level / _FEWEST_PER_LEVEL)
        self._plan(now)

    def failed(self, now: float) -> None:
        """Try again soon, the sooner the link is known to be back."""
        if self.level:
            self.due = now + min(self._backoff.fail(), self._usual)

    def refused(self, now: float) -> None:
        if self.level:
            self.due = now + max(self._backoff.refuse(), self._usual)

    def disable(self) -> None:
        """Stop (code 9): the operator has not enabled heartbeats for this transmitter."""
        self.level = None
        self.due = None

    def _plan(self, now: float) -> None:
        if self.level:
            self.due = now + self._interval
