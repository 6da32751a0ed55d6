"""Reports what changed on a line: routes, link, refused passwords, paused heartbeats; once per change."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

from bridge.common.models import Result
from bridge.common.problems import Kind
from bridge.transmitters.line import Line
from bridge.transmitters.rounds import LineState
from bridge.transmitters.routes import Routes
from bridge.transmitters.supervision import Supervision

_ROUTES_EACH_S = 600.0
"""So often the times in what is published of the routes are brought up to date."""

_AFTER_S = 0.001
"""More than what a sum of times is rounded by."""


class Reporter(Protocol):
    def changed(self, transmitter: str) -> None:
        """Results, active alarms or the waiting ones have changed in the outbox."""

    def routes(self, transmitter: str, routes: Routes, supervision: Supervision) -> None:
        """The health of the routes has changed."""

    def problem(
        self,
        transmitter: str,
        kind: Kind,
        text: str | None,
        *,
        receiver: str | None = None,
        since: datetime | None = None,
    ) -> None:
        """Raise a problem, or clear it with None; `since`: when it began, if not now."""

    def heartbeat(self, transmitter: str, result: Result) -> None:
        """How a scheduled heartbeat ended."""

    def emit(self, kind: str, **details: object) -> None:
        """Publish on `bridge/event`."""


class Changes:
    """Compares a line's state with what was reported last."""

    def __init__(self, line: Line, reporter: Reporter) -> None:
        self._line = line
        self._reporter = reporter
        self._link: bool | None = None
        self._health: object = None
        self._reported_at = float("-inf")
        self._trouble: str | None = None
        self._refusing: set[str] = set()
        self._unauthorized = False
        """Whether the event was emitted since a receiver began to refuse, maybe before this start."""
        self._paused = False

    def restored(self, state: LineState) -> None:
        """Note that `state` is as it was before this start: its events were emitted then."""
        self._unauthorized = bool(state.logins.refusals)

    def look(self, state: LineState, now: float) -> None:
        if (trouble := self._line.passwords.trouble) != self._trouble:
            self._trouble = trouble
            self._reporter.problem(self._line.name, Kind.PASSWORD_FILE, trouble)
        self._routes(state, now)
        self._logins(state, now)
        self._heartbeats(state)

    def next_at(self, state: LineState) -> float:
        """Return when time alone changes something: the link is down a heartbeat level after its last success."""
        if self._line.heartbeat is None or self._link is False:
            return float("inf")
        last = state.routes.last_success
        return (state.started if last is None else last) + self._line.heartbeat + _AFTER_S

    def _routes(self, state: LineState, now: float) -> None:
        link = state.routes.link_up(self._line.heartbeat, state.started, now)
        each = state.routes.health.values()
        health: tuple[object, ...] = (link, *((h.rank, h.up, h.last_error) for h in each))
        if any(h.failing_since is not None for h in each):  # then time changes how often a route is checked
            health += tuple(state.supervision.checked_every(route, state.routes, now) for route in state.routes.health)
        if health == self._health and now - self._reported_at < _ROUTES_EACH_S:
            return
        self._health, self._reported_at = health, now
        self._link = link
        self._reporter.routes(self._line.name, state.routes, state.supervision)

    def _logins(self, state: LineState, now: float) -> None:
        name, refusing = self._line.name, set(state.logins.refusals)
        for receiver in sorted(refusing - self._refusing):
            text = f"the {receiver} receiver refuses transmitter code or password; ask the operator"
            since = self._line.clock.now() - timedelta(seconds=now - state.logins.refusals[receiver].since)
            self._reporter.problem(name, Kind.UNAUTHORIZED, text, receiver=receiver, since=since)
            if not self._unauthorized:
                self._reporter.emit("unauthorized", transmitter=name, error=text)
        for receiver in sorted(self._refusing - refusing):
            self._reporter.problem(name, Kind.UNAUTHORIZED, None, receiver=receiver)
        self._refusing, self._unauthorized = refusing, bool(refusing)

    def _heartbeats(self, state: LineState) -> None:
        """The end of a pause is not an answer: the problem lasts until a ping is accepted."""
        paused = self._line.heartbeat is not None and state.supervision.paused_until is not None
        if paused == self._paused:
            return
        name, self._paused = self._line.name, paused
        text = "heartbeats are not enabled at the operator; the next one is tried a day later" if paused else None
        if text is not None:
            self._reporter.emit("heartbeat_disabled", transmitter=name, error=text)
        self._reporter.problem(name, Kind.HEARTBEAT_DISABLED, text)
