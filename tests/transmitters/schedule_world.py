"""A line in simulated time: it does what `next_step` says, over receivers whose behaviour is a function of the time."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from bridge.common.models import AlarmIdentity
from bridge.transmitters.attempts import Attempt, Ending
from bridge.transmitters.logins import Login
from bridge.transmitters.rounds import LineState
from bridge.transmitters.routes import Answer, Route, Routes
from bridge.transmitters.schedule import Ask, Connect, Report, Send, SendPing, Step, Try, Wait, next_step
from bridge.transmitters.supervision import Supervision
from bridge.transmitters.waiting import Waiting

CONNECT_TIMEOUT_S = 5.0
RESPONSE_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Behaviour:
    """Of a route at one moment: None for a connection or an answer that never comes."""

    connect_s: float | None = 0.01
    status: int | None = 0
    answer_s: float = 0.05
    refuses: bool = False
    """The connection is refused at once."""


OK = Behaviour()
SILENT = Behaviour(status=None)
DROPS = Behaviour(connect_s=None)
REFUSES = Behaviour(refuses=True)


def answering(status: int, answer_s: float = 0.05) -> Behaviour:
    return Behaviour(status=status, answer_s=answer_s)


@dataclass
class World:
    """`behaves(route, number or None for a ping, now)`; `sent` lists (time, number, route) of each document."""

    behaves: Callable[[Route, int | None, float], Behaviour]
    receivers: tuple[str, ...] = ("primary", "secondary")
    paths: tuple[str, ...] = ("",)
    level: float | None = None
    check_idle_every: float = 3600.0
    now: float = 0.0
    sent: list[tuple[float, int, Route]] = field(default_factory=list)
    began: list[tuple[float, Route]] = field(default_factory=list)
    pings: list[tuple[float, Route, bool]] = field(default_factory=list)
    connects: list[tuple[float, Route]] = field(default_factory=list)
    logins: list[tuple[float, str, Login]] = field(default_factory=list)
    reported: dict[int, float] = field(default_factory=dict)
    endings: list[tuple[float, int, Ending]] = field(default_factory=list)
    delivered: dict[int, float] = field(default_factory=dict)
    rejected: dict[int, float] = field(default_factory=dict)
    accepted: dict[int, float] = field(default_factory=dict)
    minimal: set[int] = field(default_factory=set)
    steps: int = 0

    def __post_init__(self) -> None:
        self.line = LineState(
            Routes(self.receivers, self.paths),
            started=0.0,
            supervision=Supervision(self.level, self.check_idle_every),
            jitter=lambda: 0.5,
        )
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._numbers = itertools.count(1)

    def at(self, when: float, work: Callable[[], object]) -> None:
        heapq.heappush(self._events, (when, next(self._order), work))

    def raise_alarm(self, code: str = "BA", *, urgent: bool = False, restore: bool = False, detector: str = "") -> int:
        number = next(self._numbers)
        self.accepted[number] = self.now
        self.line.add(Waiting(number, AlarmIdentity(code, detector=detector), restore, self.now, urgent))
        return number

    def run(self, until: float) -> None:
        """Let simulated time pass, at most a million steps."""
        while True:
            self.steps += 1
            assert self.steps < 1_000_000, "a loop that makes no progress"
            step = next_step(self.line, self.now)
            if not isinstance(step, Wait):
                self._do(step)
                continue
            assert step.until > self.now, f"waits for {step.until}, which is not later than {self.now}"
            event_at = self._events[0][0] if self._events else float("inf")
            if min(step.until, event_at) > until:
                self.now = until
                return
            self.now = max(self.now, min(step.until, event_at))
            if event_at <= self.now:
                heapq.heappop(self._events)[2]()

    def _do(self, step: Step) -> None:
        match step:
            case Report(numbers):
                for number in numbers:
                    assert number not in self.reported, "reported twice"
                    self.reported[number] = self.now
                    self.line.reports.remove(number)
            case Send():
                self._send(step)
            case SendPing(route, heartbeat):
                self.pings.append((self.now, route, heartbeat))
                self.line.ping_began(self.now)
                attempt, took = self._attempt(Try(route, Login.ALL, 1.0), None)
                self.at(self.now + took, lambda: self.line.ping_ended(attempt, self.now, heartbeat=heartbeat))
            case Connect(route):
                self.connects.append((self.now, route))
                self.line.busy = True
                attempt, took = self.connect(route)
                self.at(self.now + took, lambda: self.line.connect_ended(attempt, self.now))
            case Ask():
                raise NotImplementedError

    def _send(self, step: Send) -> None:
        assert step.tries
        assert step.number not in self.line.sending, "on its way already"
        assert step.number not in self.delivered, "delivered already"
        assert len({each.route for each in step.tries}) == len(step.tries)
        self.line.alarm_began(step.number, self.now)
        if step.minimal:
            self.minimal.add(step.number)
        self._race(step, list(step.tries), [])

    def _race(self, step: Send, tries: list[Try], failed: list[Attempt]) -> None:
        Race(self, step, tries, failed).start(0)

    def document(self, step: Send, each: Try, connected: Attempt, failed: list[Attempt]) -> None:
        self.line.sent(step.number, each.route)
        self.sent.append((self.now, step.number, each.route))
        attempt, took = self._exchange(each, step.number, connected.took_s)
        self.at(self.now + took, lambda: self.ended(step.number, [*failed, attempt]))

    def ended(self, number: int, attempts: list[Attempt]) -> None:
        ending = self.line.alarm_attempted(number, attempts, self.now)
        self.endings.append((self.now, number, ending))
        if ending is Ending.DELIVERED:
            self.delivered[number] = self.now
        if ending is Ending.REJECTED:
            self.rejected[number] = self.now

    def _attempt(self, each: Try, number: int | None) -> tuple[Attempt, float]:
        connected, took = self.connect(each.route)
        if not connected.connected:
            return connected, took
        attempt, more = self._exchange(each, number, connected.took_s)
        return attempt, took + more

    def connect(self, route: Route) -> tuple[Attempt, float]:
        how = self.behaves(route, None, self.now)
        if how.refuses:
            return Attempt(route, error="refused", connected=False), 0.001
        if how.connect_s is None or how.connect_s >= CONNECT_TIMEOUT_S:
            return Attempt(route, error="no connection", connected=False), CONNECT_TIMEOUT_S
        return Attempt(route, took_s=how.connect_s), how.connect_s

    def _exchange(self, each: Try, number: int | None, took_s: float | None) -> tuple[Attempt, float]:
        how = self.behaves(each.route, number, self.now)
        if how.status is None:
            return Attempt(each.route, error="no answer", took_s=took_s), RESPONSE_TIMEOUT_S
        attempt = Attempt(each.route, how.status, login=each.login, took_s=took_s)
        if attempt.answer is Answer.UNAUTHORIZED:
            self.logins.append((self.now, each.route.receiver, each.login))
        return attempt, how.answer_s


@dataclass
class Race:
    """The connections of one attempt; the first that is made carries the document."""

    world: World
    step: Send
    tries: list[Try]
    failed: list[Attempt]
    begun: set[int] = field(default_factory=set)
    running: int = 0
    won: bool = False

    def start(self, index: int) -> None:
        if self.won or index in self.begun or index >= len(self.tries):
            return
        self.begun.add(index)
        self.running += 1
        world, route = self.world, self.tries[index].route
        health = world.line.routes[route]
        if not health.serving and health.attempted_at is not None:
            assert world.now - health.attempted_at >= 0.999, f"{route} tried twice within a second"
        world.line.connecting(route, world.now)
        world.began.append((world.now, route))
        attempt, took = world.connect(route)
        world.at(world.now + took, lambda: self.ended(index, attempt))
        if index + 1 < len(self.tries):
            world.at(world.now + self.tries[index].race_after_s, lambda: self.late(index))

    def late(self, index: int) -> None:
        if not self.won and index + 1 not in self.begun:
            self.world.line.routes[self.tries[index].route].late()
            self.start(index + 1)

    def ended(self, index: int, attempt: Attempt) -> None:
        self.running -= 1
        if self.won:
            self.world.line.observed(attempt, self.world.now, alarm=bool(attempt.error))
        elif attempt.connected:
            self.won = True
            self.world.document(self.step, self.tries[index], attempt, self.failed)
        else:
            self.failed.append(attempt)
            self.start(index + 1)
            if not self.running:
                self.world.ended(self.step.number, self.failed)
