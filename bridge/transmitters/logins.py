"""How often passwords are tried at a receiver that refused them. Pure.

A receiver may lock out a transmitter that asks too often. After a refusal, all candidates are tried once per step of a
schedule; between steps a new alarm makes one login with the likeliest password, at most each 30 s
(sos_access/PROTOCOL.md, Unauthorized).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

STEPS_S = (60.0, 300.0, 900.0, 3600.0)
"""Waits between tries of all passwords; the last one repeats."""
ALARM_LOGIN_S = 30.0


class Login(StrEnum):
    """Which passwords an attempt may try."""

    ALL = "all"
    LIKELIEST = "likeliest"


@dataclass(slots=True)
class Refusal:
    """A receiver that refuses every password, and what was tried since."""

    step: int
    since: float
    due: float
    last_login: float | None = None


@dataclass(slots=True)
class Logins:
    """The receivers that refuse every password, and when each is asked again."""

    refusals: dict[str, Refusal] = field(default_factory=dict)

    def allowed(self, receiver: str, now: float, *, new_alarm: bool) -> Login | None:
        """Return what an attempt at `receiver` may try now; None: nothing."""
        refusal = self.refusals.get(receiver)
        if refusal is None or refusal.due <= now:
            return Login.ALL
        if new_alarm and (refusal.last_login is None or now - refusal.last_login >= ALARM_LOGIN_S):
            return Login.LIKELIEST
        return None

    def allowed_at(self, receiver: str, *, new_alarm: bool) -> float:
        """Return when an attempt is allowed next; it may be in the past."""
        refusal = self.refusals.get(receiver)
        if refusal is None:
            return float("-inf")
        if not new_alarm:
            return refusal.due
        return min(refusal.due, float("-inf") if refusal.last_login is None else refusal.last_login + ALARM_LOGIN_S)

    def began(self, receiver: str, login: Login, now: float) -> None:
        """Note that what `allowed` gave is tried: nothing else tries it meanwhile."""
        refusal = self.refusals.get(receiver)
        if refusal is not None and login is Login.ALL:
            refusal.due = now + ALARM_LOGIN_S
        elif refusal is not None:
            refusal.last_login = now

    def refused(self, receiver: str, login: Login, now: float) -> None:
        """Note that `receiver` refused what `allowed` gave."""
        refusal = self.refusals.get(receiver)
        if refusal is None:
            self.refusals[receiver] = Refusal(0, now, now + STEPS_S[0])
        elif login is Login.LIKELIEST:
            refusal.last_login = now
        else:
            refusal.step = min(refusal.step + 1, len(STEPS_S) - 1)
            refusal.due = now + STEPS_S[refusal.step]

    def accepted(self, receiver: str) -> None:
        """Note any answer that shows that a password was right."""
        self.refusals.pop(receiver, None)

    def reset(self) -> None:
        """Begin the schedule anew: the configured password changed, or a ping was commanded."""
        for refusal in self.refusals.values():
            refusal.step, refusal.due, refusal.last_login = -1, float("-inf"), None

    def as_json(self, now: float) -> dict[str, Any]:
        return {
            receiver: {"step": each.step, "since": now - each.since, "due_in": max(each.due - now, 0.0)}
            for receiver, each in self.refusals.items()
        }

    def load(self, content: dict[str, Any], now: float, elapsed: float) -> None:
        """Take what `as_json` gave `elapsed` seconds ago. Raises KeyError, TypeError, ValueError."""
        for receiver, each in content.items():
            due = now + max(float(each["due_in"]) - elapsed, 0.0)
            self.refusals[receiver] = Refusal(int(each["step"]), now - elapsed - float(each["since"]), due)
