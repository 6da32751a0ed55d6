"""A worker's sign of life."""

from __future__ import annotations

import time


class Pulse:
    """Beats each time a worker comes round its loop, and knows how long a turn may take at most."""

    def __init__(self, name: str, longest_s: float) -> None:
        self.name = name
        self._longest_s = longest_s
        self.beat()

    def beat(self) -> None:
        self._beat_at = time.monotonic()

    @property
    def stopped(self) -> bool:
        """Whether the worker hangs."""
        return time.monotonic() - self._beat_at > self._longest_s
