"""From MQTT into the outbox where the store fails, a session ends, or two commands come at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.outbox import HOME, NOW, clock, opened

from bridge.common.clock import Clock
from bridge.common.errors import StoreError
from bridge.common.models import Incoming, Reply
from bridge.store.outbox import Outbox
from bridge.transmitters.intake import CommandHandler
from bridge.transmitters.topics import Topics

pytestmark = pytest.mark.usefixtures("each_store")

RAISE = f"b/transmitter/{HOME}/alarm/raise"


class Failing(Outbox):
    """An outbox of which one method fails as a full disk does, so many times."""

    method = ""
    left = 0

    def fail(self, method: str, times: int = 1) -> None:
        self.method, self.left = method, times

    def _may_fail(self, method: str) -> None:
        if method == self.method and self.left:
            self.left -= 1
            raise StoreError("the disk is full")

    async def add(self, *given: Any, **more: Any) -> Any:  # noqa: ANN401 - passed on
        self._may_fail("add")
        return await super().add(*given, **more)


class Heard:
    """Stands for what publishes: events and answers."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []
        self.answers: list[tuple[Reply, Any]] = []

    def emit(self, kind: str, **details: object) -> None:
        self.events.append((kind, details))

    def answer(self, reply: Reply, payload: str) -> None:
        self.answers.append((reply, json.loads(payload)))


class Bench:
    """A handler of commands over a real store."""

    def __init__(self, outbox: Failing, time: Clock) -> None:
        self.outbox = outbox
        self.heard = Heard()
        self.handler = CommandHandler(Topics("b", {HOME: {}}), outbox, self.heard, time)  # type: ignore[arg-type]

    async def take(self, *messages: Incoming) -> None:
        await self.handler.handle(messages)


def message(
    topic: str = RAISE, payload: bytes = b"BA", *, mid: int = 7, duplicate: bool = False, reply: Reply | None = None
) -> Incoming:
    return Incoming(topic, payload, retained=False, duplicate=duplicate, mid=mid, reply=reply)


def on_bench(folder: Path, body: Callable[[Bench], Awaitable[None]], time: Clock | None = None) -> None:
    async def run() -> None:
        async with opened(folder) as plain:
            await body(Bench(Failing(plain._store), time or Clock()))

    asyncio.run(run())


def test_two_commands_of_one_millisecond_have_different_times(tmp_path: Path) -> None:
    """Receivers take the same alarm with the same time for one."""
    shown = NOW

    async def body(bench: Bench) -> None:
        nonlocal shown
        await bench.take(message(mid=1), message(mid=2), message(mid=3))
        shown += timedelta(seconds=1)
        await bench.take(message(mid=4))
        shown -= timedelta(hours=1)  # somebody sets the clock
        await bench.take(message(mid=5))
        times = [queued.command.accepted_at - NOW for queued in await bench.outbox.list()]
        assert times == [
            timedelta(0),
            timedelta(milliseconds=1),
            timedelta(milliseconds=2),
            timedelta(seconds=1),
            timedelta(seconds=1) - timedelta(hours=1),
        ]

    on_bench(tmp_path, body, clock(lambda: shown))


def test_commands_are_stored_when_a_store_that_fails_recovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.common.backoff.FIRST_S", 0.01)

    async def body(bench: Bench) -> None:
        bench.outbox.fail("add", 2)
        await bench.take(message(mid=1), message(mid=2))
        assert len(await bench.outbox.list()) == 2

    on_bench(tmp_path, body)


def test_who_asks_for_an_answer_to_a_command_for_nobody_gets_one(tmp_path: Path) -> None:
    reply = Reply("b/answers", b"42")

    async def body(bench: Bench) -> None:
        await bench.take(message("b/transmitter/nobody/ping", b"", reply=reply))
        await bench.take(message("b/transmitter/nobody/ping", b"", mid=8))
        ((asked, result),) = bench.heard.answers
        assert asked == reply
        assert result["outcome"] == "invalid"
        assert "nobody" in result["error"]

    on_bench(tmp_path, body)


@pytest.mark.parametrize("differs", [False, True])
def test_a_command_left_to_another_shard_is_logged_while_nodes_differ(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, differs: bool
) -> None:
    topics = Topics("b", {HOME: {}}, others=frozenset({"shed"}))

    async def body(bench: Bench) -> None:
        handler = CommandHandler(topics, bench.outbox, bench.heard, Clock(), lambda: differs)  # type: ignore[arg-type]
        await handler.handle([message("b/transmitter/shed/alarm/raise"), message()])
        assert len(await bench.outbox.list()) == 1

    on_bench(tmp_path, body)
    warnings = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert [each.partition(":")[0] for each in warnings] == ["b/transmitter/shed/alarm/raise"] * differs
