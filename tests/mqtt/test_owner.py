"""The session of a node that shares its client id: proof before each connection, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from support.brokers import Mosquitto
from support.recorder import Recorder
from support.session import LOST, ScriptedClient, make_session, no_waits, running

from bridge.mqtt.client import Broker, make_client
from bridge.mqtt.outgoing import Outgoing
from bridge.mqtt.session import Owner, SessionEnd

WILL_DELAY_S = 1


class Scripted(Owner):
    def __init__(self, calls: list[str], ending: SessionEnd = SessionEnd.OFFLINE) -> None:
        self.calls = calls
        self._ending = ending

    @property
    def ending(self) -> SessionEnd:
        return self._ending

    async def prove(self, _: Callable[[], None]) -> None:
        self.calls.append("prove")

    def thrown_out(self) -> None:
        self.calls.append("thrown out")


def test_each_connection_is_proven_before(monkeypatch: pytest.MonkeyPatch) -> None:
    no_waits(monkeypatch)
    calls: list[str] = []

    async def scenario() -> None:
        class Made(ScriptedClient):
            def __init__(self) -> None:
                calls.append("connect")

            async def until_lost(self) -> None:
                await session.connected.wait()
                if calls.count("connect") == 1:
                    raise LOST
                again.set()
                await asyncio.Event().wait()

        again = asyncio.Event()
        session = make_session(monkeypatch, Outgoing(asyncio.Event()), Made)
        session._owner = Scripted(calls)
        async with running(session):
            await again.wait()

    asyncio.run(scenario())
    assert calls == ["prove", "connect", "thrown out", "prove", "connect"]


@pytest.mark.parametrize(
    ("ending", "published", "abandoned"),
    [
        (SessionEnd.OFFLINE, ["b/x", "b/state"], False),
        (SessionEnd.HAND_OVER, ["b/x"], True),
        (SessionEnd.LOST, [], True),
    ],
)
def test_how_it_ends(
    monkeypatch: pytest.MonkeyPatch, ending: SessionEnd, published: list[str], *, abandoned: bool
) -> None:
    """A node that hands over, or has lost its shard, leaves `bridge/state` to the next owner."""
    found: list[str] = []
    hung_up = []

    async def scenario() -> None:
        class Made(ScriptedClient):
            async def publish(self, topic: str, *_: object, **__: object) -> None:
                found.append(topic)

            def abandon(self) -> None:
                hung_up.append(True)

        outgoing = Outgoing(asyncio.Event())
        session = make_session(monkeypatch, outgoing, Made)
        session._owner = Scripted([], ending)
        task = asyncio.create_task(session.run())
        await session.connected.wait()
        await asyncio.sleep(0.05)
        found.clear()
        session.stop()
        task.cancel()
        outgoing.publish("b/x", "1")
        await asyncio.wait([task])

    asyncio.run(scenario())
    assert (found, bool(hung_up)) == (published, abandoned)


def test_the_broker_waits_with_the_will_for_the_next_owner(tmp_path: Path) -> None:
    async def scenario() -> None:
        with Mosquitto(tmp_path) as mosquitto:
            async with Recorder(mosquitto.port, "b") as seen:
                broker = Broker("127.0.0.1", mosquitto.port, client_id="shared", will_delay_s=WILL_DELAY_S)
                first, second = (make_client(broker, lambda _: None, None, "b/state") for _ in range(2))
                async with first.connection():
                    await first.publish("b/state", "online", qos=1, retain=True)
                    async with second.connection():  # takes the session over
                        await asyncio.sleep(WILL_DELAY_S + 1)
                        assert [each.payload for each in seen.of("state")] == ["online"]
                        second.abandon()
                    await seen.wait("state", lambda value: value == "offline")

    asyncio.run(scenario())
