"""What the publisher owes is published once, however slowly the store notes that the broker has it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, cast
from unittest.mock import Mock

import pytest

from bridge.common.errors import StoreError
from bridge.common.models import Command, PreparedAlarm, Request
from bridge.common.problems import Kind, Problems
from bridge.common.text import timestamp
from bridge.mqtt.outgoing import Outgoing
from bridge.record.recorder import Recorder
from bridge.store.arrivals import Wakes
from bridge.store.outbox import Outbox
from bridge.store.records import Counts, LastKnown, LineStatus, PendingResult, Queued, State, ToPublish
from bridge.transmitters.publisher import Publisher
from bridge.transmitters.routes import Route, Routes
from bridge.transmitters.supervision import Supervision
from bridge.transmitters.topics import Reach, Topics

RECEIVERS = {"primary": "a.example:1", "secondary": "b.example:1"}
SUPERVISION = Supervision(180.0)
TOPICS = Topics("b", {"home": {}}, {"home": Reach(RECEIVERS, level=180.0)})
ACCEPTED = datetime(2026, 3, 1, tzinfo=UTC)
COMMAND = Command(transmitter="home", request=Request.ALARM, accepted_at=ACCEPTED, alarm=PreparedAlarm("BA"))
ALARM = Queued(1, COMMAND, State.PENDING, attempts=6, unauthorized=False, undelivered=True, error="no route")
UNDELIVERED = ["b/transmitter/home/event", "b/transmitter/home/undelivered"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.transmitters.publisher._GATHER_S", 0.01)


class Owing:
    """An outbox that owes results and `undelivered` events, a portion at a time."""

    def __init__(self, *undelivered: Queued, portion: int = 1000) -> None:
        self.wakes = Wakes()
        self.undelivered = list(undelivered)
        self.results: list[PendingResult] = []
        """The portions by the number that they follow."""
        self.failures = 0
        self.reads: list[set[str]] = []
        """The transmitters of each read."""
        self.looks = 0
        self.searches = 0
        self.counted = Counts(undelivered=len(undelivered))
        self.stray: dict[str, int] = {}
        self.noted = asyncio.Event()
        """Noting waits for it."""
        self.noted.set()
        self._portion = portion

    async def status(self, _: str) -> LineStatus:
        self.looks += 1
        return LineStatus([], self.counted)

    async def to_publish(self, names: Collection[str], but: Collection[int] | None) -> ToPublish:
        self.reads.append(set(names))
        results = [] if but is None else [each for each in self.results if each.id not in but]
        return ToPublish(results[:500], {name: await self.status(name) for name in names})

    async def unconfigured(self, _: object) -> dict[str, int]:
        return self.stray

    async def last_known(self, names: Collection[str], _: int) -> dict[str, LastKnown]:
        self.reads.append(set(names))
        return {name: LastKnown({}, [], await self.status(name)) for name in names}

    async def owed_undelivered(self, _: object) -> list[Queued]:
        self.searches += 1
        return self.undelivered[: self._portion]

    async def published(self, results: object, undelivered: Sequence[Queued]) -> None:
        del results
        await self.noted.wait()
        if self.failures:
            self.failures -= 1
            raise StoreError("the disk is full")
        self.undelivered = [each for each in self.undelivered if each not in undelivered]


class Broker(Outgoing):
    """Keeps what is published as events; acknowledges it when a test says so."""

    def __init__(self) -> None:
        super().__init__(asyncio.Event())
        self.topics: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.states: dict[str, Any] = {}
        self.declared: list[str] = []
        """The topics of the states that changed."""
        self.unacknowledged: list[Callable[[], None]] = []

    def publish(self, topic: str, payload: str, *, done: Callable[[], None] | None = None, **_: Any) -> None:  # noqa: ANN401
        self.topics.append(topic)
        self.events.append(json.loads(payload))
        if done is not None:
            self.unacknowledged.append(done)

    def state(self, topic: str, payload: str) -> None:
        value = json.loads(payload) if payload[0] in "[{" else payload
        if self.states.get(topic) != value:
            self.states[topic] = value
            self.declared.append(topic)

    def acknowledge(self) -> None:
        while self.unacknowledged:
            self.unacknowledged.pop(0)()


@asynccontextmanager
async def publishing(outbox: Owing) -> AsyncIterator[tuple[Publisher, Broker]]:
    broker = Broker()
    publisher = Publisher(TOPICS, cast("Outbox", outbox), broker, Problems(), Mock(spec=Recorder))
    running = asyncio.create_task(publisher.run())
    try:
        yield publisher, broker
    finally:
        running.cancel()
        await asyncio.wait([running])


async def until(ready: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not ready():  # noqa: ASYNC110 - fakes have no events
            await asyncio.sleep(0)


def looked(outbox: Owing, times: int) -> bool:
    return outbox.looks >= times


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await scenario()

    asyncio.run(bounded())


def test_undelivered_is_published_once_while_the_store_is_slow() -> None:
    async def scenario() -> None:
        outbox = Owing(ALARM)
        outbox.noted.clear()
        async with publishing(outbox) as (publisher, broker):
            for rounds in (1, 2, 3):
                publisher.changed("home")
                await until(partial(looked, outbox, rounds))
                broker.acknowledge()
            outbox.noted.set()
            await until(lambda: not outbox.undelivered)
            looks = outbox.looks
            publisher.changed("home")
            await until(lambda: outbox.looks > looks)
            assert broker.topics == UNDELIVERED

    run(scenario)


@pytest.mark.parametrize("counted", [Counts(), Counts(undelivered=1), Counts(rejected=1)])
def test_undelivered_ones_are_searched_where_an_alarm_is_late_or_rejected(counted: Counts) -> None:
    """The search reads the disk, and each alarm would cost several."""

    async def scenario() -> None:
        outbox = Owing()
        outbox.counted = counted
        async with publishing(outbox) as (publisher, _):
            for rounds in (1, 2, 3):
                publisher.changed("home")
                await until(partial(looked, outbox, rounds))
            assert bool(outbox.searches) is (counted != Counts())
            outbox.counted = Counts()
            publisher.changed("home")
            await until(partial(looked, outbox, 4))
            searches = outbox.searches
            publisher.changed("home")
            await until(partial(looked, outbox, 5))
            assert outbox.searches == searches

    run(scenario)


def test_what_could_not_be_noted_is_noted_later_and_published_once() -> None:
    async def scenario() -> None:
        outbox = Owing(ALARM)
        outbox.failures = 2
        async with publishing(outbox) as (_, broker):
            await until(lambda: broker.topics)
            broker.acknowledge()
            await until(lambda: not outbox.undelivered)
            assert broker.topics == UNDELIVERED

    run(scenario)


def test_an_undelivered_that_the_broker_has_not_got_stays_owed() -> None:
    async def scenario() -> None:
        outbox = Owing(ALARM)
        async with publishing(outbox) as (publisher, broker):
            await until(lambda: broker.topics)
            await publisher.flush()
            assert outbox.undelivered == [ALARM]

    run(scenario)


def result(number: int, transmitter: str = "home") -> PendingResult:
    return PendingResult(number, transmitter, Request.PING, "{}", {}, None, None)


def test_an_alarm_that_ends_at_once_costs_one_read() -> None:
    async def scenario() -> None:
        outbox = Owing()
        async with publishing(outbox) as (publisher, broker):
            await until(lambda: outbox.reads)
            outbox.reads.clear()
            outbox.wakes.wake(["home"])
            await asyncio.sleep(0)
            outbox.results.append(result(1))
            publisher.changed("home")
            await until(lambda: broker.topics)
            broker.acknowledge()
            await asyncio.sleep(0.1)
            assert outbox.reads == [{"home"}]

    run(scenario)


def test_a_result_that_is_stored_while_the_broker_is_slow_follows_the_one_before() -> None:
    async def scenario() -> None:
        outbox = Owing()
        outbox.results = [result(1)]
        async with publishing(outbox) as (publisher, broker):
            await until(lambda: broker.topics)
            outbox.results.append(result(2))
            publisher.changed("home")
            await until(partial(looked, outbox, 2))
            assert len(broker.topics) == 1
            broker.acknowledge()
            await until(lambda: len(broker.topics) == 2)

    run(scenario)


def test_many_transmitters_are_read_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        outbox = Owing()
        async with publishing(outbox) as (publisher, _):
            await until(lambda: outbox.reads)
            outbox.reads.clear()
            for name in ("home", "office"):
                publisher.changed(name)
            await until(lambda: len(outbox.reads) == 2)
            assert sorted(map(list, outbox.reads)) == [["home"], ["office"]]

    monkeypatch.setattr("bridge.transmitters.publisher._LINES_AT_ONCE", 1)
    topics = Topics("b", {"home": {}, "office": {}}, {"home": Reach(RECEIVERS), "office": Reach(RECEIVERS)})
    monkeypatch.setattr(f"{__name__}.TOPICS", topics)
    run(scenario)


def test_a_start_reads_many_transmitters_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does so before it connects to the broker: a read for each of thousands is an alarm that waits."""

    async def scenario() -> None:
        outbox = Owing()
        publisher = Publisher(TOPICS, cast("Outbox", outbox), Broker(), Problems(), Mock(spec=Recorder))
        await publisher.restore()
        assert (len(outbox.reads), set().union(*outbox.reads)) == (3, {*names})

    names = [f"t{number}" for number in range(120)]
    topics = Topics("b", {name: {} for name in names}, {name: Reach(RECEIVERS) for name in names})
    monkeypatch.setattr(f"{__name__}.TOPICS", topics)
    run(scenario)


def test_results_of_a_transmitter_that_is_no_more_do_not_hide_those_of_the_others() -> None:
    async def scenario() -> None:
        outbox = Owing()
        outbox.results = [*(result(number, "former") for number in range(1, 501)), result(501, "home")]
        async with publishing(outbox) as (_, broker):
            await until(lambda: broker.topics)
            assert broker.topics == ["b/transmitter/home/ping/response"]

    run(scenario)


def test_the_next_portion_of_undelivered_follows_the_one_before() -> None:
    async def scenario() -> None:
        outbox = Owing(ALARM, replace(ALARM, id=2), portion=1)
        async with publishing(outbox) as (_, broker):
            async with asyncio.timeout(10):
                while outbox.undelivered:
                    broker.acknowledge()
                    await asyncio.sleep(0)
            assert broker.topics == UNDELIVERED * 2

    run(scenario)


def test_what_is_stored_is_counted_soon_also_while_no_transmitter_runs() -> None:
    async def scenario() -> None:
        outbox = Owing()
        async with publishing(outbox):
            await until(lambda: outbox.looks)
            looks = outbox.looks
            outbox.wakes.wake(["home", "former"])
            await until(lambda: outbox.looks > looks)

    run(scenario)


def serving(*receivers: str) -> Routes:
    """Return routes of which those of `receivers`, by default all, have just answered."""
    routes = Routes(list(RECEIVERS))
    for receiver in receivers or RECEIVERS:
        routes[Route(receiver)].answered(0, asyncio.get_running_loop().time(), alarm=False)
    return routes


def test_that_nothing_is_wrong_is_published_once_every_receiver_was_checked() -> None:
    async def scenario() -> None:
        async with publishing(Owing()) as (publisher, broker):
            publisher.routes("home", Routes(list(RECEIVERS)), SUPERVISION)
            publisher.routes("home", serving("primary"), SUPERVISION)
            await until(lambda: "b/transmitter/home/outbox" in broker.states)
            assert "b/transmitter/home/problem" not in broker.states
            assert broker.states["b/transmitter/home/link"] == "ON"
            publisher.routes("home", serving(), SUPERVISION)
            assert broker.states["b/transmitter/home/problem"] == "OFF"
            assert broker.states["b/transmitter/home/problem/info"] == []

    run(scenario)


def test_a_problem_is_listed_since_it_began_until_it_is_cleared() -> None:
    async def scenario() -> None:
        async with publishing(Owing()) as (publisher, broker):
            publisher.problem("home", Kind.UNAUTHORIZED, "refused: 4", receiver="primary")
            assert "b/transmitter/home/problem" not in broker.states, "the routes are not known yet"
            publisher.routes("home", serving(), SUPERVISION)
            [first] = broker.states["b/transmitter/home/problem/info"]
            assert broker.states["b/transmitter/home/problem"] == "ON"
            assert (first["kind"], first["text"], first["receiver"]) == ("unauthorized", "refused: 4", "primary")
            assert "path" not in first
            await asyncio.sleep(0.01)
            publisher.problem("home", Kind.UNAUTHORIZED, "refused: 6", receiver="primary")
            publisher.problem("home", Kind.PASSWORD_FILE, "damaged")
            again, other = broker.states["b/transmitter/home/problem/info"]
            assert again == first | {"text": "refused: 6"}
            assert other["kind"] == "password_file"
            broker.declared.clear()
            publisher.problem("home", Kind.PASSWORD_FILE, "damaged")
            publisher.problem("home", Kind.HEARTBEAT_DISABLED, None)
            assert broker.declared == []
            publisher.problem("home", Kind.UNAUTHORIZED, None, receiver="primary")
            publisher.problem("home", Kind.PASSWORD_FILE, None)
            assert broker.states["b/transmitter/home/problem"] == "OFF"
            assert broker.states["b/transmitter/home/problem/info"] == []

    run(scenario)


def test_problems_of_the_bridge_are_listed_from_the_start() -> None:
    async def scenario() -> None:
        async with publishing(Owing()) as (publisher, broker):
            await publisher.restore()
            assert (broker.states["b/bridge/problem"], broker.states["b/bridge/problem/info"]) == ("OFF", [])
            publisher._problems.set(Kind.STORE_FAILED, "disk full")
            assert broker.states["b/bridge/problem"] == "ON"
            assert broker.states["b/bridge/problem/info"][0]["kind"] == "store_failed"
            assert "b/transmitter/home/problem" not in broker.states

    run(scenario)


def test_what_the_outbox_shows_is_a_problem_until_it_is_gone() -> None:
    async def scenario() -> None:
        outbox = Owing()
        outbox.counted = Counts(pending=2, undelivered=1, rejected=3)
        info = "b/transmitter/home/problem/info"
        async with publishing(outbox) as (publisher, broker):
            publisher.routes("home", serving(), SUPERVISION)
            await until(lambda: broker.states.get(info))
            assert [each["kind"] for each in broker.states[info]] == ["rejected", "undelivered"]
            outbox.counted = Counts()
            publisher.changed("home")
            await until(lambda: broker.states[info] == [])
            assert broker.states["b/transmitter/home/problem"] == "OFF"

    run(scenario)


def test_problems_begin_with_what_is_stored_and_not_with_the_start() -> None:
    failed = {"outcome": "rejected", "completed_at": timestamp(ACCEPTED)}

    class Failed(Owing):
        async def last_known(self, names: Collection[str], _: int) -> dict[str, LastKnown]:
            tests = [failed, failed | {"completed_at": timestamp(ACCEPTED + timedelta(days=1))}]
            return {name: LastKnown({}, tests, await self.status(name)) for name in names}

    async def scenario() -> None:
        outbox = Failed()
        outbox.counted = Counts(pending=2, undelivered=1, oldest_at=ACCEPTED)
        async with publishing(outbox) as (publisher, broker):
            await publisher.restore()
            publisher.routes("home", serving(), SUPERVISION)
            listed = broker.states["b/transmitter/home/problem/info"]
            assert {each["kind"]: each["since"] for each in listed} == {
                "test_failed": timestamp(ACCEPTED),
                "undelivered": timestamp(ACCEPTED),
            }

    run(scenario)


def test_routes_are_published_with_their_events_and_problems() -> None:
    async def scenario() -> None:
        now = asyncio.get_running_loop().time()
        routes = Routes(list(RECEIVERS))
        primary, secondary = (routes[Route(receiver)] for receiver in RECEIVERS)
        async with publishing(Owing()) as (publisher, broker):
            for health in (primary, secondary):
                health.answered(0, now - 100, alarm=False)
            publisher.routes("home", routes, SUPERVISION)
            home = {topic.removeprefix("b/transmitter/home/"): state for topic, state in broker.states.items()}
            assert (home["receiver/primary/state"], home["link"], home["problem"]) == ("ON", "ON", "OFF")
            assert home["receiver/secondary/info"]["address"] == "b.example:1"
            assert broker.events == []
            secondary.failed("timed out", now, alarm=True, connected=True)
            publisher.routes("home", routes, SUPERVISION)
            assert broker.states["b/transmitter/home/receiver/secondary/state"] == "OFF"
            assert broker.states["b/transmitter/home/problem"] == "ON"
            [event] = broker.events
            assert (event["type"], event["receiver"], event["error"]) == ("receiver_down", "secondary", "timed out")
            broker.declared.clear()
            publisher.routes("home", routes, SUPERVISION)
            assert broker.declared == []
            secondary.answered(0, now, alarm=True)
            publisher.routes("home", routes, SUPERVISION)
            assert broker.events[-1]["type"] == "receiver_up"
            assert broker.states["b/transmitter/home/problem"] == "OFF"

    run(scenario)


def test_what_waits_for_nobody_is_a_problem_of_the_bridge() -> None:
    async def scenario() -> None:
        outbox = Owing()
        outbox.stray = {"former": 2}
        async with publishing(outbox) as (publisher, broker):
            await publisher.restore()
            [problem] = broker.states["b/bridge/problem/info"]
            assert (problem["kind"], "2 for former" in problem["text"]) == ("unconfigured_waiting", True)
            outbox.stray = {}
            publisher.changed("home")
            await until(lambda: broker.states["b/bridge/problem"] == "OFF")

    run(scenario)
