"""Detects a worker that hangs."""

from __future__ import annotations

import time


class Pulse:
    """A worker calls `beat` on each turn of its loop; it hangs if a turn takes longer than `longest_s`."""

    def __init__(self, name: str, longest_s: float) -> None:
        self.name = name
        self._longest_s = longest_s
        self.beat()

    def beat(self) -> None:
        self._beat_at = time.monotonic()

    @property
    def stopped(self) -> bool:
        return time.monotonic() - self._beat_at > self._longest_s
