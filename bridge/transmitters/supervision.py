"""When a route is checked, and how: with a ping, or with a connection alone. Pure.

Heartbeats of the agreed level go over the route in use. Every other route is checked so that a dead one is noticed
before it is needed. All pings of a transmitter keep a gap: receivers answer 101 to those that come too often
(sos_access/PROTOCOL.md, Heartbeat schedule).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.transmitters.routes import DOWN_AFTER_S, Health, Route, Routes

PING_GAP_S = 2.0
GAP_KEPT_S = 86400.0
"""A doubled gap is forgotten after a day without another 101."""
PAUSE_S = 86400.0
"""After status 9: the operator may enable heartbeats later."""
PINGS_PER_LEVEL = 6
"""Three to six heartbeats per level are recommended."""
HEARTBEATS_PER_LEVEL = 4
NO_LEVEL_S = 90000.0
"""With heartbeats off, pings are bounded as at the longest level."""
SOON_S = 30.0
SOON_FOR_S = 300.0
LATER_S = 300.0


@dataclass(slots=True)
class Supervision:
    """The pings and checks of one transmitter. Seconds; `level` is None with heartbeats off."""

    level: float | None = None
    check_idle_every: float = 3600.0
    gap_s: float = PING_GAP_S
    too_often_at: float | None = None
    last_ping: float | None = None
    last_heartbeat: float | None = None
    paused_until: float | None = None
    """After status 9; None: pings are not paused."""
    unserved_since: float | None = None
    """Since when the route in use does not serve."""
    answered: deque[float] = field(default_factory=lambda: deque(maxlen=PINGS_PER_LEVEL))
    """When pings other than heartbeats were answered."""
    to_ping: set[str] = field(default_factory=set)
    """Receivers to be checked by a ping whatever the number of pings: each has to show which password it takes."""

    # What happened

    def ping_answered(self, receiver: str, status: int, now: float, *, heartbeat: bool) -> None:
        """Note an answered ping: 9 pauses pings, 101 widens the gap, any other status ends the pause."""
        self.to_ping.discard(receiver)
        if not heartbeat:
            self.answered.append(now)
        if status == 9:  # noqa: PLR2004 - SERVICE_UNAVAILABLE
            self.paused_until = now + PAUSE_S
        elif status == 101:  # noqa: PLR2004 - PING_TOO_OFTEN
            self.gap_s = max(min(2 * self.gap(now), (self.level or NO_LEVEL_S) / 4), PING_GAP_S)
            self.too_often_at = now
        else:
            self.paused_until = None

    def observe(self, routes: Routes, now: float) -> None:
        """Note whether the route in use serves; call it after each attempt."""
        if routes[routes.in_use(now)].serving:
            self.unserved_since = None
        elif self.unserved_since is None:
            self.unserved_since = now

    # What is due

    def gap(self, now: float) -> float:
        forgotten = self.too_often_at is None or now - self.too_often_at >= GAP_KEPT_S
        return PING_GAP_S if forgotten else self.gap_s

    def ping_at(self, now: float) -> float:
        """Return when the gap allows the next ping; it may be in the past."""
        return now if self.last_ping is None else self.last_ping + self.gap(now)

    def is_paused(self, now: float) -> bool:
        return self.paused_until is not None and now < self.paused_until

    def heartbeat_at(self, now: float) -> float | None:
        """Return when the next heartbeat is due; None: heartbeats are off."""
        if self.level is None:
            return None
        due = now if self.last_heartbeat is None else self.last_heartbeat + self.level / HEARTBEATS_PER_LEVEL
        return self.paused_until if self.is_paused(now) else due

    def check_at(self, route: Route, routes: Routes, now: float) -> float | None:
        """Return when `route` is to be checked; None: heartbeats look after it."""
        health = routes[route]
        if health.serving and route.receiver not in self.to_ping and self._has_heartbeats(route, routes, now):
            return None
        last = max((t for t in (health.checked_at, health.last_exchange) if t is not None), default=None)
        if last is None:
            return now
        return last + self._interval(health, now)

    def checked_every(self, route: Route, routes: Routes, now: float) -> float:
        """Return how many seconds are between two checks of `route` now, or two heartbeats over it."""
        health = routes[route]
        if self.level is not None and health.failing_since is None and self._has_heartbeats(route, routes, now):
            return self.level / HEARTBEATS_PER_LEVEL
        return self._interval(health, now)

    def _has_heartbeats(self, route: Route, routes: Routes, now: float) -> bool:
        return self.level is not None and not self.is_paused(now) and route == routes.in_use(now)

    def _interval(self, health: Health, now: float) -> float:
        since = [t for t in (health.failing_since, self.unserved_since) if t is not None]
        if not since:
            return self.check_idle_every
        if health.failing_since is not None and not health.down:
            return DOWN_AFTER_S  # the second failure decides
        return min(SOON_S if now - max(since) < SOON_FOR_S else LATER_S, self.check_idle_every)

    def checks_by_ping(self, route: Route, routes: Routes, now: float) -> bool:
        """Whether a check of `route` is a ping, or a connection alone: pings have a usual number."""
        if self.is_paused(now):
            return False
        if route.receiver in self.to_ping or routes[route].served is False:  # only an answer proves it
            return True
        spare = PINGS_PER_LEVEL - (HEARTBEATS_PER_LEVEL if self.level else 0)
        recent = sum(now - at < (self.level or NO_LEVEL_S) for at in self.answered)
        return recent < spare

    # Restarts

    def as_json(self, now: float) -> dict[str, Any]:
        """Return what counts over a restart, times as ages."""
        return {
            "gap_s": self.gap_s,
            "too_often_age": None if self.too_often_at is None else now - self.too_often_at,
            "paused_s": None if self.paused_until is None else self.paused_until - now,
        }

    def load(self, content: Mapping[str, Any], now: float, elapsed: float) -> None:
        """Take what `as_json` gave `elapsed` seconds ago. Raises KeyError, TypeError, ValueError."""
        self.gap_s = float(content["gap_s"])
        age, paused = content["too_often_age"], content["paused_s"]
        self.too_often_at = None if age is None else now - elapsed - float(age)
        self.paused_until = None if paused is None else now - elapsed + float(paused)
