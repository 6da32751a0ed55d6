"""How long the broker is away: what decides whether another node gets the shard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from support.brokers import Mosquitto, Proxy
from support.session import LOST, NoDeliveries, ScriptedClient, make_session, running

from bridge.common.problems import Problems
from bridge.mqtt.client import Broker
from bridge.mqtt.outgoing import Outgoing
from bridge.mqtt.routes import Router
from bridge.mqtt.session import Session, Subscriptions

SUBSCRIBE, PINGREQ = 8, 12


def _session(broker: Broker) -> Session:
    return Session(
        broker,
        Outgoing(asyncio.Event()),
        Router((), lambda *_, **__: None),
        Subscriptions("b/state", lambda: ("b/+/link",), lambda _: True, lambda _: False),
        NoDeliveries(),
        Problems(),
    )


async def _until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - nothing else says so
        await asyncio.sleep(0.01)


def test_a_broker_is_reached_while_a_long_connect_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of subscriptions and states take long: another node would need as long again."""

    class Slow(ScriptedClient):
        async def publish(self, *_: object, **__: object) -> None:
            publishing.set()
            await asyncio.Event().wait()

        async def until_lost(self) -> None:
            await lose.wait()
            raise LOST

    publishing, lose = asyncio.Event(), asyncio.Event()

    async def scenario() -> None:
        session = make_session(monkeypatch, Outgoing(asyncio.Event()), Slow)
        assert session.away_s() < 0, "it has not begun"
        async with running(session):
            await publishing.wait()
            await asyncio.sleep(0.1)
            assert (session.away_s(), session.connected.is_set()) == (0, False)
            lose.set()
            await asyncio.sleep(0.1)
            assert 0 < session.away_s() < 1
        assert session.away_s() > 0

    asyncio.run(scenario())


@pytest.mark.parametrize(("swallowed", "keepalive_s", "within_s"), [(SUBSCRIBE, 30, (1.5, 25)), (PINGREQ, 6, (5, 11))])
def test_a_broker_that_answers_nothing_more_is_away_since_it_was_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swallowed: int, keepalive_s: int, within_s: tuple[float, float]
) -> None:
    """The login alone proves little: a network may swallow large packets only."""
    monkeypatch.setattr("bridge.mqtt.client.TIMEOUT_S", 2.0)

    async def scenario() -> None:
        with Mosquitto(tmp_path) as mosquitto:
            async with Proxy(mosquitto.port) as proxy:
                proxy.swallows = lambda kind, _: kind == swallowed
                session = _session(Broker("127.0.0.1", proxy.port, keepalive_s=keepalive_s))
                async with running(session):
                    await _until(lambda: session.away_s() == 0)
                    await _until(lambda: session.away_s() > 0)
                    assert within_s[0] < session.away_s() < within_s[1]

    asyncio.run(scenario())


def test_a_silence_before_another_end_does_not_count(tmp_path: Path) -> None:
    """A broker that is stopped has answered until then, however seldom it was asked."""

    async def scenario() -> None:
        with Mosquitto(tmp_path) as mosquitto:
            session = _session(Broker("127.0.0.1", mosquitto.port))
            async with running(session):
                await session.connected.wait()
                await asyncio.sleep(1.5)
                mosquitto.kill()
                await _until(lambda: session.away_s() > 0)
                assert 0 <= session.away_s() < 1
                mosquitto.start()

    asyncio.run(scenario())
