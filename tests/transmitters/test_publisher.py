"""What the publisher owes is told once, however slowly the store notes that it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

from bridge.common.models import Alarm, Command, Request
from bridge.mqtt.session import Door
from bridge.store.outbox import Outbox, Queued
from bridge.store.records import Owed, State
from bridge.transmitters.publisher import Publisher
from bridge.transmitters.topics import Topics

ACCEPTED = datetime(2026, 3, 1, tzinfo=UTC)
COMMAND = Command(transmitter="home", request=Request.ALARM, accepted_at=ACCEPTED, alarm=Alarm("BA"))
ALARM = Queued(1, COMMAND, State.PENDING, attempts=6, unauthorized=False, undelivered=True, error="no route")


class SlowOutbox:
    """Owes one `undelivered` until it is noted, which takes until `noted` is set."""

    def __init__(self) -> None:
        self.noted = asyncio.Event()
        self.owed = [ALARM]

    async def owed_results(self, after: int) -> list[Any]:
        return []

    async def owed_undelivered(self, _: object) -> list[Queued]:
        return list(self.owed)

    async def told_undelivered(self, queued: Queued) -> None:
        await self.noted.wait()
        self.owed.remove(queued)


class Published:
    """A door that keeps what is published, and the broker's acknowledgement to be called."""

    def __init__(self) -> None:
        self.topics: list[str] = []
        self.acknowledged: list[Callable[[], Awaitable[None]]] = []

    def publish(
        self, topic: str, payload: str, *, done: Callable[[], Awaitable[None]] | None = None, **_: object
    ) -> None:
        self.topics.append(topic)
        if done is not None:
            self.acknowledged.append(done)


def test_undelivered_is_told_once_while_the_store_is_slow() -> None:
    async def main() -> None:
        outbox, door = SlowOutbox(), Published()
        publisher = Publisher(Topics("b", {"home": {}}), cast("Outbox", outbox))
        publisher.attach(cast("Door", door))
        publisher._changed.clear()
        await publisher._round()
        told = ["b/transmitter/home/event", "b/transmitter/home/undelivered"]
        assert door.topics == told
        noting = asyncio.ensure_future(door.acknowledged[0]())
        await asyncio.sleep(0)
        await publisher._round()
        outbox.noted.set()
        await noting
        await publisher._round()
        assert door.topics == told
        assert not publisher._telling

    asyncio.run(main())


def test_results_of_a_transmitter_that_is_no_more_do_not_hide_those_of_the_others() -> None:
    class Portions:
        """Owes a portion of another transmitter's results, then one of ours."""

        async def owed_results(self, after: int) -> list[Owed]:
            if not after:
                return [Owed(number, "former", Request.PING, "{}", None) for number in range(1, 501)]
            return [Owed(501, "home", Request.PING, "{}", None)] if after == 500 else []

        async def owed_undelivered(self, _: object) -> list[Queued]:
            return []

    async def main() -> None:
        door = Published()
        publisher = Publisher(Topics("b", {"home": {}}), cast("Any", Portions()))
        publisher.attach(cast("Door", door))
        publisher._changed.clear()
        running = asyncio.create_task(publisher.run())
        async with asyncio.timeout(10):
            while not door.topics:  # noqa: ASYNC110 - a fake has no event
                await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running])
        assert door.topics == ["b/transmitter/home/ping/response"]

    asyncio.run(main())


def test_the_next_portion_of_undelivered_follows_the_one_before() -> None:
    class Portions(SlowOutbox):
        """Hands out one of two at a time."""

        def __init__(self) -> None:
            super().__init__()
            self.owed.append(replace(ALARM, id=2))
            self.noted.set()

        async def owed_undelivered(self, _: object) -> list[Queued]:
            return self.owed[:1]

    async def main() -> None:
        outbox, door = Portions(), Published()
        publisher = Publisher(Topics("b", {"home": {}}), cast("Outbox", outbox))
        publisher.attach(cast("Door", door))
        publisher._changed.clear()
        running = asyncio.create_task(publisher.run())
        async with asyncio.timeout(10):
            while outbox.owed:
                while door.acknowledged:
                    await door.acknowledged.pop()()
                await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running])
        assert door.topics.count("b/transmitter/home/undelivered") == 2

    asyncio.run(main())
