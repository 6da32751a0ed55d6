"""Reports what changed on a line: routes, link, refused passwords, paused heartbeats; once per change."""

from __future__ import annotations

import logging
from typing import Protocol

from bridge.common.models import Result
from bridge.common.problems import Kind
from bridge.transmitters.line import Line
from bridge.transmitters.rounds import LineState
from bridge.transmitters.routes import Routes

log = logging.getLogger(__name__)

_ROUTES_EACH_S = 600.0
"""So often the times in what is published of the routes are brought up to date."""

_AFTER_S = 0.001
"""More than what a sum of times is rounded by."""


class Reporter(Protocol):
    """Publishes what happens on a line."""

    def changed(self, transmitter: str) -> None:
        """Results, active alarms or the waiting ones have changed in the outbox."""

    def routes(self, transmitter: str, routes: Routes) -> None:
        """The health of the routes has changed."""

    def problem(self, transmitter: str, kind: Kind, text: str | None, *, receiver: str | None = None) -> None:
        """Raise a problem, or clear it with None."""

    def heartbeat(self, transmitter: str, result: Result) -> None:
        """How a scheduled heartbeat ended."""

    def emit(self, kind: str, **details: object) -> None:
        """Publish on `bridge/event`."""


class Changes:
    """Compares a line's state with what was reported last."""

    def __init__(self, line: Line, reporter: Reporter) -> None:
        self._line = line
        self._reporter = reporter
        self._up: dict[tuple[str, str], bool | None] = {}
        self._link: bool | None = None
        self._health: object = None
        self._reported_at = float("-inf")
        self._refusing: set[str] = set()
        self._paused = False
        self._too_often: float | None = None

    def begin(self) -> None:
        """Report what the start has found."""
        if (problem := self._line.passwords.problem) is not None:
            log.error("%s: %s", self._line.name, problem)
        self._reporter.problem(self._line.name, Kind.PASSWORD_FILE, problem)

    def look(self, state: LineState, now: float) -> None:
        """Report what has changed."""
        self._routes(state, now)
        self._logins(state)
        self._heartbeats(state, now)

    def next_at(self, state: LineState) -> float:
        """Return when the passing of time alone changes something: the link is down after a level without success."""
        if self._line.heartbeat is None or self._link is False:
            return float("inf")
        last = state.routes.last_success
        return (state.started if last is None else last) + self._line.heartbeat + _AFTER_S

    def _routes(self, state: LineState, now: float) -> None:
        link = state.routes.link_up(self._line.heartbeat, state.started, now)
        health = tuple((h.rank, h.up, h.last_error) for h in state.routes.health.values()), link
        if health == self._health and now - self._reported_at < _ROUTES_EACH_S:
            return
        self._health, self._reported_at = health, now
        self._log_changes(state.routes, link)
        self._reporter.routes(self._line.name, state.routes)

    def _log_changes(self, routes: Routes, link: bool | None) -> None:  # noqa: FBT001 - a state
        name = self._line.name
        parts = {("receiver", each): routes.receiver_up(each) for each in routes.receivers}
        if len(routes.paths) > 1:
            parts |= {("path", each): routes.path_up(each) for each in routes.paths}
        for (kind, each), up in parts.items():
            if up is False and self._up.get((kind, each)) is not False:
                log.warning("%s: %s %s is down: %s", name, kind, each, _last_error(routes, kind, each))
            if up and self._up.get((kind, each)) is False:
                log.info("%s: %s %s is up", name, kind, each)
        self._up = parts
        if link is not None and link != self._link:
            log.log(logging.INFO if link else logging.ERROR, "%s: the link is %s", name, "up" if link else "down")
        self._link = link

    def _logins(self, state: LineState) -> None:
        name, refusing = self._line.name, set(state.logins.refusals)
        for receiver in sorted(refusing - self._refusing):
            text = f"receiver {receiver} refuses transmitter code or password; ask the operator"
            log.error("%s: %s", name, text)
            self._reporter.problem(name, Kind.UNAUTHORIZED, text, receiver=receiver)
            if not self._refusing:
                self._reporter.emit("unauthorized", transmitter=name, error=text)
        for receiver in sorted(self._refusing - refusing):
            log.info("%s: receiver %s accepts the password", name, receiver)
            self._reporter.problem(name, Kind.UNAUTHORIZED, None, receiver=receiver)
        self._refusing = refusing

    def _heartbeats(self, state: LineState, now: float) -> None:
        too_often = state.supervision.too_often_at
        if too_often is not None and too_often != self._too_often:
            gap = state.supervision.gap(now)
            log.warning("%s: pings come too often for a receiver, now %.0f s apart at least", self._line.name, gap)
        self._too_often = too_often
        paused = self._line.heartbeat is not None and state.supervision.is_paused(now)
        if paused == self._paused:
            return
        name, self._paused = self._line.name, paused
        text = "heartbeats are not enabled at the operator; the next one is tried a day later" if paused else None
        if text is not None:
            log.error("%s: %s", name, text)
            self._reporter.emit("heartbeat_disabled", transmitter=name, error=text)
        self._reporter.problem(name, Kind.HEARTBEAT_DISABLED, text)


def _last_error(routes: Routes, kind: str, name: str) -> str:
    found = [routes[route] for route in routes.configured if getattr(route, kind) == name]
    return max(found, key=lambda health: health.last_exchange or 0.0).last_error
