"""Which messages of the broker are redeliveries: in doubt a command is carried out twice, never not at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from support.outbox import HOME, NOW, command, entry, result, with_outbox

from bridge.common.models import Incoming, Outcome, Request
from bridge.store.deliveries import delivery_of
from bridge.store.outbox import Outbox
from bridge.store.records import InvalidEntry, Queued

pytestmark = pytest.mark.usefixtures("each_store")

Step = Callable[[Outbox], Awaitable[None]]


def message(mid: int | None = 1, payload: bytes = b"BA", *, duplicate: bool = False) -> Incoming:
    return Incoming("b/x", payload, retained=False, duplicate=duplicate, mid=mid, reply=None)


FIRST, AGAIN = message(), message(duplicate=True)


async def accept(outbox: Outbox) -> None:
    await outbox.add([entry(command(), delivery_of(FIRST))])


async def deliver(outbox: Outbox) -> None:
    [queued] = await outbox.list()
    await outbox.complete(queued, result(queued))


async def reject(outbox: Outbox) -> None:
    [queued] = await outbox.list()
    await outbox.complete(queued, result(queued, Outcome.REJECTED))


async def deliver_first(outbox: Outbox) -> None:
    queued, _ = await outbox.list()
    await outbox.complete(queued, result(queued))


async def fail(outbox: Outbox) -> None:
    [queued] = await outbox.list()
    await outbox.failed(queued, attempts=2, error="refused")


async def drop(outbox: Outbox) -> None:
    """As another program does."""
    [queued] = await outbox.pending(HOME)
    await outbox.drop(queued.id, NOW)
    await outbox.follow_others()


async def confirm(outbox: Outbox) -> None:
    outbox.deliveries.acknowledged([FIRST])
    await outbox.forget_confirmed()


async def new_session(outbox: Outbox) -> None:
    outbox.deliveries.new_session()
    await outbox.forget_confirmed()


async def use_again(outbox: Outbox) -> None:
    await outbox.add([entry(command(code="FA"), delivery_of(message(payload=b"FA")))])


async def confirm_other(outbox: Outbox) -> None:
    outbox.deliveries.acknowledged([message(payload=b"FA")])
    await outbox.forget_confirmed()


async def take_invalid(outbox: Outbox) -> None:
    wrong = result((await _ping(outbox)), Outcome.INVALID, error="no")
    await outbox.add([InvalidEntry(HOME, wrong, None, delivery_of(FIRST))])


async def _ping(outbox: Outbox) -> Queued:
    await outbox.add([entry(command(Request.PING))])
    [queued] = await outbox.list()
    return queued


CASES = [
    pytest.param([accept], True, id="pending"),
    pytest.param([accept, fail], True, id="tried, and still pending"),
    pytest.param([], False, id="never seen"),
    pytest.param([accept, deliver], False, id="delivered: the broker may use its id again"),
    pytest.param([accept, reject], False, id="rejected"),
    pytest.param([accept, drop], False, id="dropped by a person"),
    pytest.param([take_invalid], False, id="invalid"),
    pytest.param([accept, confirm], False, id="the broker has the acknowledgement"),
    pytest.param([accept, new_session], False, id="a new session"),
    pytest.param([accept, use_again], False, id="the id belongs to another by now"),
    pytest.param([accept, use_again, confirm_other, confirm], False, id="and that one is confirmed"),
    pytest.param([accept, confirm, accept, deliver_first], True, id="an equal one has the id by now"),
]


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(("steps", "again"), CASES)
def test_a_message_with_dup(tmp_path: Path, steps: list[Step], *, again: bool, restart: bool) -> None:
    async def body(outbox: Outbox) -> None:
        for step in steps:
            await step(outbox)
        if not restart:
            assert outbox.deliveries.is_redelivery(AGAIN) is again

    async def then(outbox: Outbox) -> None:
        await outbox.load_deliveries()
        assert outbox.deliveries.is_redelivery(AGAIN) is again

    with_outbox(tmp_path, body)
    if restart:
        with_outbox(tmp_path, then)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(message(), id="no duplicate flag"),
        pytest.param(message(2, duplicate=True), id="another id"),
        pytest.param(message(payload=b"FA", duplicate=True), id="another content"),
        pytest.param(message(None, duplicate=True), id="QoS 0"),
    ],
)
def test_another_message(tmp_path: Path, other: Incoming) -> None:
    async def body(outbox: Outbox) -> None:
        await accept(outbox)
        assert not outbox.deliveries.is_redelivery(other)

    with_outbox(tmp_path, body)
