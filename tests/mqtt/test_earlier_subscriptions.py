"""A persistent session whose broker still has the subscriptions of an earlier configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.brokers import Mosquitto
from support.recorder import Recorder
from support.session import NoDeliveries, running

from bridge.common.models import Incoming
from bridge.common.problems import Problems
from bridge.mqtt.client import Broker
from bridge.mqtt.outgoing import Outgoing
from bridge.mqtt.routes import Router, TopicRoute
from bridge.mqtt.session import Session, Subscriptions

WINDOW = 20
"""Messages that mosquitto leaves unacknowledged at once, by default."""


@dataclass
class Configured:
    """A session that takes the alarms of some transmitters."""

    port: int

    def session(self, *transmitters: str) -> Session:
        self.payloads: asyncio.Queue[bytes] = asyncio.Queue()
        return Session(
            Broker("127.0.0.1", self.port, client_id="shard"),
            Outgoing(asyncio.Event()),
            Router((TopicRoute(f"b/{name}/raise", self._handle) for name in transmitters), lambda *_, **__: None),
            Subscriptions("b/state", lambda: ("b/+/link",), lambda _: True, lambda _: False),
            NoDeliveries(),
            Problems(),
        )

    async def _handle(self, batch: Sequence[Incoming]) -> None:
        for message in batch:
            self.payloads.put_nowait(message.payload)


@pytest.mark.parametrize("connected", [True, False])
def test_messages_for_a_removed_transmitter_keep_no_alarm_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, connected: bool
) -> None:
    """Also those that waited in the broker, which come before it has confirmed a subscription."""

    async def publish(recorder: Recorder) -> None:
        for number in range(WINDOW + 5):
            await recorder.publish("old/raise", str(number))
        await recorder.publish("home/raise", "fire")

    async def scenario() -> None:
        with Mosquitto(tmp_path) as mosquitto:
            configured = Configured(mosquitto.port)
            async with Recorder(mosquitto.port, "b") as recorder:
                before = configured.session("old", "home")
                async with running(before):
                    await before.connected.wait()
                if not connected:
                    await publish(recorder)
                after = configured.session("home")
                async with running(after):
                    await after.connected.wait()
                    if connected:
                        await publish(recorder)
                    assert await configured.payloads.get() == b"fire"

    asyncio.run(scenario())
    assert "ignored a message on b/old/raise: nothing here handles it" in caplog.messages
