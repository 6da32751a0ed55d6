"""How long to wait before the next attempt."""

from __future__ import annotations

import random
from collections.abc import Callable

FIRST_S = 1.0
LONGEST_S = 60.0


class Backoff:
    """1 s doubling to 60 s (PROTOCOL.md, Retries).

    Each wait is shortened by up to a quarter at random, so that many bridges do not retry at the same time.
    """

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self._jitter = jitter
        self._next = FIRST_S

    def fail(self) -> float:
        """Return the seconds to wait after one more failure."""
        wait = self._next
        self._next = min(2 * wait, LONGEST_S)
        return self._shortened(wait)

    def refuse(self) -> float:
        """Return the longest wait: a refused password stays refused until a person acts."""
        self._next = LONGEST_S
        return self._shortened(LONGEST_S)

    def reset(self) -> None:
        self._next = FIRST_S

    def _shortened(self, wait: float) -> float:
        return wait * (1 - self._jitter() / 4)
