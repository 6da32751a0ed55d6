"""How one attempt on one route ended, and what that means for its alarm. Pure."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from bridge.sos_access.status import Failure
from bridge.transmitters.logins import Login
from bridge.transmitters.routes import Answer, Route, answer_of


class Ending(Enum):
    """What an attempt means for its alarm."""

    DELIVERED = auto()
    REJECTED = auto()
    GOES_ON = auto()
    """The round has routes left, or the alarm goes once more with its mandatory elements only."""
    ROUND_FAILED = auto()
    UNAUTHORIZED = auto()
    """The round failed, and where a receiver answered it refused the password."""


class Attempt(NamedTuple):
    """How one attempt on one route ended; `status` where there was an answer."""

    route: Route
    status: int | None = None
    error: str = ""
    connected: bool = True
    login: Login = Login.ALL
    took_s: float | None = None
    """The time to connect."""
    failure: Failure | None = None
    """What it failed by, without an answer."""

    @property
    def answer(self) -> Answer:
        if self.status is not None:
            return answer_of(self.status)
        return Answer.FAILED if self.connected else Answer.UNCONNECTED
