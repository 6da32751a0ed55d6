"""An MQTT session over clients that a test scripts, in place of those that connect to a broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiomqtt
import pytest

from bridge.common.backoff import Backoff
from bridge.common.models import Incoming
from bridge.common.problems import Problems
from bridge.mqtt.client import Broker
from bridge.mqtt.outgoing import Outgoing
from bridge.mqtt.routes import Router
from bridge.mqtt.session import Session, Subscriptions


class ScriptedClient:
    """A connection to a broker that acknowledges everything and never ends; tests override what differs."""

    session_present = True
    timeout = 10.0
    silent_since = None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[None]:
        yield

    async def until_lost(self) -> None:
        await asyncio.Event().wait()

    async def subscribe(self, *_: Any, **__: Any) -> list[int]:  # noqa: ANN401 - aiomqtt's
        return [0]

    async def unsubscribe(self, _: str, timeout: float) -> None: ...

    async def publish(self, topic: str, payload: str, **_: Any) -> None: ...  # noqa: ANN401 - aiomqtt's


class NoDeliveries:
    """Remembers nothing."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()

    def is_redelivery(self, _: Incoming) -> bool:
        return False

    def is_safe(self, _: Incoming) -> bool:
        return True

    def acknowledged(self, messages: Sequence[Incoming]) -> None: ...

    async def settled(self) -> None: ...

    def new_session(self) -> None: ...


def make_session(
    monkeypatch: pytest.MonkeyPatch, outgoing: Outgoing, client: Callable[[], ScriptedClient], *states: str
) -> Session:
    """Return a session that makes each of its connections with `client`; all topics that `states` match are ours.

    It waits between them as always, without jitter, see `no_waits`.
    """
    monkeypatch.setattr("bridge.mqtt.session.make_client", lambda *_, **__: client())
    monkeypatch.setattr("bridge.mqtt.session.Backoff", lambda: Backoff(jitter=lambda: 0.0))
    subscriptions = Subscriptions("b/state", lambda: states, lambda _: True, lambda _: False)
    return Session(
        Broker("127.0.0.1"), outgoing, Router((), lambda *_, **__: None), subscriptions, NoDeliveries(), Problems()
    )


def no_waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let no sleep take time; return a list that gets the seconds that each should have taken."""
    waits: list[float] = []
    sleep = asyncio.sleep

    async def at_once(seconds: float) -> None:
        if seconds:
            waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", at_once)
    return waits


@asynccontextmanager
async def running(session: Session) -> AsyncIterator[asyncio.Timeout]:
    """Run a session, for ten seconds at most, or until the timeout that is returned."""
    task = asyncio.create_task(session.run())
    try:
        async with asyncio.timeout(10) as bound:
            yield bound
    finally:
        session.stop()
        task.cancel()
        await asyncio.wait([task])


LOST = aiomqtt.MqttError("lost")
