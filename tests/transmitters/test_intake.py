"""From MQTT into the outbox: what is woken, remembered and handed on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.outbox import HOME, opened, result

from bridge.common.clock import Clock
from bridge.common.models import Incoming, Outcome
from bridge.store.outbox import Outbox
from bridge.transmitters.intake import CommandHandler
from bridge.transmitters.topics import Topics

pytestmark = pytest.mark.usefixtures("each_store")

TOPICS = Topics("b", {HOME: {}})


def message(payload: bytes, mid: int = 1, *, duplicate: bool = False) -> Incoming:
    topic = f"b/transmitter/{HOME}/alarm/raise"
    return Incoming(topic, payload, retained=False, duplicate=duplicate, mid=mid, reply=None)


def handler(outbox: Outbox) -> CommandHandler:
    return CommandHandler(TOPICS, outbox, _Deaf(), Clock())  # type: ignore[arg-type]


def test_a_line_gets_what_was_being_stored_when_the_broker_went_away(tmp_path: Path) -> None:
    """Else it takes itself for empty, and sends a restore that comes next before the alarm that was written."""

    async def body() -> None:
        async with opened(tmp_path) as outbox:
            assert await outbox.pending(HOME) == []
            task = asyncio.create_task(handler(outbox).handle([message(b"BA")]))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await outbox.deliveries.settled()
            assert outbox.news(HOME).is_set()
            assert [queued.command.identity.event_code for queued in outbox.take(HOME)] == ["BA"]
            assert outbox.deliveries.is_redelivery(message(b"BA", duplicate=True))

    asyncio.run(body())


GIVEN = b'{"event_code": "BA", "reference": "17", "transmitter_time": "2026-03-01T12:00:00+01:00"}'


@pytest.mark.parametrize(
    ("first", "second", "queued"),
    [
        pytest.param(GIVEN, GIVEN, 1, id="a restored broker delivers it again"),
        pytest.param(GIVEN, GIVEN.replace(b"BA", b"FA"), 2, id="another content"),
        pytest.param(GIVEN, GIVEN.replace(b"12:00:00", b"12:00:01"), 2, id="another time"),
        pytest.param(
            b'{"event_code": "BA", "reference": "17"}', b'{"event_code": "BA", "reference": "17"}', 2, id="ref"
        ),
        pytest.param(b"BA", b"BA", 2, id="neither"),
    ],
)
def test_the_same_reference_and_time_again_is_a_duplicate(
    tmp_path: Path, first: bytes, second: bytes, queued: int
) -> None:
    async def body() -> None:
        async with opened(tmp_path) as outbox:
            await handler(outbox).handle([message(first, 1)])
            await handler(outbox).handle([message(second, 2)])
            assert len(await outbox.list()) == queued
            outcomes = [each.fields["outcome"] for each in (await outbox.to_publish()).results]
            assert outcomes == (["duplicate"] if queued == 1 else [])

    asyncio.run(body())


def test_what_was_not_delivered_may_be_sent_again_with_its_reference(tmp_path: Path) -> None:
    async def body() -> None:
        async with opened(tmp_path) as outbox:
            await handler(outbox).handle([message(GIVEN, 1)])
            [queued] = await outbox.list()
            await outbox.complete(queued, result(queued, Outcome.EXPIRED))
            await handler(outbox).handle([message(GIVEN, 2)])
            assert len(await outbox.list()) == 1

    asyncio.run(body())


class _Deaf:
    """Stands for what publishes."""

    def emit(self, *_: object, **__: object) -> None: ...
