"""The MQTT session over the days: connections that end, each in its own way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiomqtt
import pytest
from support.session import LOST, ScriptedClient, make_session, no_waits, running

from bridge.common.models import Reply
from bridge.mqtt.outgoing import Outgoing


def _waits(monkeypatch: pytest.MonkeyPatch, script: list[float | None]) -> list[float]:
    """Return how long a session waits after connections that last so many seconds; None: one that is never made."""
    waits = no_waits(monkeypatch)

    async def scenario() -> None:
        loop, ended, pending = asyncio.get_running_loop(), asyncio.Event(), list(script)
        real, passed = loop.time, 0.0
        monkeypatch.setattr(loop, "time", lambda: real() + passed)

        class Scripted(ScriptedClient):
            def __init__(self) -> None:
                self.lasts = pending.pop(0) if pending else None
                self.refused = self.lasts is None
                if len(made) == len(script):
                    ended.set()
                made.append(self)

            @asynccontextmanager
            async def connection(self) -> AsyncIterator[None]:
                if self.refused:
                    raise LOST
                yield

            async def until_lost(self) -> None:
                nonlocal passed
                await session.connected.wait()
                passed += self.lasts or 0.0
                bound.reschedule(loop.time() + 10)
                raise LOST

        made: list[ScriptedClient] = []
        session = make_session(monkeypatch, Outgoing(asyncio.Event()), Scripted)
        async with running(session) as bound:
            await ended.wait()
        monkeypatch.setattr(loop, "time", real)

    asyncio.run(scenario())
    return waits[: len(script)]


def test_after_a_steady_connection_the_next_is_tried_at_once_however_many_were_lost_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A broker that restarts once a month must not keep alarms waiting for a minute in the end."""
    assert _waits(monkeypatch, [86400.0] * 8) == [1.0] * 8


def test_connections_that_do_not_last_and_those_never_made_are_tried_less_and_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert _waits(monkeypatch, [3600.0, None, None, 0.5, None, 3600.0, None]) == [1, 2, 4, 8, 16, 1, 2]


def test_where_no_thread_can_be_started_it_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is looked up in a thread; alarms that wait go out meanwhile."""
    made: list[ScriptedClient] = []

    class Threadless(ScriptedClient):
        @asynccontextmanager
        async def connection(self) -> AsyncIterator[None]:
            made.append(self)
            if len(made) == 1:
                raise RuntimeError("can't start new thread")
            yield

    async def scenario() -> None:
        no_waits(monkeypatch)
        session = make_session(monkeypatch, Outgoing(asyncio.Event()), Threadless)
        async with running(session):
            await session.connected.wait()

    asyncio.run(scenario())


POISON = "a" + 201 * "/"
"""mosquitto lets pass a command with such a response topic; what is published there it never answers to."""


def test_a_response_topic_that_the_broker_does_not_take_keeps_nothing_from_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[str] = []
    poisoned: list[int] = []

    class Choosy(ScriptedClient):
        async def publish(self, topic: str, payload: str, **_: Any) -> None:  # noqa: ANN401 - aiomqtt's
            if topic == POISON:
                poisoned.append(len(done))
                raise aiomqtt.MqttError("Operation timed out")
            taken.append(topic)

    done: list[str] = []

    async def scenario() -> None:
        outgoing, ended = Outgoing(asyncio.Event()), asyncio.Event()
        for topic in (POISON, "reply"):
            outgoing.publish("response", "{}", reply=Reply(topic), done=lambda: done.append("done"))
        outgoing.publish("last", "{}", done=ended.set)
        no_waits(monkeypatch)
        async with running(make_session(monkeypatch, outgoing, Choosy)):
            await ended.wait()

    asyncio.run(scenario())
    assert done == ["done", "done"]
    assert poisoned == [0, 0]  # tried twice, and passed over before it was done
    assert [topic for topic in taken if topic != "b/state"][-3:] == ["response", "reply", "last"]
