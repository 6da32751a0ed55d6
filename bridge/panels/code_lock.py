"""Checks the code of a panel command; locks after wrong codes (TOPICS.md, Panel commands)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from bridge.common.models import Secret

MAX_WRONG: Final = 5
"""Wrong codes in a row before the lock."""
LOCK_S: Final = 60.0
"""At this rate, trying all codes of four digits takes a day and a half, of six digits five months."""


class Verdict(Enum):
    OK = auto()
    WRONG = auto()
    LOCKED = auto()
    """After `MAX_WRONG` wrong codes in a row, even the right one is refused for `LOCK_S`."""


@dataclass(slots=True)
class CodeLock:
    """The code of one panel. Disarming requires it; arming does too with `code_for_arm`.

    If the panel has no code, every command passes. A command without a code counts as one with a wrong code.
    """

    code: Secret | None
    code_for_arm: bool = False
    _wrong: int = field(default=0, init=False)
    _locked_until: float = field(default=float("-inf"), init=False)

    def check(self, given: Secret | None, *, disarms: bool, now: float) -> Verdict:
        """Check one command. `now`: seconds of a monotonic clock."""
        if self.code is None or not (disarms or self.code_for_arm):
            return Verdict.OK
        if self.locked(now):
            return Verdict.LOCKED
        if (given or Secret("")) == self.code and given is not None:
            self._wrong = 0
            return Verdict.OK
        self._count(now)
        return Verdict.WRONG

    def locked(self, now: float) -> bool:
        return now < self._locked_until

    def _count(self, now: float) -> None:
        self._wrong += 1
        if self._wrong >= MAX_WRONG:
            self._wrong = 0
            self._locked_until = now + LOCK_S
