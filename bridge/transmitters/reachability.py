"""Turns the health of a transmitter's routes into states, events and problems to publish. Pure.

`Reachability.update` takes the routes after any change and returns what to publish (TOPICS.md, Transmitter states).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from bridge.common.problems import About, Kind
from bridge.common.text import LONGEST_ERROR, clean, timestamp
from bridge.transmitters.routes import Health, Part, Routes
from bridge.transmitters.supervision import Supervision
from bridge.transmitters.topics import Reach

REACH_EVENTS: Final = ("receiver_down", "receiver_up", "path_down", "path_up")

_SUCCESS_EACH_S = 600.0
"""A success alone changes `last_success_at` this often, not with every alarm."""
_DOWN: Final = {"receiver": Kind.RECEIVER_DOWN, "path": Kind.PATH_DOWN}


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether there is a problem. `text` None: there is none. `known` False: it was not checked yet."""

    kind: Kind
    about: About
    text: str | None
    since: datetime
    known: bool


@dataclass(slots=True)
class Change:
    states: dict[str, object] = field(default_factory=dict)
    """Payload by topic: ON, OFF or an object."""
    events: list[dict[str, object]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def add(self, kind: Kind, about: About, text: str, since: datetime, *, up: bool | None) -> None:
        """Add what is a problem, described by `text`, if `up` is False."""
        self.findings.append(Finding(kind, about, text if up is False else None, since, up is not None))


@dataclass(slots=True)
class _Part:
    """What was published last of a receiver or a path."""

    up: bool | None = None
    since: datetime | None = None
    success: float | None = None
    success_at: str | None = None
    """The same by the time of day, as it was computed once."""


class Reachability:
    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._parts = {key: _Part() for key in self._keys}
        self._started: float | None = None

    @property
    def is_known(self) -> bool:
        return self._started is not None

    @property
    def _keys(self) -> Iterator[Part]:
        yield from (("receiver", name) for name in self._reach.receivers)
        yield from (("path", name) for name in self._reach.paths)

    def update(self, routes: Routes, supervision: Supervision, now: float, wall: datetime) -> Change:
        """Return what to publish of `routes`; `now` is their clock and `wall` the time of day.

        The first call declares the state before the start, without events: those were published then.
        """
        first = self._started is None
        if self._started is None:
            failing = (health.failing_since for health in routes.health.values())
            self._started = min((now, *(at for at in failing if at is not None)))
        change = Change()
        at = _Moment(routes, supervision, now, wall)
        for key in self._parts:
            self._update_part(key, at, change, silent=first)
        self._update_link(at, change)
        return change

    def _update_part(self, key: Part, at: _Moment, change: Change, *, silent: bool) -> None:
        kind, name = key
        part, found, up = self._parts[key], at.routes.of(key), at.routes.up(key)
        changed, before = up != part.up, part.up
        error = _last_error(found)
        if changed:
            part.up, part.since = up, at.since(found, up=up)
            if not silent and (up is False or before is False):
                since = timestamp(part.since or at.wall)
                event = {"type": f"{kind}_{'up' if up else 'down'}", kind: name, "since": since, "error": error}
                change.events.append({field: value for field, value in event.items() if value})
        if up is not None:
            change.states[f"{kind}/{name}/state"] = "ON" if up else "OFF"
        change.states[f"{kind}/{name}/info"] = self._info(key, at, found, changed=changed)
        about = About(receiver=name) if kind == "receiver" else About(path=name)
        subject = f"the {name} receiver" if kind == "receiver" else f"path {name}"
        text = f"{subject} does not take messages" + (f": {error}" if error else "")
        change.add(_DOWN[kind], about, text, part.since or at.wall, up=up)

    def _info(self, key: Part, at: _Moment, found: list[Health], *, changed: bool) -> dict[str, object]:
        kind, name = key
        part = self._parts[key]
        success = max((h.last_success for h in found if h.last_success is not None), default=None)
        if changed or part.success is None or success is None or success - part.success >= _SUCCESS_EACH_S:
            part.success = success
            part.success_at = None if success is None else timestamp(at.time_of(success))
        return {
            "address": (self._reach.receivers if kind == "receiver" else self._reach.paths)[name],
            "since": timestamp(part.since) if part.since else None,
            "last_success_at": part.success_at,
            "last_error": _last_error(found) or None,
            "checked_every_s": round(at.checked_every(key)),
        }

    def _update_link(self, at: _Moment, change: Change) -> None:
        level, started = self._reach.level, self._started
        up = at.routes.link_up(level, at.now if started is None else started, at.now)
        if up is not None:
            change.states["link"] = "ON" if up else "OFF"
        last = at.routes.last_success
        since = at.time_of(last if last is not None else started or at.now)
        within = f" within the heartbeat level of {level:.0f} s" if level else ""
        change.add(Kind.LINK_DOWN, About(), f"no receiver took a message{within}", since, up=up)


class _Moment(NamedTuple):
    """The routes at one time, by their clock and by the time of day."""

    routes: Routes
    supervision: Supervision
    now: float
    wall: datetime

    def time_of(self, at: float) -> datetime:
        return self.wall - timedelta(seconds=self.now - at)

    def checked_every(self, part: Part) -> float:
        """Return how many seconds are between two checks of a receiver, or of a path."""
        kind, name = part
        routes = [route for route in self.routes.configured if getattr(route, kind) == name]
        return min(self.supervision.checked_every(route, self.routes, self.now) for route in routes)

    def since(self, found: list[Health], *, up: bool | None) -> datetime | None:
        """Return since when a receiver or path is up or down, as far as its routes know."""
        if up is None:
            return None
        if up:
            times = [health.serving_since for health in found if health.serving_since is not None]
            return self.time_of(min(times, default=self.now))
        times = [health.failing_since for health in found if health.failing_since is not None]
        return self.time_of(max(times, default=self.now))


def _last_error(found: list[Health]) -> str:
    failed = [health for health in found if health.last_error]
    newest = max(failed, key=lambda health: health.last_exchange or 0.0, default=None)
    return clean(newest.last_error, LONGEST_ERROR) if newest else ""
