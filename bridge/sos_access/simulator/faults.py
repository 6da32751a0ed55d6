"""Faults of the simulated receiver, to test what a transmitter does."""

from __future__ import annotations

import secrets
from collections import deque
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one request; all that is set applies.

    The delay comes first. `drop` closes without processing the request; `status` answers that code without processing;
    `lose` processes and closes without a response; `garbage` processes and answers random bytes (`random`) or half of
    the response (`truncated`); `segment` sends the response byte by byte, with that many seconds between.
    """

    status: int | None = None
    drop: bool = False
    lose: bool = False
    delay: float = 0.0
    garbage: Literal["random", "truncated"] | None = None
    segment: float | None = None

    def spoil(self, answer: bytes) -> bytes:
        """Return what to send instead of `answer`."""
        match self.garbage:
            case "random":
                return secrets.token_bytes(len(answer))
            case "truncated":
                return answer[: len(answer) // 2]
            case None:
                return answer


NO_FAULT = Fault()


class Faults:
    """A queue of faults, each for a number of requests."""

    def __init__(self) -> None:
        self._queue: deque[tuple[Fault, int | None]] = deque()

    def add(self, fault: Fault, times: int | None = None) -> None:
        """Apply `fault` to `times` requests, or to all that follow."""
        if times is None or times > 0:
            self._queue.append((fault, times))

    def clear(self) -> None:
        self._queue.clear()

    def take(self) -> Fault:
        if not self._queue:
            return NO_FAULT
        fault, times = self._queue[0]
        if times is not None:
            self._queue.popleft()
            if times > 1:
                self._queue.appendleft((fault, times - 1))
        return fault
