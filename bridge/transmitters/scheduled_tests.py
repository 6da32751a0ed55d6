"""Puts scheduled test alarms into the outbox, each once, over restarts (TOPICS.md, Test alarms)."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from bridge.common.clock import Clock
from bridge.common.errors import FieldError
from bridge.common.lasting import tolerated
from bridge.common.models import Alarm, Command, Request
from bridge.common.problems import About, Kind, Problems
from bridge.common.text import clean, timestamp
from bridge.sos_access.prepare import prepare
from bridge.store.outbox import Outbox
from bridge.store.records import CommandEntry, read_time
from bridge.transmitters.routes import Route
from bridge.transmitters.timetable import Due, Timetable

log = logging.getLogger(__name__)

_LOOK_S = 60.0
"""How soon a clock that was set is noticed."""
_OVERDUE_S = 360.0
"""A test alarm is given up after five minutes; one that was not even begun by then is overdue."""
_FACT = "test alarms"


@dataclass(frozen=True, slots=True)
class PlannedTests:
    """When a transmitter sends a test alarm, over each of `routes` in turn; without routes, over any."""

    event_code: str
    timetable: Timetable
    routes: tuple[Route, ...] = ()

    def route(self, due: Due) -> Route | None:
        return self.routes[due.number % len(self.routes)] if self.routes else None


def new_test(transmitter: str, event_code: str, clock: Clock, route: Route | None = None) -> Command:
    """Return the command of a test alarm, accepted now. Raises FieldError."""
    now = clock.now()
    alarm, warnings = prepare(Alarm(event_code))
    alarm, of_the_clock = clock.timed(alarm, now)
    return Command(
        transmitter=transmitter,
        request=Request.TEST,
        accepted_at=now,
        moment=clock.moment(),
        alarm=alarm,
        reference=alarm.reference,
        warnings=(*warnings, *of_the_clock),
        route=(route.receiver, route.path) if route else None,
    )


class ScheduledTests:
    """Follows the plans, by transmitter; what was done last is kept in the store."""

    def __init__(self, plans: Mapping[str, PlannedTests], outbox: Outbox, clock: Clock, problems: Problems) -> None:
        self._plans = plans
        self._outbox = outbox
        self._clock = clock
        self._problems = problems
        self._done: dict[str, tuple[str, float]] | None = None
        """By transmitter: its timetable, and when the last test was due; at first when the timetable was seen."""

    async def run(self) -> None:
        """Send what is due until cancelled."""
        while self._plans:
            if not self._clock.is_wrong:
                await self._look()
            now = self._now()
            due = min(plan.timetable.next_at(now) for plan in self._plans.values())
            await asyncio.sleep(min(due - now + 0.01, _LOOK_S))

    def _now(self) -> float:
        return self._clock.now().timestamp()

    async def _look(self) -> None:
        with tolerated(log):
            if self._done is None:
                self._done = _read(await self._outbox.fact(_FACT))
            for name, plan in self._plans.items():
                await self._check(name, plan, self._done)

    async def _check(self, name: str, plan: PlannedTests, done: dict[str, tuple[str, float]]) -> None:
        now, table = self._now(), plan.timetable
        key, last = done.get(name, ("", 0.0))
        if key != table.key or last > now + table.every_s:  # new, or the clock was wrong
            await self._keep(done, name, (table.key, now))
            return
        due = table.latest(now)
        if due.at <= last:
            return
        if now - due.at > _OVERDUE_S:
            self._overdue(name, plan, due)
        try:
            command = new_test(name, plan.event_code, self._clock, plan.route(due))
        except FieldError as error:
            log.error("%s: no test alarm: %s", name, error)
            return
        await self._outbox.add([CommandEntry(command)])
        await self._keep(done, name, (table.key, due.at))

    def _overdue(self, name: str, plan: PlannedTests, due: Due) -> None:
        text = f"the test alarm of {timestamp(read_time(due.at))} is overdue"
        self._problems.set(Kind.TEST_FAILED, text, about(name, plan.route(due)))

    async def _keep(self, done: dict[str, tuple[str, float]], name: str, last: tuple[str, float]) -> None:
        done[name] = last
        await self._outbox.keep_fact(_FACT, json.dumps({each: done[each] for each in done if each in self._plans}))


def about(transmitter: str, route: Route | None) -> About:
    """Return what the problem of a failed test alarm is about."""
    return About(transmitter, route.receiver, route.path or None) if route else About(transmitter)


def _read(text: str | None) -> dict[str, tuple[str, float]]:
    try:
        found = json.loads(text) if text else {}
        return {str(name): (str(key), float(at)) for name, (key, at) in found.items()}
    except (ValueError, TypeError, AttributeError) as error:
        log.error("the state of the test alarms cannot be read: %s", clean(error))
        return {}
