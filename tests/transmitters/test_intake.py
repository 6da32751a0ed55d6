"""From MQTT into the outbox: what is woken, remembered and handed on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.outbox import HOME

from bridge.common.clock import Clock
from bridge.mqtt.client import Incoming
from bridge.store.deliveries import Deliveries
from bridge.store.outbox import Outbox
from bridge.transmitters.intake import CommandHandler
from bridge.transmitters.topics import Topics

TOPICS = Topics("b", {HOME: {}})


def test_a_transmitter_looks_for_what_was_being_stored_when_the_broker_went_away() -> None:
    """Else it takes itself for empty, and sends a restore that comes next before the alarm that was written."""

    class Slow:
        """A store that is still writing when the connection to the broker ends."""

        def __init__(self) -> None:
            self.writing = asyncio.Event()

        async def write(self, work: object) -> None:
            self.writing.set()
            await asyncio.Event().wait()

    async def body() -> None:
        store = Slow()
        outbox = Outbox(store)  # type: ignore[arg-type]
        woken = outbox.wakes.of(HOME)
        handler = CommandHandler(TOPICS, outbox, Deliveries(outbox), _Deaf(), Clock())  # type: ignore[arg-type]
        message = Incoming(
            f"b/transmitter/{HOME}/alarm/raise", b"BA", retained=False, duplicate=False, mid=1, reply=None
        )
        task = asyncio.create_task(handler.handle([message]))
        await store.writing.wait()
        assert not woken.is_set()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert woken.is_set()
        assert outbox.wakes.take() == {HOME}

    asyncio.run(body())


def test_messages_of_which_nothing_is_stored_are_forgotten(tmp_path: Path) -> None:
    """Such as commands for a transmitter that there is not, a million of them."""

    class Counting:
        async def add(self, entries: object, confirmed: object) -> dict[str, None]:
            return {}

    async def body() -> int:
        most = 0
        deliveries = Deliveries(Counting())  # type: ignore[arg-type]
        handler = CommandHandler(TOPICS, Counting(), deliveries, _Deaf(), Clock())  # type: ignore[arg-type]
        for number in range(5000):
            message = Incoming(
                "b/transmitter/nobody/ping", b"%d" % number, retained=False, duplicate=False, mid=number + 1, reply=None
            )
            await handler.handle([message])
            deliveries.acknowledged([message])
            most = max(most, len(deliveries.confirmed))
        return most

    assert asyncio.run(body()) <= 1000


class _Deaf:
    """Stands for what publishes."""

    def emit(self, *_: object, **__: object) -> None: ...
