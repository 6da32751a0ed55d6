"""From MQTT into the outbox where the store fails, a session ends, or two commands come at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.outbox import HOME, NOW, clock, opened

from bridge.common.clock import Clock
from bridge.common.errors import StoreError
from bridge.common.models import Alarm, Incoming, NamedAlarm, Reply
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


class Owners:
    """Stands for the owners of other shards; one is subscribed to `subscribed`, this node knows `shed`."""

    def __init__(self, *, differ: bool, subscribed: str = "") -> None:
        self._differ = differ
        self._subscribed = subscribed
        self.fails = 0

    def differs(self) -> bool:
        return self._differ

    async def subscribed(self, transmitters: Collection[str]) -> set[str]:
        if self.fails:
            self.fails -= 1
            raise StoreError("the database is away")
        return {self._subscribed} & set(transmitters)

    def alarms(self, transmitter: str) -> Mapping[str, NamedAlarm] | None:
        return {"smoke": NamedAlarm("smoke", "Smoke", Alarm("FA"))} if transmitter == "shed" else None


@pytest.mark.parametrize(
    ("shard", "differ", "subscribed", "name", "leaf", "taken"),
    [
        (0, False, "", "shed", "alarm/raise", None),
        (0, False, "", "attic", "alarm/raise", "unknown"),
        (0, True, "shed", "shed", "alarm/raise", None),
        (0, True, "", "shed", "alarm/raise", "BA"),
        (0, True, "", "shed", "alarm/smoke/set", "FA"),
        (0, True, "", "attic", "alarm/raise", "unknown"),
        (0, True, "attic", "attic", "alarm/raise", None),
        (1, False, "", "attic", "alarm/raise", None),
        (1, True, "", "attic", "alarm/raise", "BA"),
        (1, True, "", "attic", "alarm/smoke/set", "invalid"),
    ],
)
def test_who_takes_a_command_for_the_transmitter_of_another_shard(
    tmp_path: Path, shard: int, subscribed: str, name: str, leaf: str, taken: str | None, *, differ: bool
) -> None:
    topics = Topics("b", {HOME: {}}, shard=shard, others=frozenset({"shed"} if shard == 0 else ()))

    async def body(bench: Bench) -> None:
        owners = Owners(differ=differ, subscribed=subscribed)
        handler = CommandHandler(topics, bench.outbox, bench.heard, Clock(), owners)  # type: ignore[arg-type]
        await handler.handle([message(f"b/transmitter/{name}/{leaf}", b"ON" if "set" in leaf else b"BA"), message()])
        found = [(each.command.transmitter, each.command.alarm) for each in await bench.outbox.list()]
        own = found.pop()
        assert own[0] == HOME
        queued = [(name, alarm.event_code) for name, alarm in found if alarm]
        assert queued == ([(name, taken)] if taken in ("BA", "FA") else [])
        assert [kind for kind, _ in bench.heard.events] == ["command_rejected"] * (taken in ("unknown", "invalid"))

    on_bench(tmp_path, body)


def test_a_command_of_another_shard_waits_for_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.common.backoff.FIRST_S", 0.01)

    async def body(bench: Bench) -> None:
        owners = Owners(differ=True)
        owners.fails = 2
        topics = Topics("b", {HOME: {}}, others=frozenset({"shed"}))
        handler = CommandHandler(topics, bench.outbox, bench.heard, Clock(), owners)  # type: ignore[arg-type]
        await handler.handle([message("b/transmitter/shed/alarm/raise")])
        assert [each.command.transmitter for each in await bench.outbox.list()] == ["shed"]

    on_bench(tmp_path, body)
