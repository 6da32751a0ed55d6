"""Routes of a transmitter and their health: which an alarm tries first, which are reported down.

A route is one receiver over one network path. Two properties decide its place: *reachable* (its last exchange brought
a whole answer, whatever the status) and *serving* (its last answer to an alarm or a ping was 0, 10, 9 or 101). A
receiver that answers 4 or 98 to everything is reachable and not serving. Pure: `now` is seconds of a steady clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

from bridge.sos_access.status import Failure, Status

DEMOTED_S = 600.0
"""How long a route has to serve before a failed alarm is forgotten: an answered ping proves nothing about alarms."""
LONGEST_DEMOTED_S = 6 * 3600.0
DOWN_AFTER_S = 10.0
"""Between the two failures that make a route down: a single lost packet is not an outage."""
RACE_MIN_S = 1.0
"""Before the next route may connect too: a retransmitted SYN takes 1 s."""
RACE_FACTOR = 3.0
_SMOOTHING = 0.25
"""Weight of the newest connect time in the usual one."""
_TIMES = ("failing_since", "serving_since", "last_success", "last_exchange", "checked_at", "attempted_at")


class Route(NamedTuple):
    """One receiver over one network path; path "" is the system's routing."""

    receiver: str
    path: str = ""


Part = tuple[str, str]
"""What has a state of its own: `receiver` or `path`, and its name."""


class Answer(StrEnum):
    """What one attempt on one route brought (sos_access/PROTOCOL.md, Status codes)."""

    ACCEPTED = "accepted"
    """0 and 10."""
    REFUSED = "refused"
    """5, 98, 99, 9, 101 and unknown codes: not now."""
    INVALID = "invalid"
    """1, 2, 3, 7, 100: never this message."""
    UNAUTHORIZED = "unauthorized"
    """4 and 6, with every password that was to be tried."""
    FAILED = "failed"
    """A connection, and no whole answer over it."""
    UNCONNECTED = "unconnected"
    """No connection, or none with the right certificate."""


_ANSWERS: dict[int, Answer] = {
    Status.OK: Answer.ACCEPTED,
    Status.DUPLICATED_ALARM: Answer.ACCEPTED,
    Status.INVALID_LENGTH: Answer.INVALID,
    Status.INVALID_XML: Answer.INVALID,
    Status.WRONG_CONTENT: Answer.INVALID,
    Status.MANDATORY_DATA_MISSING: Answer.INVALID,
    Status.XML_HEADER_MISSING_OR_INVALID: Answer.INVALID,
    Status.NOT_AUTHORIZED: Answer.UNAUTHORIZED,
    Status.NOT_AUTHORIZED_6: Answer.UNAUTHORIZED,
}
SERVING = (Status.OK, Status.DUPLICATED_ALARM, Status.SERVICE_UNAVAILABLE, Status.PING_TOO_OFTEN)
"""Given only to a transmitter whose password the receiver has accepted."""


def answer_of(status: int) -> Answer:
    """Return what a response with `status` means for the message that it answers."""
    return _ANSWERS.get(status, Answer.REFUSED)


class Rank(IntEnum):
    """The order in which routes are tried."""

    SERVING = 0
    UNKNOWN = 1
    REACHABLE = 2
    DOWN = 3


@dataclass(slots=True)
class Health:
    """What is known of one route. Times are seconds of the clock of `now`; None: never."""

    reachable: bool | None = None
    served: bool | None = None
    """Whether the last answer to an alarm or ping was one that serves."""
    unconnected: bool = False
    """Whether the last connection failed, or has not come in the time that the next route waits for."""
    down: bool = False
    """Reported: two failures apart, or a failed alarm."""
    failing_since: float | None = None
    serving_since: float | None = None
    last_success: float | None = None
    last_exchange: float | None = None
    checked_at: float | None = None
    attempted_at: float | None = None
    demoted: bool = False
    demoted_s: float = 0.0
    connect_s: float | None = None
    """The usual time to connect, TLS included."""
    last_error: str = ""
    last_failure: int | str | None = None
    """What the last error was: a status, or a `Failure`."""

    @property
    def serving(self) -> bool:
        return self.served is True and not self.unconnected

    @property
    def rank(self) -> Rank:
        if self.unconnected:
            return Rank.DOWN
        if self.served:
            return Rank.SERVING
        if self.reachable is None:
            return Rank.UNKNOWN
        return Rank.REACHABLE if self.reachable else Rank.DOWN

    @property
    def up(self) -> bool | None:
        """What is reported: None until there is something to report."""
        if self.down:
            return False
        if self.serving or (self.served is None and self.connect_s is not None and not self.unconnected):
            return True
        return None if self.last_success is None else True  # one failure is not yet an outage

    @property
    def connects(self) -> bool:
        """Whether one more connection would change nothing: nothing failed since the last one."""
        return self.connect_s is not None and not self.unconnected and self.failing_since is None

    @property
    def race_after_s(self) -> float:
        """Seconds that this route may take to connect before the next one begins."""
        return max(RACE_MIN_S, RACE_FACTOR * (self.connect_s or 0.0))

    def is_demoted(self, now: float) -> bool:
        """Whether a failed alarm still puts this route behind those that took one."""
        if not self.demoted:
            return False
        return self.serving_since is None or now - self.serving_since < self.demoted_s

    def late(self) -> None:
        """Note that the connection takes so long that the next route was begun."""
        self.unconnected = True

    def connected(self, took_s: float, now: float, *, proves: bool = False) -> None:
        """Note a connection, which proves the route where nothing but connecting had failed.

        `proves`: also after an exchange without an answer, where no ping can show that the route is good again.
        """
        if proves and not self.reachable:
            self.reachable = self.served = None
        old = self.connect_s
        self.connect_s = took_s if old is None else old + _SMOOTHING * (took_s - old)
        self.unconnected = False
        if self.served is not False:
            self._recovered(now)

    def answered(self, status: int, now: float, *, alarm: bool) -> None:
        """Note a whole answer to an alarm or a ping."""
        answer = answer_of(status)
        self.reachable, self.unconnected, self.last_exchange = True, False, now
        if status in SERVING:
            self.served = True
            self.last_success, self.last_error, self.last_failure = now, "", None
            self._recovered(now)
        elif not (alarm and answer is Answer.INVALID):  # that says something about the alarm, nothing about the route
            self.served = False
            self._failed(f"answered {status}", status, now, alarm=alarm)
        if alarm and answer is Answer.ACCEPTED:
            self.demoted, self.demoted_s = False, 0.0
        elif alarm and answer is not Answer.INVALID:
            self._demote(now)

    def failed(self, error: str, now: float, *, alarm: bool, connected: bool, failure: Failure | None = None) -> None:
        """Note an exchange without a whole answer, or a connection that could not be made."""
        self.last_exchange = now
        if alarm:
            self._demote(now)
        if connected:
            self.reachable = self.served = False
        else:
            self.unconnected = True
        self._failed(error, failure, now, alarm=alarm)

    def _failed(self, error: str, failure: int | str | None, now: float, *, alarm: bool) -> None:
        self.last_error, self.last_failure = error, failure
        self.serving_since = None
        if self.failing_since is None:
            self.failing_since = now
        if alarm or now - self.failing_since >= DOWN_AFTER_S:
            self.down = True

    def _recovered(self, now: float) -> None:
        self.down, self.failing_since = False, None
        if self.served and self.serving_since is None:
            self.serving_since = now

    def _demote(self, now: float) -> None:
        if not self.is_demoted(now):  # twenty alarms that fail at once are one reason, not twenty
            self.demoted_s = min(2 * self.demoted_s, LONGEST_DEMOTED_S) or DEMOTED_S
        self.demoted = True
        self.serving_since = None

    def as_json(self, now: float) -> dict[str, Any]:
        """Return it with times as ages, which survive a restart of the clock."""
        content = {each.name: getattr(self, each.name) for each in fields(self)}
        return content | {name: None if content[name] is None else now - content[name] for name in _TIMES}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], now: float, elapsed: float) -> Health:
        """Return what `as_json` gave `elapsed` seconds ago. Raises TypeError and ValueError for anything else."""
        known = {each.name: content[each.name] for each in fields(cls) if each.name in content}
        times = {name: None if known.get(name) is None else now - elapsed - float(known[name]) for name in _TIMES}
        return cls(**(known | times))


@dataclass(slots=True)
class Routes:
    """The routes of one transmitter, in the configured order: receivers first, paths within each."""

    receivers: Sequence[str]
    paths: Sequence[str] = ("",)
    health: dict[Route, Health] = field(default_factory=dict)
    configured: list[Route] = field(init=False)
    """All routes: every receiver over the first path before any over the second."""

    def __post_init__(self) -> None:
        self.configured = [Route(receiver, path) for path in self.paths for receiver in self.receivers]
        for route in self.configured:
            self.health.setdefault(route, Health())

    def __getitem__(self, route: Route) -> Health:
        return self.health[route]

    def order(self, now: float) -> list[Route]:
        return sorted(self.configured, key=lambda route: self._place(route, now))

    def in_use(self, now: float) -> Route:
        """Return the route that heartbeats and the next alarm take."""
        return min(self.configured, key=lambda route: self._place(route, now))

    def _place(self, route: Route, now: float) -> tuple[Rank, bool]:
        health = self.health[route]
        return health.rank, health.is_demoted(now)

    @property
    def serving(self) -> bool:
        return any(self[route].serving for route in self.configured)

    def of(self, part: Part) -> list[Health]:
        """Return the health of the routes to a receiver, or over a path."""
        kind, name = part
        return [self[route] for route in self.configured if getattr(route, kind) == name]

    def up(self, part: Part) -> bool | None:
        """Return whether a receiver answers over any path, or any receiver over a path; None: not known yet."""
        return _any(health.up for health in self.of(part))

    @property
    def last_success(self) -> float | None:
        return max((t for h in self.health.values() if (t := h.last_success) is not None), default=None)

    def link_up(self, level: float | None, started: float, now: float) -> bool | None:
        """Return whether an exchange succeeded within the heartbeat level; without one, whether a route is up.

        Until the first success, `started` counts as one.
        """
        if level is None:
            return _any(self[route].up for route in self.configured)
        last = self.last_success
        if last is None and now - started < level:
            return None
        return now - (started if last is None else last) < level

    def as_json(self, now: float) -> list[dict[str, Any]]:
        return [route._asdict() | self[route].as_json(now) for route in self.configured]

    def load(self, content: Iterable[Mapping[str, Any]], now: float, elapsed: float) -> None:
        """Take what `as_json` gave `elapsed` seconds ago; routes that are no longer configured are dropped.

        Raises KeyError, TypeError and ValueError for anything else.
        """
        for each in content:
            if (route := Route(each["receiver"], each["path"])) in self.health:
                self.health[route] = Health.from_json(each, now, elapsed)


def _any(states: Iterable[bool | None]) -> bool | None:
    found = list(states)
    if True in found:
        return True
    return False if found and None not in found else None
