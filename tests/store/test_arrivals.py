"""What a line learns of the outbox without reading the disk: what is new, and what a person took out or put back."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from support.outbox import HOME, NOW, clock, command, entry, opened, opened_beside, put, result, with_outbox

from bridge.common.models import Alarm, AlarmIdentity, Command, Outcome, Request
from bridge.sos_access.prepare import prepare
from bridge.store.database import Db
from bridge.store.outbox import Outbox
from bridge.store.records import Queued

T = TypeVar("T")

pytestmark = pytest.mark.usefixtures("each_store")


def codes(found: list[Queued]) -> list[str]:
    return [queued.command.identity.event_code for queued in found]


def test_what_waits_comes_first_and_then_only_what_is_new(tmp_path: Path) -> None:
    async def body(outbox: Outbox) -> None:
        await put(outbox, command(code="BA"), command(Request.PING), command(code="FA", transmitter="other"))
        assert outbox.take(HOME) == [], "its line has not begun"
        assert codes(await outbox.pending(HOME)) == ["BA", ""]
        assert outbox.take(HOME) == []
        outbox.news(HOME).clear()
        await put(outbox, command(Request.RESTORE), command(code="PA"), command(code="FA", transmitter="other"))
        assert outbox.news(HOME).is_set()
        assert codes(outbox.take(HOME)) == ["BA", "PA"]
        assert outbox.take(HOME) == []

    with_outbox(tmp_path, body)


def test_an_urgent_alarm_is_urgent_after_a_restart(tmp_path: Path) -> None:
    alarm, _ = prepare(Alarm("FA", urgent=True))
    urgent = Command(
        transmitter=HOME, request=Request.ALARM, accepted_at=NOW, alarm=alarm, identity=AlarmIdentity.of(alarm)
    )
    with_outbox(tmp_path, lambda outbox: put(outbox, urgent, command()))
    found = with_outbox(tmp_path, lambda outbox: outbox.pending(HOME))
    assert [queued.urgent for queued in found] == [True, False]


def test_what_another_program_takes_out_has_its_result(tmp_path: Path) -> None:
    async def body() -> None:
        async with opened(tmp_path) as outbox, opened_beside(tmp_path, outbox) as other:
            kept, dropped = await put(outbox, command(), command(code="FA", reference="7"))
            await outbox.pending(HOME)
            assert await other.drop(dropped.id, NOW)
            await outbox.follow_others()
            assert outbox.dropped(HOME) == {dropped.id}
            assert outbox.dropped(HOME) == set()
            assert outbox.take(HOME) == []
            [owed] = (await outbox.to_publish()).results
            told = json.loads(owed.payload)
            assert (told["outcome"], told["reference"]) == ("rejected", "7")
            assert "outbox drop" in told["error"]
            assert await outbox.list() == [kept]

    asyncio.run(body())


def test_what_another_program_puts_back_is_new(tmp_path: Path) -> None:
    async def body() -> None:
        async with opened(tmp_path) as outbox, opened_beside(tmp_path, outbox) as other:
            [rejected] = await put(outbox, command())
            await outbox.pending(HOME)
            await outbox.complete(rejected, result(rejected, Outcome.REJECTED))
            await outbox.follow_others()
            assert (outbox.take(HOME), outbox.dropped(HOME)) == ([], set())
            assert await other.retry(rejected.id, NOW, clock().moment())
            await outbox.follow_others()
            assert [queued.id for queued in outbox.take(HOME)] == [rejected.id]
            assert await other.drop(rejected.id, NOW)
            await outbox.follow_others()
            assert outbox.dropped(HOME) == {rejected.id}

    asyncio.run(body())


def test_what_another_program_changed_is_one_read_however_many_transmitters_there_are(tmp_path: Path) -> None:
    async def body() -> None:
        async with opened(tmp_path) as outbox, opened_beside(tmp_path, outbox) as other:
            names = [f"t{number}" for number in range(20)]
            queued = await put(outbox, *(command(transmitter=name) for name in names))
            for name in names:
                await outbox.pending(name)
            assert await other.drop(queued[3].id, NOW)
            read, reads = outbox._store.read, 0

            def counted(work: Callable[[Db], T]) -> Awaitable[T]:
                nonlocal reads
                reads += 1
                return read(work)

            outbox._store.read = counted  # type: ignore[method-assign, assignment]
            await outbox.follow_others()
            assert reads == 1
            assert [outbox.dropped(name) for name in names] == [
                {queued[3].id} if name == "t3" else set() for name in names
            ]

    asyncio.run(body())


def test_what_is_accepted_while_others_changes_are_read_is_not_dropped(tmp_path: Path) -> None:
    async def body() -> None:
        async with opened(tmp_path) as outbox, opened_beside(tmp_path, outbox) as other:
            [rejected] = await put(outbox, command(transmitter="a"))
            for name in ("a", "b"):
                await outbox.pending(name)
            await outbox.complete(rejected, result(rejected, Outcome.REJECTED))
            assert await other.retry(rejected.id, NOW, clock().moment())
            get = outbox.get

            async def slow(number: int) -> Queued | None:
                await outbox.add([entry(command(transmitter="b"))])
                return await get(number)

            outbox.get = slow  # type: ignore[method-assign]
            await outbox.follow_others()
            assert [queued.id for queued in outbox.take("a")] == [rejected.id]
            assert outbox.dropped("b") == set()
            assert len(outbox.take("b")) == 1

    asyncio.run(body())


def test_rejected_alarms_leave_room_for_new_ones(tmp_path: Path) -> None:
    async def body(outbox: Outbox) -> None:
        for _ in range(3):
            [queued] = (await put(outbox, command()))[-1:]
            await outbox.complete(queued, result(queued, Outcome.REJECTED))
        await put(outbox, command(code="FA"), command(code="PA"))
        assert codes(await outbox.pending(HOME)) == ["FA", "PA"]
        await outbox.prune(NOW)
        assert len(await outbox.list()) == 4, "as many rejected ones are kept as may wait, the newest"

    with_outbox(tmp_path, body, max_commands=2)


@pytest.mark.parametrize("known", [(), ("cottage",), ("home", "cottage")])
def test_what_waits_for_transmitters_that_are_not_configured(tmp_path: Path, known: tuple[str, ...]) -> None:
    async def body(outbox: Outbox) -> dict[str, int]:
        await put(outbox, command(), command(Request.RESTORE), command(Request.PING), command(transmitter="cottage"))
        return await outbox.unconfigured(known)

    expected = {"home": 2, "cottage": 1}
    assert with_outbox(tmp_path, body) == {name: n for name, n in expected.items() if name not in known}


def test_a_fact_is_kept(tmp_path: Path) -> None:
    async def keep(outbox: Outbox) -> None:
        assert await outbox.fact("line home") is None
        for state in ("{}", '{"link": true}'):
            await outbox.keep_fact("line home", state)

    with_outbox(tmp_path, keep)
    assert with_outbox(tmp_path, lambda outbox: outbox.fact("line home")) == '{"link": true}'


def test_thousands_that_wait_slow_no_new_one(tmp_path: Path) -> None:
    async def body() -> None:
        async with opened(tmp_path) as outbox:
            await outbox.add([entry(command(request)) for request in (Request.ALARM, Request.RESTORE) * 2000])
            began = time.process_time()
            assert len(await outbox.pending(HOME)) == 4000
            await outbox.add([entry(command(code="FA"))])
            [queued] = outbox.take(HOME)
            await outbox.complete(queued, result(queued))
            assert time.process_time() - began < 1  # the whole process, its store thread too

    asyncio.run(body())
