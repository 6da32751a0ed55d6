"""The MQTT session over the days: connections that end, each in its own way."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import aiomqtt
import pytest
from support.session import make_session

from bridge.common.backoff import Backoff
from bridge.common.models import Reply
from bridge.mqtt.client import Client
from bridge.mqtt.outgoing import Outgoing
from bridge.mqtt.session import Session


class Fragile(Session):
    """Its connections do as `script` says: seconds that each one lasts, None for one that is never made."""

    script: list[float | None]
    ended: asyncio.Event

    async def _connect(self) -> None:
        if not self.script:
            self.ended.set()
            await asyncio.Event().wait()
        lasts = self.script.pop(0)
        if lasts is not None:
            self._connected_at = asyncio.get_running_loop().time() - lasts
        raise aiomqtt.MqttError("lost")


def _waits(monkeypatch: pytest.MonkeyPatch, script: list[float | None]) -> list[float]:
    """Return for how long a session waits after each of such connections."""
    waits: list[float] = []
    sleep = asyncio.sleep

    async def at_once(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    async def scenario() -> None:
        session = make_session(Outgoing(asyncio.Event()), kind=Fragile)
        assert isinstance(session, Fragile)
        session.script, session.ended = script, asyncio.Event()
        running = asyncio.create_task(session.run())
        async with asyncio.timeout(10):
            await session.ended.wait()
        running.cancel()
        await asyncio.wait([running])

    monkeypatch.setattr("bridge.mqtt.session.Backoff", lambda: Backoff(jitter=lambda: 0.0))
    monkeypatch.setattr(asyncio, "sleep", at_once)
    asyncio.run(scenario())
    return waits


def test_after_a_steady_connection_the_next_is_tried_at_once_however_many_were_lost_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A broker that restarts once a month must not keep alarms waiting for a minute in the end."""
    assert _waits(monkeypatch, [86400.0] * 8) == [1.0] * 8


def test_connections_that_do_not_last_and_those_never_made_are_tried_less_and_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert _waits(monkeypatch, [3600.0, None, None, 0.5, None, 3600.0, None]) == [1, 2, 4, 8, 16, 1, 2]


class Choosy:
    """A client of a broker that hangs up at what is published to some topic, or never answers to it."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.holds: dict[str, str] = {}

    async def publish(self, topic: str, payload: str, **_: Any) -> None:  # noqa: ANN401 - aiomqtt's
        if topic == POISON:
            raise aiomqtt.MqttError("Operation timed out")
        self.taken.append(topic)
        self.holds[topic] = payload


POISON = "a" + 201 * "/"
"""mosquitto lets pass a command with such a response topic; what is published there it never answers to."""


def test_a_response_topic_that_the_broker_does_not_take_keeps_nothing_from_the_others() -> None:
    async def scenario() -> None:
        outgoing, client, done = Outgoing(asyncio.Event()), Choosy(), list[str]()
        session = make_session(outgoing)
        for topic in (POISON, "reply"):
            outgoing.publish("response", "{}", reply=Reply(topic), done=lambda: done.append("done"))
        for _ in range(2):  # connections
            with pytest.raises(aiomqtt.MqttError):
                await session._publish_waiting(cast("Client", client))
            assert not done
        await session._publish_waiting(cast("Client", client))
        assert done == ["done", "done"]
        assert client.taken[-2:] == ["response", "reply"]

    asyncio.run(scenario())


def test_the_last_word_on_a_retained_topic_counts_in_whatever_way_it_was_said() -> None:
    """Home Assistant's device payload comes as a state, and once more after markers of what is to be removed."""

    async def scenario() -> None:
        outgoing, client = Outgoing(asyncio.Event()), Choosy()
        session = make_session(outgoing)
        for word in ("markers", "first"):
            outgoing.publish("device", word, retain=True)
        outgoing.state("device", "first")
        outgoing.state("device", "second")  # while the broker is away
        await session._publish_waiting(cast("Client", client))
        assert client.holds == {"device": "second"}
        outgoing.publish("device", "third", retain=True)
        await session._publish_waiting(cast("Client", client))
        assert client.holds == {"device": "third"}
        taken = len(client.taken)
        outgoing.state("device", "third")
        await session._publish_waiting(cast("Client", client))
        assert len(client.taken) == taken

    asyncio.run(scenario())
