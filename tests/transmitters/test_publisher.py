"""What the publisher owes is published once, however slowly the store notes that the broker has it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import pytest

from bridge.common.errors import StoreError
from bridge.common.models import ActiveAlarm, Command, PreparedAlarm, Request
from bridge.mqtt.outgoing import Outgoing
from bridge.store.outbox import Outbox, Wakes
from bridge.store.records import Counts, PendingResult, Queued, State
from bridge.transmitters.publisher import Publisher
from bridge.transmitters.topics import Topics

TOPICS = Topics("b", {"home": {}})
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
        self.results: dict[int, list[PendingResult]] = {}
        """The portions by the number that they follow."""
        self.failures = 0
        self.looks = 0
        self.noted = asyncio.Event()
        """Noting waits for it."""
        self.noted.set()
        self._portion = portion

    async def active(self, _: str) -> list[ActiveAlarm]:
        return []

    async def counts(self, _: str) -> Counts:
        return Counts()

    async def owed_results(self, after: int) -> list[PendingResult]:
        return self.results.get(after, [])

    async def owed_undelivered(self, _: object) -> list[Queued]:
        self.looks += 1
        return self.undelivered[: self._portion]

    async def told_undelivered(self, queued: Queued) -> None:
        await self.noted.wait()
        if self.failures:
            self.failures -= 1
            raise StoreError("the disk is full")
        self.undelivered.remove(queued)

    async def published(self, results: object) -> None: ...


class Broker(Outgoing):
    """Keeps what is published as events; acknowledges it when a test says so."""

    def __init__(self) -> None:
        super().__init__(asyncio.Event())
        self.topics: list[str] = []
        self.unacknowledged: list[Callable[[], None]] = []

    def publish(self, topic: str, payload: str, *, done: Callable[[], None] | None = None, **_: Any) -> None:  # noqa: ANN401
        self.topics.append(topic)
        if done is not None:
            self.unacknowledged.append(done)

    def acknowledge(self) -> None:
        while self.unacknowledged:
            self.unacknowledged.pop(0)()


@asynccontextmanager
async def publishing(outbox: Owing) -> AsyncIterator[tuple[Publisher, Broker]]:
    broker = Broker()
    publisher = Publisher(TOPICS, cast("Outbox", outbox), broker)
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


def test_results_of_a_transmitter_that_is_no_more_do_not_hide_those_of_the_others() -> None:
    def result(number: int, transmitter: str) -> PendingResult:
        return PendingResult(number, transmitter, Request.PING, "{}", {}, None)

    async def scenario() -> None:
        outbox = Owing()
        outbox.results = {0: [result(number, "former") for number in range(1, 501)], 500: [result(501, "home")]}
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
