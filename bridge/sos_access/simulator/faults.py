"""Faults that a simulated receiver shows on request, to see what a transmitter does with them."""

from __future__ import annotations

import secrets
from collections import deque
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one request; all that is set happens together.

    The delay comes first. `drop` closes before the request is treated; `status` answers that code without treating
    it; `lose` treats it and closes without an answer; `garbage` treats it and answers nonsense (`random`) or half of
    the answer (`truncated`); `segment` sends the answer byte by byte with so many seconds between.
    """

    status: int | None = None
    drop: bool = False
    lose: bool = False
    delay: float = 0.0
    garbage: Literal["random", "truncated"] | None = None
    segment: float | None = None

    def spoil(self, answer: bytes) -> bytes:
        """Return what is sent in place of `answer`."""
        match self.garbage:
            case "random":
                return secrets.token_bytes(len(answer))
            case "truncated":
                return answer[: len(answer) // 2]
            case None:
                return answer


NO_FAULT = Fault()


class Faults:
    """A queue of faults: the first one meets so many requests, then the next one does."""

    def __init__(self) -> None:
        self._queue: deque[tuple[Fault, int | None]] = deque()

    def add(self, fault: Fault, times: int | None = None) -> None:
        """Let `fault` meet the next `times` requests, or all from there on."""
        if times is None or times > 0:
            self._queue.append((fault, times))

    def clear(self) -> None:
        self._queue.clear()

    def take(self) -> Fault:
        """Return what meets the next request."""
        if not self._queue:
            return NO_FAULT
        fault, times = self._queue[0]
        if times is not None:
            self._queue.popleft()
            if times > 1:
                self._queue.appendleft((fault, times - 1))
        return fault
