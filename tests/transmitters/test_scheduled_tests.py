"""Test alarms: when they are put into the outbox, how they are sent, and what a failed one raises."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, time, timedelta
from pathlib import Path
from unittest.mock import Mock
from zoneinfo import ZoneInfo

import pytest
from support import virtual
from support.line import BUSY, DEAD, SILENT, Bench, on_bench
from support.outbox import HOME, NOW, clock, entry, opened, put, result

from bridge.common.errors import StoreError
from bridge.common.models import Command, Outcome, Request
from bridge.common.problems import About, Kind, Problems
from bridge.common.text import timestamp
from bridge.mqtt.outgoing import Outgoing
from bridge.record.recorder import Recorder
from bridge.store.outbox import Outbox
from bridge.transmitters.publisher import Publisher
from bridge.transmitters.routes import Route
from bridge.transmitters.scheduled_tests import PlannedTests, ScheduledTests, new_test
from bridge.transmitters.timetable import Timetable
from bridge.transmitters.topics import Reach, Topics

pytestmark = pytest.mark.usefixtures("each_store")

ZONE = ZoneInfo("Europe/Stockholm")
NIGHT = datetime(2026, 3, 10, 1, 0, tzinfo=ZONE)
DAY = 86400.0
ROUTES = (Route("primary", "fixed"), Route("secondary", "fixed"))
PLAN = PlannedTests("TST", Timetable(86400, time(3, 20), ZONE))
EACH_ROUTE = PlannedTests("TST", Timetable(86400, time(3, 20), ZONE), ROUTES)


# On the line


def trial(each: Bench, route: tuple[str, str] | None = None) -> Command:
    return new_test(HOME, "TST", each.clock, Route(*route) if route else None)


def test_it_is_sent_like_an_alarm_and_leaves_nothing_active(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        (queued,) = await put(each.outbox, trial(each))
        await each.settle()
        assert each.sent == ["TST"]
        request = each.dialer.sent[0].request
        assert getattr(request, "event_type", None) in (None, "AL")
        fields = await each.outbox.test_result(HOME, queued.id)
        assert fields is not None
        assert (fields["request"], fields["outcome"], fields["receiver"]) == ("test", "accepted", "primary")
        assert (await each.outbox.status(HOME)).active == []
        assert await each.outbox.list() == []
        assert each.transmitter.delivered == 0

    on_bench(tmp_path, body)


def test_it_is_tried_for_five_minutes_and_is_never_undelivered(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        each.dialer.behaves = lambda *_: BUSY[1]
        (queued,) = await put(each.outbox, trial(each))
        await each.settle(290)
        assert await each.outbox.test_result(HOME, queued.id) is None
        assert 9 <= each.sent.count("TST") <= 11
        counts = (await each.outbox.status(HOME)).counts
        assert (counts.pending, counts.undelivered) == (0, 0)
        assert await each.outbox.owed_undelivered([HOME]) == []
        await each.settle(40)
        fields = await each.outbox.test_result(HOME, queued.id)
        assert fields is not None
        assert fields["outcome"] == "unreachable"
        sent = each.sent.count("TST")
        await each.settle(600)
        assert each.sent.count("TST") == sent

    on_bench(tmp_path, body)


def test_a_receiver_that_comes_back_within_five_minutes_takes_it(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        each.dialer.behaves = lambda *_: DEAD
        (queued,) = await put(each.outbox, trial(each))
        await each.settle(100)
        each.dialer.behaves = lambda *_: 0
        await each.settle(60)
        fields = await each.outbox.test_result(HOME, queued.id)
        assert fields is not None
        assert (fields["outcome"], fields["attempts"] > 2) == ("accepted", True)

    on_bench(tmp_path, body)


@pytest.mark.parametrize(("answer", "outcome"), [(4, "unauthorized"), (3, "rejected")])
def test_an_answer_that_stays_the_same_ends_it_at_once(tmp_path: Path, answer: int, outcome: str) -> None:
    async def body(each: Bench) -> None:
        each.dialer.behaves = lambda *_: answer
        (queued,) = await put(each.outbox, trial(each))
        await each.settle(1)
        fields = await each.outbox.test_result(HOME, queued.id)
        assert fields is not None
        assert (fields["outcome"], fields["status"]) == (outcome, answer)
        if answer == 3:  # it says something about the code, nothing about the receiver
            assert dict(each.recorder.receivers)["primary"] is True

    on_bench(tmp_path, body)


@pytest.mark.parametrize("works", [True, False])
def test_a_route_is_tested_alone(tmp_path: Path, works: bool) -> None:  # noqa: FBT001
    async def body(each: Bench) -> None:
        each.dialer.behaves = lambda receiver, _: 0 if works or "secondary over b" not in receiver else DEAD
        (queued,) = await put(each.outbox, trial(each, ("secondary", "b")))
        await each.settle(400)
        tests = [document.receiver for document in each.dialer.sent if document.what == "TST"]
        assert tests == (["secondary over b"] if works else [])
        fields = await each.outbox.test_result(HOME, queued.id)
        assert fields is not None
        assert (fields["receiver"], fields["path"]) == ("secondary", "b")
        assert fields["outcome"] == ("accepted" if works else "unreachable")

    on_bench(tmp_path, body, receivers=("primary", "secondary"), paths=("a", "b"))


def test_it_delays_no_alarm(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        each.dialer.behaves = lambda _, request: SILENT if getattr(request, "event_code", None) == "TST" else 0
        await put(each.outbox, trial(each))
        await each.settle(1)
        await put(each.outbox, replace(new_test(HOME, "BA", each.clock), request=Request.ALARM))
        await each.settle(0.1)
        assert each.sent.count("BA") == 1

    on_bench(tmp_path, body)


def test_one_that_waited_through_a_restart_is_not_sent_late(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as outbox:
            late = new_test(HOME, "TST", clock(lambda: NOW - timedelta(seconds=400)))
            (queued,) = await put(outbox, late)
            async with Bench(tmp_path, outbox) as each:
                await each.settle(30)
                assert "TST" not in each.sent
                fields = await outbox.test_result(HOME, queued.id)
                assert fields is not None
                assert fields["outcome"] == "expired"

    virtual.run(main())


def test_one_behind_a_ping_that_has_to_wait_is_given_up(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        supervision = each.transmitter._state.supervision
        supervision.gap_s = 3600.0
        supervision.last_ping = supervision.too_often_at = asyncio.get_running_loop().time()
        await put(each.outbox, Command(transmitter=HOME, request=Request.PING, accepted_at=each.wall))
        (queued,) = await put(each.outbox, trial(each))
        await each.settle(320)
        fields = await each.outbox.test_result(HOME, queued.id)
        assert fields is not None
        assert (fields["outcome"], "TST" in each.sent) == ("expired", False)

    on_bench(tmp_path, body)


# The schedule


class Lab:
    """The schedule alone; what it puts into the outbox stays there."""

    def __init__(self, outbox: Outbox, began: datetime) -> None:
        self.outbox = outbox
        self.problems = Problems()
        self._offset = began.timestamp() - asyncio.get_running_loop().time()
        self.clock = clock(lambda: datetime.fromtimestamp(self.now, ZONE))
        self.plan = PLAN
        self.running: asyncio.Task[None] | None = None

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time() + self._offset

    @now.setter
    def now(self, value: float) -> None:
        self._offset = value - asyncio.get_running_loop().time()

    def start(self) -> None:
        schedule = ScheduledTests({HOME: self.plan}, self.outbox, self.clock, self.problems)
        self.running = asyncio.create_task(schedule.run())

    async def stop(self) -> None:
        assert self.running is not None
        self.running.cancel()
        await asyncio.wait([self.running])

    async def restart(self, after: float) -> None:
        await self.stop()
        await asyncio.sleep(after)
        self.start()
        await asyncio.sleep(1)

    async def tests(self) -> list[str]:
        """Return when tests were put into the outbox, local time."""
        return [f"{each.command.accepted_at.astimezone(ZONE):%m-%d %H:%M}" for each in await self.outbox.list()]

    async def routes(self) -> list[tuple[str, str] | None]:
        return [each.command.route for each in await self.outbox.list()]


def in_lab(
    path: Path, body: Callable[[Lab], Awaitable[None]], began: datetime = NIGHT, plan: PlannedTests = PLAN
) -> None:
    async def main() -> None:
        async with opened(path) as outbox:
            each = Lab(outbox, began)
            each.plan = plan
            each.start()
            await body(each)
            await each.stop()

    virtual.run(main())


def test_each_night_once(tmp_path: Path) -> None:
    async def body(each: Lab) -> None:
        await asyncio.sleep(3 * DAY)
        assert await each.tests() == ["03-10 03:20", "03-11 03:20", "03-12 03:20"]
        (command, *_) = [queued.command for queued in await each.outbox.list()]
        assert (command.request, command.alarm and command.alarm.event_code) == (Request.TEST, "TST")
        assert command.alarm is not None
        assert command.alarm.transmitter_time is not None
        assert list(each.problems) == []

    in_lab(tmp_path, body)


@pytest.mark.parametrize("night", [datetime(2026, 3, 29, tzinfo=ZONE), datetime(2026, 10, 25, tzinfo=ZONE)])
@pytest.mark.parametrize("at", [time(2, 30), time(3, 20)])
def test_once_in_the_night_in_which_clocks_change(tmp_path: Path, night: datetime, at: time) -> None:
    async def body(each: Lab) -> None:
        await asyncio.sleep(20 * 3600)
        assert len(await each.tests()) == 1

    in_lab(tmp_path, body, night, PlannedTests("TST", Timetable(86400, at, ZONE)))


def test_a_restart_repeats_nothing(tmp_path: Path) -> None:
    async def body(each: Lab) -> None:
        await asyncio.sleep(2.4 * 3600)
        for _ in range(5):
            await each.restart(60)
        assert await each.tests() == ["03-10 03:20"]

    in_lab(tmp_path, body)


def test_one_that_was_missed_is_overdue_and_sent_at_once(tmp_path: Path) -> None:
    async def body(each: Lab) -> None:
        await asyncio.sleep(60)
        await each.restart(3.4 * DAY)
        assert len(await each.tests()) == 1
        (problem,) = each.problems
        assert (problem.kind, problem.about) == (Kind.TEST_FAILED, About(HOME))
        due = timestamp(datetime(2026, 3, 13, 3, 20, tzinfo=ZONE))
        assert problem.text == f"the test alarm of {due} is overdue"

    in_lab(tmp_path, body)


def test_a_short_restart_over_its_time_is_no_problem(tmp_path: Path) -> None:
    async def body(each: Lab) -> None:
        await asyncio.sleep(2.3 * 3600)
        await each.restart(300)
        assert len(await each.tests()) == 1
        assert list(each.problems) == []

    in_lab(tmp_path, body)


def test_a_new_timetable_begins_with_its_next_time(tmp_path: Path) -> None:
    async def body(each: Lab) -> None:
        await asyncio.sleep(12 * 3600)
        each.plan = PlannedTests("TST", Timetable(86400, time(10, 0), ZONE))
        await each.restart(60)
        assert await each.tests() == ["03-10 03:20"]
        await asyncio.sleep(DAY)
        assert await each.tests() == ["03-10 03:20", "03-11 10:00"]
        assert list(each.problems) == []

    in_lab(tmp_path, body)


def test_each_route_in_turn_over_restarts(tmp_path: Path) -> None:
    async def body(each: Lab) -> None:
        for _ in range(4):
            await asyncio.sleep(DAY)
            await each.restart(60)
        first, second, third, fourth = await each.routes()
        assert {first, second} == {("primary", "fixed"), ("secondary", "fixed")}
        assert (third, fourth) == (first, second)

    in_lab(tmp_path, body, plan=EACH_ROUTE)


def test_a_clock_that_was_years_ahead_stops_no_test(tmp_path: Path) -> None:
    async def body(each: Lab) -> None:
        true = each.now
        each.now += 1000 * DAY
        await asyncio.sleep(120)
        each.now = true
        await asyncio.sleep(DAY)
        assert "03-10 03:20" in await each.tests()

    in_lab(tmp_path, body)


def test_none_is_sent_while_the_clock_is_wrong(tmp_path: Path) -> None:
    async def body(each: Lab) -> None:
        each.now = 0.0
        await asyncio.sleep(2 * DAY)
        assert await each.tests() == []

    in_lab(tmp_path, body)


def test_a_store_that_fails_makes_it_overdue_and_it_is_sent_later(tmp_path: Path) -> None:
    async def body(each: Lab) -> None:
        await asyncio.sleep(60)
        true_add = each.outbox.add
        each.outbox.add = Mock(side_effect=StoreError("the disk is full"))  # type: ignore[method-assign]
        await asyncio.sleep(2.5 * 3600)
        assert [problem.kind for problem in each.problems] == [Kind.TEST_FAILED]
        each.outbox.add = true_add  # type: ignore[method-assign]
        await asyncio.sleep(120)
        assert len(await each.tests()) == 1

    in_lab(tmp_path, body)


# What it raises


def problems_after(path: Path, results: list[tuple[str, tuple[str, str] | None]], *, each_route: bool) -> list[About]:
    """Return what is known of failed tests after a start that finds these results, oldest first."""

    async def main() -> list[About]:
        async with opened(path) as outbox:
            for outcome, route in results:
                (queued,) = await put(outbox, new_test(HOME, "TST", clock(), Route(*route) if route else None))
                receiver, way = route or ("primary", None)
                more = {"receiver": receiver, "path": way} if outcome == "accepted" or route else {}
                await outbox.complete(queued, result(queued, Outcome(outcome), **more))
            reach = Reach({"primary": "a:1", "secondary": "b:1"}, {"fixed": "eth0"}, tests_each_route=each_route)
            topics, problems = Topics("b", {HOME: {}}, {HOME: reach}), Problems()
            publisher = Publisher(topics, outbox, Outgoing(asyncio.Event()), problems, Mock(spec=Recorder))
            await publisher.restore()
            return [problem.about for problem in problems if problem.kind is Kind.TEST_FAILED]

    return asyncio.run(main())


FIXED, OTHER = ("primary", "fixed"), ("secondary", "fixed")


@pytest.mark.parametrize(
    ("results", "each_route", "expected"),
    [
        ([], False, []),
        ([("accepted", None)], False, []),
        ([("accepted", None), ("unreachable", None)], False, [About(HOME)]),
        ([("unreachable", None), ("rejected", None), ("accepted", None)], False, []),
        ([("unreachable", FIXED), ("accepted", OTHER)], True, [About(HOME, *FIXED)]),
        ([("unreachable", FIXED), ("accepted", OTHER), ("accepted", FIXED)], True, []),
        ([("unreachable", FIXED), ("unauthorized", OTHER)], True, [About(HOME, *FIXED), About(HOME, *OTHER)]),
        ([("unreachable", FIXED), ("accepted", None)], False, []),
        ([("unreachable", None), ("accepted", FIXED)], True, []),
    ],
)
def test_a_failed_test_is_a_problem_until_one_succeeds(
    tmp_path: Path,
    results: list[tuple[str, tuple[str, str] | None]],
    each_route: bool,  # noqa: FBT001
    expected: list[About],
) -> None:
    assert problems_after(tmp_path, results, each_route=each_route) == expected


def test_the_entry_of_a_test_survives_the_store(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as outbox:
            command = new_test(HOME, "TST", clock(), ROUTES[1])
            await outbox.add([entry(command)])
            (queued,) = await outbox.list()
            assert queued.command == command

    asyncio.run(main())
