"""A simulated month: receivers and paths fail, the bridge is stopped and killed, and alarms are sent, as a plan says.

`TZ=Europe/Stockholm python tests/record/month.py FILE` writes the report of the month as a page.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from unittest.mock import Mock

from support import virtual
from support.outbox import HOME, command, put, result
from support.stores import open_store

from bridge.common.clock import Clock
from bridge.common.models import Outcome, Request
from bridge.common.problems import Problems
from bridge.mqtt.outgoing import Outgoing
from bridge.record.figures import Figures, Subject
from bridge.record.months import Month
from bridge.record.reader import read_month
from bridge.record.recorder import Recorder
from bridge.record.report import page
from bridge.store.database import Store
from bridge.store.edges import Edges
from bridge.store.outbox import Outbox
from bridge.transmitters.publisher import Publisher
from bridge.transmitters.routes import Route, Routes
from bridge.transmitters.supervision import Supervision
from bridge.transmitters.topics import Reach, Topics

MONTH = Month(2026, 10)
"""Its 25th has 25 hours in most of Europe."""
DAY, HOUR, MINUTE = 86400, 3600, 60
RECEIVERS, PATHS = ("primary", "secondary"), ("fixed", "mobile")
SUBJECT = Subject(HOME, RECEIVERS, PATHS, undelivered_after=30.0)


@dataclass(frozen=True)
class Alarm:
    """An alarm of the plan, or a restore or test."""

    at: int
    took: float
    outcome: Outcome = Outcome.ACCEPTED
    code: str = "BA"
    request: Request = Request.ALARM
    receiver: str = "primary"
    error: str | None = None


@dataclass(frozen=True)
class Plan:
    """What happens, in seconds from the beginning of the month."""

    faults: Sequence[tuple[int, int, Sequence[Route]]]
    """From, to, and the routes that fail meanwhile."""
    away: Sequence[tuple[int, int, bool]] = ()
    """From, to, and whether the bridge is killed."""
    alarms: Sequence[Alarm] = ()

    @property
    def events(self) -> list[tuple[int, int, object]]:
        """Return all of it by time; what happens while the bridge is away, it finds at its start."""
        found: list[tuple[int, int, object]] = []
        for start, end, routes in self.faults:
            found += [(start, 1, (routes, False)), (end, 1, (routes, True))]
        for start, end, killed in self.away:
            found += [(start, 0, "kill" if killed else "stop"), (end, 2, "start")]
        return sorted(found + [(alarm.at, 3, alarm) for alarm in self.alarms], key=lambda each: each[:2])


ROUTES = tuple(Route(receiver, path) for path in PATHS for receiver in RECEIVERS)
_PRIMARY, _SECONDARY = ([route for route in ROUTES if route.receiver == name] for name in RECEIVERS)
_FIXED, _MOBILE = ([route for route in ROUTES if route.path == name] for name in PATHS)
PLAN = Plan(
    faults=(
        (2 * DAY + 3 * HOUR, 2 * DAY + 3 * HOUR + 240, _PRIMARY),
        (5 * DAY + 7 * HOUR, 5 * DAY + 13 * HOUR + 17, _SECONDARY),
        (9 * DAY + 100, 9 * DAY + 700, _FIXED),
        (14 * DAY + 12 * HOUR, 14 * DAY + 12 * HOUR + 59, ROUTES),
        (20 * DAY, 21 * DAY + 4 * HOUR, _MOBILE),
        (24 * DAY + 2 * HOUR, 24 * DAY + 2 * HOUR + 45 * MINUTE, ROUTES),  # when clocks change
        (28 * DAY + 13, 28 * DAY + 1013, _PRIMARY),
    ),
    away=((11 * DAY + 9 * HOUR, 11 * DAY + 9 * HOUR + 90, False), (17 * DAY + 20 * HOUR, 18 * DAY + 6 * HOUR, False)),
    alarms=(
        *(
            Alarm(day * DAY + 3 * HOUR + 20 * MINUTE, 0.8, code="TST", request=Request.TEST)
            for day in range(31)
            if day != 18
        ),
        *(Alarm(day * DAY + 8 * HOUR + 11, 0.3 + day / 20) for day in range(0, 31, 3)),
        *(Alarm(day * DAY + 9 * HOUR, 0.9, request=Request.RESTORE) for day in range(0, 31, 3)),
        Alarm(5 * DAY + 4 * HOUR, 42, code="FA", receiver="secondary"),
        Alarm(14 * DAY + 12 * HOUR + 20, 71, code="<b>FA"),
        Alarm(24 * DAY + 2 * HOUR + 5, 2700, code="PA", error="no receiver took it in 412 attempts"),
        Alarm(26 * DAY, 12, Outcome.REJECTED, "ZZ", error="code 3: wrong content"),
    ),
)


@dataclass
class Simulation:
    """The parts of the bridge that measure, over a store, with a clock that begins with the month."""

    store: Store
    routes: Routes = field(default_factory=lambda: Routes(RECEIVERS, PATHS))
    running: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.zero = loop.time()
        self.clock = Clock(
            lambda: MONTH.start() + loop.time() - self.zero, lambda: loop.time(), "test", lambda: True  # noqa: PLW0108
        )  # fmt: skip
        self.edges, self.outbox = Edges(self.store), Outbox(self.store)

    async def until(self, at: float) -> None:
        await asyncio.sleep(max(self.zero + at - asyncio.get_running_loop().time(), 0))

    def start(self) -> None:
        self.recorder = Recorder(self.edges, self.clock)
        paths = {name: name for name in PATHS}
        topics = Topics("b", {HOME: {}}, {HOME: Reach(dict.fromkeys(RECEIVERS, "a:1"), paths)})
        outgoing = Mock(spec=Outgoing)
        self.publisher = Publisher(topics, self.outbox, outgoing, Problems(), self.recorder)
        self.running = asyncio.create_task(self.recorder.run())
        self.report()

    def report(self) -> None:
        if self.running is not None:
            self.publisher.routes(HOME, self.routes, Supervision())

    async def end(self, *, kill: bool) -> None:
        if self.running is None:
            return
        self.running.cancel()
        await asyncio.wait([self.running])
        self.running = None
        if not kill:
            await self.recorder.stop()

    def fail(self, routes: Iterable[Route], *, up: bool) -> None:
        now = asyncio.get_running_loop().time()
        for route in routes:
            health = self.routes[route]
            if up:
                health.answered(0, now, alarm=True)
            else:
                health.failed("no answer", now, alarm=True, connected=False)
        self.report()

    async def send(self, alarm: Alarm) -> None:
        wanted = command(alarm.request, alarm.code, at=self.clock.now(), reference=f"r{alarm.at}")
        (queued,) = await put(self.outbox, wanted)
        await self.until(alarm.at + alarm.took)
        taken = alarm.outcome is Outcome.ACCEPTED
        more = {"receiver": alarm.receiver if taken else None, "attempts": 1, "error": alarm.error}
        await self.outbox.complete(queued, result(queued, alarm.outcome, completed_at=self.clock.now(), **more))

    async def happens(self, event: object) -> None:
        match event:
            case Alarm():
                await self.send(event)
            case "start":
                self.start()
            case "stop" | "kill":
                await self.end(kill=event == "kill")
            case ([*routes], bool(up)):
                self.fail([route for route in routes if isinstance(route, Route)], up=up)


def simulate(folder: Path, plan: Plan) -> Figures:
    """Return the figures of the month in which `plan` happened."""

    async def main() -> Figures:
        async with await open_store(folder / "store.sqlite") as store:
            found = Simulation(store)
            found.fail(ROUTES, up=True)
            found.start()
            alarms = []
            for at, _, event in plan.events:
                await found.until(at)
                if isinstance(event, Alarm):  # others happen while it is sent
                    alarms.append(asyncio.create_task(found.happens(event)))
                else:
                    await found.happens(event)
            await found.until(MONTH.end() - MONTH.start())
            await asyncio.gather(*alarms)
            await found.end(kill=False)
            now = found.clock.now().timestamp()
            (figures,) = [each async for each in read_month(found.edges, [SUBJECT], MONTH, now)]
            return figures

    return virtual.run(main())


def states(plan: Plan, routes: Iterable[Route]) -> bytearray:
    """Return the state of each second of the month: u (up), d (down, where all of `routes` are), ? (unknown)."""
    length = round(MONTH.end() - MONTH.start())
    down = [bytearray(length) for _ in routes]
    for each, route in zip(down, routes, strict=True):
        for start, end, failing in plan.faults:
            if route in failing:
                each[start:end] = b"\1" * (end - start)
    found = bytearray(ord("d") if all(marks) else ord("u") for marks in zip(*down, strict=True))
    for start, end, _ in plan.away:
        found[start:end] = b"?" * (end - start)
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        figures = simulate(Path(temporary), PLAN)
    Path(sys.argv[1]).write_text(page([figures], "1.0.0", datetime.fromtimestamp(MONTH.end()).astimezone()), "utf-8")
