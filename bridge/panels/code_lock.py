"""Whether a command may pass: the panel's code, compared in constant time, with a lock against guessing."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from bridge.common.models import Secret

MOST_WRONG: Final = 5
"""In a row."""
LOCK_S: Final = 60.0
"""At this pace somebody who tries every code of four digits needs a day and a half, of six digits five months."""


class Verdict(StrEnum):
    OK = "ok"
    WRONG = "wrong"
    LOCKED = "locked"
    """Five wrong codes in a row: for a minute not even the right one passes."""


@dataclass(slots=True)
class CodeLock:
    """The code of one panel. `code_for_arm` asks for it to arm, too; to disarm it is always asked for.

    Without a code every command passes. A command without a code counts as one with a wrong code.
    """

    code: Secret | None
    code_for_arm: bool = False
    _wrong: int = field(default=0, init=False)
    _locked_until: float = field(default=float("-inf"), init=False)

    def check(self, given: Secret | None, *, disarms: bool, now: float) -> Verdict:
        """Judge one command at `now`, in seconds of a clock that never goes back."""
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
        if self._wrong >= MOST_WRONG:
            self._wrong = 0
            self._locked_until = now + LOCK_S
