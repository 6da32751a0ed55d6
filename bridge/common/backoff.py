"""How long to wait before the next attempt."""

from __future__ import annotations

import random
from collections.abc import Callable

FIRST_S = 1.0
LONGEST_S = 60.0


class Backoff:
    """Seconds: 1, doubling to 60.

    Each wait is shortened by up to a quarter at random, so that many bridges do not retry at the same time.
    """

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
        return wait * (1 - self._jitter() / 4)

    def reset(self) -> None:
        self._next = self._first
