"""A transmitter: what becomes of a command by what its receivers answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.line import BUSY, DEAD, NEW, OLD, Bench, bench
from support.outbox import HOME, command, entry, opened, put

from bridge.common.models import Request
from bridge.store.maintenance import maintain
from bridge.transmitters.transmitter import Transmitter

LEVEL = 180.0
PING = "PingRequest"


def on_bench(path: Path, body: Callable[[Bench], Awaitable[None]], heartbeat: float | None = None) -> None:
    async def run() -> None:
        async with bench(path, heartbeat) as each:
            await body(each)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("status", "outcome", "left"),
    [
        (0, "accepted", None),
        (10, "duplicate", None),
        *((status, "rejected", "rejected") for status in (1, 2, 3, 7, 9, 100, 101)),
        *((status, "unauthorized", "pending") for status in (4, 6)),
    ],
)
def test_an_answer_is_an_outcome(tmp_path: Path, status: int, outcome: str, left: str | None) -> None:
    async def body(each: Bench) -> None:
        await put(each.outbox, command())
        each.answer(status)
        await each.settle()
        assert await each.outcomes() == [outcome]
        assert [queued.state for queued in await each.outbox.list()] == ([left] if left else [])
        assert len(await each.outbox.active(HOME)) == (0 if left else 1)
        assert each.sent == ["BA"]
        assert each.transmitter.delivered == (0 if left else 1)

    on_bench(tmp_path, body)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(0, "accepted"), (9, "rejected"), (4, "unauthorized"), (5, "unreachable"), (DEAD, "unreachable")],
)
def test_a_ping_is_tried_once(tmp_path: Path, status: int | str, outcome: str) -> None:
    async def body(each: Bench) -> None:
        await put(each.outbox, command(Request.PING))
        each.answer(status)
        await each.settle()
        await each.settle(120)
        assert each.sent == [PING]
        assert await each.outcomes() == [outcome]
        assert await each.outbox.list() == []

    on_bench(tmp_path, body)


def test_an_unreachable_receiver_holds_all_alarms_in_order(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        await put(each.outbox, command(), command(code="FA"))
        each.answer(DEAD, DEAD)
        assert await each.settle() == ["BA"]
        assert await each.settle(0.7) == []
        assert await each.settle(0.3) == ["BA"]
        assert await each.settle(2) == ["BA", "FA"]
        assert await each.outcomes() == ["accepted", "accepted"]
        assert each.recorder.links == [False, True]
        assert each.transmitter.failures == 2

    on_bench(tmp_path, body)


@pytest.mark.parametrize("status", BUSY)
def test_an_alarm_that_is_answered_and_not_taken_lets_others_pass(tmp_path: Path, status: int) -> None:
    async def body(each: Bench) -> None:
        await put(each.outbox, command(), command(code="FA"), command(Request.RESTORE))
        each.answer(status)
        assert await each.settle() == ["BA", "FA"]
        assert [queued.attempts for queued in await each.outbox.list()] == [1, 0]
        assert len(await each.outbox.owed_undelivered([HOME])) == 1
        assert await each.settle(1) == ["BA", "BA"]
        assert await each.outcomes() == ["accepted"] * 3
        assert [alarm.identity.event_code for alarm in await each.outbox.active(HOME)] == ["FA"]

    on_bench(tmp_path, body)


def test_a_refused_password_is_told_once_and_asked_rarely(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        await put(each.outbox, command(), command(code="FA"))
        each.answer(4, 4)
        assert await each.settle() == ["BA"]
        assert await each.settle(44) == []
        assert await each.settle(16) == ["BA"]
        assert await each.outcomes() == ["unauthorized"]
        assert each.recorder.events == ["unauthorized"]
        assert await each.settle(60) == ["BA", "FA"]
        assert await each.outcomes() == ["unauthorized", "accepted", "accepted"]
        await put(each.outbox, command())
        each.answer(4)
        await each.settle()
        assert each.recorder.events == ["unauthorized", "unauthorized"]

    on_bench(tmp_path, body)


def test_a_rotation_stores_the_new_password_and_it_counts_next(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        await put(each.outbox, command(Request.AUTH))
        await each.settle()
        assert each.credentials.candidates() == (NEW, OLD)
        await put(each.outbox, command())
        await each.settle()
        assert each.client.sent == [("NewAuthRequest", "1"), ("BA", "2")]
        assert each.credentials.candidates() == (NEW,)

    on_bench(tmp_path, body)


def test_in_an_open_rotation_the_other_password_is_tried_once(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        each.credentials.add(NEW)
        await put(each.outbox, command())
        each.answer(4, 4)
        await each.settle()
        assert each.client.sent == [("BA", "2"), ("BA", "1")]
        assert await each.outcomes() == ["unauthorized"]
        each.answer(4)
        await each.settle(60)
        assert each.client.sent[2:] == [("BA", "2"), ("BA", "1")]
        assert each.credentials.candidates() == (OLD, NEW)
        await put(each.outbox, command())
        await each.settle()
        assert each.client.sent[4:] == [("BA", "1")]

    on_bench(tmp_path, body)


@pytest.mark.parametrize("status", [9, 101])
def test_a_rejection_that_recognises_the_transmitter_ends_a_rotation(tmp_path: Path, status: int) -> None:
    async def body(each: Bench) -> None:
        each.credentials.add(NEW)
        each.answer(status)
        await each.settle()
        assert each.credentials.candidates() == (NEW,)

    on_bench(tmp_path, body, LEVEL)


def test_an_alarm_that_is_too_old_expires_and_is_not_sent(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        await put(each.outbox, command())
        each.answer(DEAD)
        await each.settle()
        each.wall += timedelta(hours=1, seconds=1)
        await put(each.outbox, command(code="FA", at=each.wall))
        assert await each.settle(1) == ["FA"]
        assert await each.outcomes() == ["expired", "accepted"]
        [expired, _] = await each.outbox.owed_results()
        assert "older than 1:00:00, not delivered: no receiver took it in 1 attempts" in expired.payload

    on_bench(tmp_path, body)


def test_a_store_that_fails_resends_nothing_and_blocks_nothing(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        each.outbox.failures = 1
        await put(each.outbox, command(), command(code="FA"), command(code="PA"))
        assert await each.settle() == ["BA", "FA", "PA"]
        assert each.recorder.events == ["store_failed"]
        await each.settle(60)
        assert each.sent == ["BA", "FA", "PA"]
        assert sorted(await each.outcomes()) == ["accepted"] * 3
        assert await each.outbox.list() == []
        assert len(await each.outbox.active(HOME)) == 3

    on_bench(tmp_path, body)


def test_an_alarm_that_cannot_be_recorded_does_not_expire(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        each.outbox.failures = 2
        await put(each.outbox, command())
        await each.settle()
        each.wall += timedelta(hours=2)
        await each.settle(1)
        await each.settle(60)
        assert await each.outcomes() == ["accepted"]
        assert each.sent == ["BA"]

    on_bench(tmp_path, body)


def test_heartbeats_are_sent_at_start_and_four_in_a_level(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        assert await each.settle() == [PING]
        assert await each.settle(44) == []
        assert await each.settle(1) == [PING]
        assert each.recorder.heartbeats == ["accepted", "accepted"]
        assert each.recorder.links == [True]
        assert await each.outcomes() == []

    on_bench(tmp_path, body, LEVEL)


def test_code_9_ends_heartbeats_with_the_link_up(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        each.answer(9)
        assert await each.settle() == [PING]
        assert await each.settle(1000) == []
        assert each.recorder.events == ["heartbeat_disabled"]
        assert each.recorder.heartbeats == ["rejected"]
        assert each.recorder.links == [True]

    on_bench(tmp_path, body, LEVEL)


def test_code_101_waits_longer_with_the_link_up(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        each.answer(101)
        assert await each.settle() == [PING]
        assert await each.settle(67) == []
        assert await each.settle(0.5) == [PING]
        assert each.recorder.links == [True]

    on_bench(tmp_path, body, LEVEL)


def test_a_monitored_link_is_down_only_after_a_whole_level(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        await each.settle()
        each.answer(*[DEAD] * 4)
        for _ in range(3):
            await each.settle(45)
        assert each.recorder.links == [True]
        await each.settle(45)
        assert each.recorder.links == [True, False]
        await each.settle(45)
        assert each.recorder.links == [True, False, True]

    on_bench(tmp_path, body, LEVEL)


def test_alarms_go_before_a_heartbeat_that_is_due_but_not_before_one_overdue(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        await put(each.outbox, command())
        assert await each.settle() == ["BA", PING]
        await put(each.outbox, command())
        assert await each.settle(45) == ["BA", PING]
        await put(each.outbox, command())
        assert await each.settle(90) == [PING, "BA"]

    on_bench(tmp_path, body, LEVEL)


def test_it_runs_until_cancelled_and_wakes_for_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.transmitters.transmitter._LONGEST_SLEEP_S", 600.0)  # nothing but the wake is in time

    async def body(each: Bench) -> None:
        done = asyncio.Event()
        each.recorder.changed = lambda transmitter: done.set()  # type: ignore[method-assign]
        transmitter = Transmitter(each.transmitter._line, each.outbox, each.recorder, each.clock)
        running = asyncio.create_task(transmitter.run())
        async with asyncio.timeout(10):
            for code in ("BA", "FA", "PA"):
                done.clear()
                await each.outbox.add([entry(command(code=code))])
                await done.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert each.sent == ["BA", "FA", "PA"]
        assert await each.outcomes() == ["accepted"] * 3

    on_bench(tmp_path, body)


def test_an_alarm_goes_out_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as it is stored: not with a tick of any clock, which stands still here."""
    monkeypatch.setattr("bridge.transmitters.transmitter._LONGEST_SLEEP_S", 600.0)

    async def body(each: Bench) -> None:
        idle, sent = asyncio.Event(), asyncio.Event()
        sleep, exchange = Transmitter._sleep, each.client.exchange

        class Still(Transmitter):
            """Its time stands still; it says when it has nothing to do."""

            def _now(self) -> float:
                return 1000.0

            async def _sleep(self) -> None:
                idle.set()
                await sleep(self)

        async def exchanged(request: Any) -> Any:  # noqa: ANN401 - stands for three overloads
            sent.set()
            return await exchange(request)

        monkeypatch.setattr(each.client, "exchange", exchanged)
        running = asyncio.create_task(Still(each.transmitter._line, each.outbox, each.recorder, each.clock).run())
        async with asyncio.timeout(10):
            for code in ("BA", "FA", "PA"):
                await idle.wait()
                idle.clear()
                sent.clear()
                await each.outbox.add([entry(command(code=code))])
                await sent.wait()
        running.cancel()
        await asyncio.wait([running])
        assert each.sent == ["BA", "FA", "PA"]

    on_bench(tmp_path, body)


def test_what_another_program_stored_wakes_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as `sosbridge outbox retry`."""
    monkeypatch.setattr("bridge.transmitters.transmitter._LONGEST_SLEEP_S", 600.0)
    monkeypatch.setattr("bridge.store.maintenance._OTHERS_WRITE_S", 0.01)

    async def body(each: Bench) -> None:
        woken = each.outbox.wakes.of(HOME)
        woken.clear()
        watching = asyncio.create_task(maintain(each.outbox._store, each.outbox, each.clock))
        async with asyncio.timeout(10):
            while not woken.is_set():
                async with opened(tmp_path) as other:
                    await other.add([entry(command())])
                await asyncio.sleep(0.01)
        watching.cancel()
        await asyncio.wait([watching])

    on_bench(tmp_path, body)
