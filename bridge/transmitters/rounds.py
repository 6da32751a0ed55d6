"""The state of one transmitter's line, and how each attempt changes it. Pure.

`schedule` decides the next step.

The states of an alarm are in the table of `schedule`.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from bridge.sos_access.status import Status
from bridge.transmitters.attempts import Attempt, Ending
from bridge.transmitters.logins import Logins
from bridge.transmitters.routes import SERVING, Answer, Rank, Route, Routes
from bridge.transmitters.supervision import Supervision
from bridge.transmitters.waiting import REFUSED_LONGEST_S, AlarmState, Queue, Round, Waiting

ROUNDS_S = (1.0, 2.0, 4.0, 5.0)
"""From the start of one round to the next while no route serves; the last one repeats."""
SLOW_AFTER_S = 600.0
SLOW_S = 30.0
_JITTER = 0.25
_ONCE_MORE = (Status.INVALID_LENGTH, Status.WRONG_CONTENT)
"""A message with the mandatory elements only may do where these were answered."""


@dataclass(slots=True)
class Outage:
    """The rounds while no route serves."""

    since: float | None = None
    began: float = 0.0
    rounds: int = 0
    factor: float = 1.0

    def next_at(self, now: float, *, urgent: bool) -> float:
        """Return when the next round begins; `urgent`: an urgent alarm waits."""
        if self.since is None:
            return now
        slow = now - self.since >= SLOW_AFTER_S and not urgent
        wait = SLOW_S if slow else ROUNDS_S[min(self.rounds, len(ROUNDS_S) - 1)]
        return self.began + wait * self.factor


@dataclass(slots=True)
class InFlight:
    """An alarm on its way; `route` once the document goes out."""

    since: float
    route: Route | None = None


@dataclass(slots=True)
class LineState:
    """Everything the decision looks at."""

    routes: Routes
    started: float
    logins: Logins = field(default_factory=Logins)
    supervision: Supervision = field(default_factory=Supervision)
    queue: Queue = field(default_factory=Queue)
    commands: deque[tuple[int, bool]] = field(default_factory=deque)
    """Commanded pings (True) and rotations (False), by number."""
    sending: dict[int, InFlight] = field(default_factory=dict)
    busy: bool = False
    """Whether a ping, a check or a rotation is on its way: one at a time, beside the alarms."""
    outage: Outage = field(default_factory=Outage)
    reports: list[int] = field(default_factory=list)
    """Alarms to be reported as undelivered; who has done so takes them out."""
    delivered: int = 0
    undelivered_after: float = 30.0
    refused_since: dict[str, set[int]] = field(default_factory=dict)
    """By receiver: the alarms that it refused since it accepted one, but for those released at its last recovery."""
    jitter: Callable[[], float] = random.random

    def add(self, alarm: Waiting) -> None:
        self.queue.add(alarm, self.undelivered_after)

    def connecting(self, route: Route, now: float) -> None:
        """Note that a connection is begun, be it to lose the race."""
        self.routes[route].attempted_at = now

    def sent(self, number: int, route: Route) -> None:
        """Note that the document of an alarm goes out on `route`."""
        if number in self.sending:
            self.sending[number].route = route

    def drop(self, number: int) -> None:
        self.queue.remove(number)
        self.sending.pop(number, None)
        for each in self.refused_since.values():
            each.discard(number)

    # Alarms

    def alarm_began(self, number: int, now: float) -> None:
        """Note that an attempt with an alarm begins: `schedule.Send`."""
        alarm = self.queue.get(number)
        assert alarm is not None  # noqa: S101 - the decision named it
        if alarm.round is None:
            alarm.round = Round(now)
            if alarm.state in (AlarmState.HELD, AlarmState.HUNG) and not self.routes.serving:
                self._next_round(now)
        self.queue.put(alarm, AlarmState.SENDING)
        self.sending[number] = InFlight(now)

    def alarm_attempted(self, number: int, attempts: Iterable[Attempt], now: float) -> Ending:
        """Note how an attempt ended: the connections that failed, and the exchange if there was one.

        An alarm that was delivered or rejected is forgotten here.
        """
        alarm = self.queue.get(number)
        self.sending.pop(number, None)
        found = list(attempts)
        for attempt in found:
            self.observed(attempt, now, alarm=True)
            if attempt.answer is Answer.ACCEPTED:
                self.delivered += 1
                self._recovered(attempt.route.receiver)
            if alarm is not None:
                self._count(alarm, attempt)
        if any(attempt.answer is Answer.ACCEPTED for attempt in found):
            self.drop(number)
            return Ending.DELIVERED
        return Ending.GOES_ON if alarm is None else self._ending(alarm, now)

    def _count(self, alarm: Waiting, attempt: Attempt) -> None:
        assert alarm.round is not None  # noqa: S101 - set when it began
        receiver = attempt.route.receiver
        alarm.round.routes.add(attempt.route)
        alarm.round.hung |= attempt.answer is Answer.FAILED
        if attempt.status is None:
            return
        alarm.round.answers[receiver] = attempt.answer
        match attempt.answer:
            case Answer.INVALID:
                alarm.invalid_at[receiver] = attempt.status
            case Answer.REFUSED if receiver not in alarm.released_by:
                self.refused_since.setdefault(receiver, set()).add(alarm.number)

    def _ending(self, alarm: Waiting, now: float) -> Ending:
        if all(receiver in alarm.invalid_at for receiver in self.routes.receivers):
            return self._invalid(alarm)
        if self.left(alarm, now):
            self.queue.put(alarm, AlarmState.DUE if alarm.tried else AlarmState.NEW)
            return Ending.GOES_ON
        return self._round_failed(alarm, now)

    def left(self, alarm: Waiting, now: float) -> list[Route]:
        """Return the routes that the round of `alarm` has not tried, in order; those that may be logged in at."""
        tried = alarm.round or Round(now)
        return [
            route
            for route in self.routes.order(now)
            if route not in tried.routes
            and route.receiver not in tried.answers
            and self.logins.allowed(route.receiver, now, new_alarm=not alarm.tried)
        ]

    def _invalid(self, alarm: Waiting) -> Ending:
        alarm.round = None
        if alarm.minimal or not any(status in _ONCE_MORE for status in alarm.invalid_at.values()):
            self._report(alarm)
            self.drop(alarm.number)
            return Ending.REJECTED
        alarm.minimal = True
        alarm.invalid_at.clear()
        self.queue.put(alarm, AlarmState.DUE if alarm.tried else AlarmState.NEW)
        return Ending.GOES_ON

    def _round_failed(self, alarm: Waiting, now: float) -> Ending:
        assert alarm.round is not None  # noqa: S101 - set when it began
        ended, alarm.round = alarm.round, None
        alarm.released_by.clear()
        alarm.tried = True
        self._report(alarm)
        answers = set(ended.answers.values())
        if answers & {Answer.REFUSED, Answer.INVALID} or self._hangs_alone(alarm):
            self.queue.put(alarm, AlarmState.REFUSED, now + alarm.wait_s)
            alarm.wait_s = min(2 * alarm.wait_s, REFUSED_LONGEST_S)
        else:
            if ended.hung:
                self.queue.put(alarm, AlarmState.HUNG, now)
            else:
                self.queue.put(alarm, AlarmState.HELD)
            if self.outage.since is None and not self.routes.serving:
                self.outage = Outage(ended.began, ended.began, 0, self._factor())
        return Ending.UNAUTHORIZED if answers == {Answer.UNAUTHORIZED} else Ending.ROUND_FAILED

    def _report(self, alarm: Waiting) -> None:
        if not alarm.undelivered:
            alarm.undelivered = True
            self.reports.append(alarm.number)

    def _hangs_alone(self, alarm: Waiting) -> bool:
        """Return whether others were delivered between two rounds of this alarm that brought no answer."""
        before, alarm.failed_at_delivered = alarm.failed_at_delivered, self.delivered
        return before is not None and before < self.delivered

    def _recovered(self, receiver: str) -> None:
        """An alarm was accepted by a receiver that had accepted none since: what it refused meanwhile is due."""
        for number in self.refused_since.pop(receiver, ()):
            alarm = self.queue.get(number)
            if alarm is not None and alarm.state is AlarmState.REFUSED:
                alarm.released_by.add(receiver)
                self.queue.put(alarm, AlarmState.DUE)

    def _next_round(self, now: float) -> None:
        if self.outage.since is None:
            self.outage = Outage(now, now, 0, self._factor())
        else:
            self.outage = Outage(self.outage.since, now, self.outage.rounds + 1, self._factor())

    def _factor(self) -> float:
        return 1 - _JITTER + 2 * _JITTER * self.jitter()

    # Pings, checks and rotations

    def ping_began(self, now: float) -> None:
        self.busy = True
        self.supervision.last_ping = now

    def ping_ended(self, attempt: Attempt, now: float, *, heartbeat: bool) -> None:
        self.busy = False
        self.observed(attempt, now, alarm=False)
        self.routes[attempt.route].checked_at = now
        if attempt.status is not None:
            self.supervision.ping_answered(attempt.route.receiver, attempt.status, now, heartbeat=heartbeat)
        if heartbeat:
            self.supervision.last_heartbeat = now
            if not self.routes[attempt.route].serving and self._other_than(attempt.route, now):
                self.supervision.last_heartbeat = None  # it goes over the next route at once

    def _other_than(self, route: Route, now: float) -> bool:
        found = self.routes.in_use(now)
        return found != route and self.routes[found].rank <= Rank.UNKNOWN

    def ask_began(self, now: float, *, ping: bool) -> None:
        self.busy = True
        if ping:
            self.supervision.last_ping = now

    def ask_ended(self, attempts: Iterable[Attempt], now: float, *, ping: bool, alarm: bool = False) -> None:
        """Note how a commanded ping or rotation ended, or a test alarm."""
        self.busy = False
        for attempt in attempts:
            self.observed(attempt, now, alarm=alarm)
            if ping and attempt.status is not None:
                self.supervision.ping_answered(attempt.route.receiver, attempt.status, now, heartbeat=False)

    def connect_ended(self, attempt: Attempt, now: float) -> None:
        self.busy = False
        self.routes[attempt.route].checked_at = now
        self.observed(attempt, now, alarm=False)

    def observed(self, attempt: Attempt, now: float, *, alarm: bool) -> None:
        """Note what an attempt says of its route; also the end of a connection that lost the race."""
        health = self.routes[attempt.route]
        if attempt.took_s is not None:
            health.connected(attempt.took_s, now, proves=self.supervision.is_paused(now))
        if attempt.status is not None:
            health.answered(attempt.status, now, alarm=alarm)
            if attempt.answer is Answer.UNAUTHORIZED:
                self.logins.refused(attempt.route.receiver, attempt.login, now)
            elif attempt.status in SERVING:
                self.logins.accepted(attempt.route.receiver)
        elif attempt.error:
            health.failed(attempt.error, now, alarm=alarm, connected=attempt.connected, failure=attempt.failure)
        self.supervision.observe(self.routes, now)
        if self.routes.serving:
            self.outage = Outage()

    def check_all(self) -> None:
        """Check every route now; each receiver has to show, by an answer, which password it takes."""
        self.supervision.to_ping.update(self.routes.receivers)
        for route in self.routes.configured:
            self.routes[route].checked_at = self.routes[route].last_exchange = None
