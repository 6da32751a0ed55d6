"""Who sends the alarms and hears their results: two clients that live through a broker which comes and goes."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from contextlib import suppress

import aiomqtt
from chaos.ledger import Alarm, Ledger, now
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

_AGAIN_S = 0.1
_WAITING_AT_MOST = 60
"""Alarms of one transmitter without a result: no more are sent then, or a run would never come to its end."""
EVENTS = ("BA", "FA", "PA", "TA")
_URGENT = "TA"
_TELLING = ("request", "event_code", "outcome", "accepted_at", "completed_at")
"""What tells one result from another."""


def _client(port: int, name: str) -> aiomqtt.Client:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = 3600
    client = aiomqtt.Client(
        "127.0.0.1",
        port,
        identifier=name,
        protocol=aiomqtt.ProtocolVersion.V5,
        clean_start=False,
        properties=properties,
        keepalive=10,
        timeout=10,
    )
    client.pending_calls_threshold = 10_000
    return client


class Listener:
    """Notes every result in the ledger."""

    topics: tuple[str, ...] = ("transmitter/+/alarm/response", "transmitter/+/outbox", "bridge/state")

    def __init__(self, port: int, base: str, ledger: Ledger) -> None:
        self._port = port
        self._base = base
        self._ledger = ledger
        self.online = asyncio.Event()
        """Set when the bridge is there for the first time: before, the broker holds nothing for it."""
        self.forgotten = False
        """The broker has lost its store: again it holds nothing for the bridge until that is there."""
        self.pending: dict[str, int] = {}
        """What waits in the bridge, by topic."""
        self.heard = asyncio.Event()
        """Set with every result; who waits clears it."""

    async def run(self) -> None:
        while True:
            try:
                async with _client(self._port, "listener") as client:
                    for topic in self.topics:
                        await client.subscribe(f"{self._base}/{topic}", qos=1)
                    async for message in client.messages:
                        self._heard(message.topic.value, str(message.payload, "utf-8"))
            except aiomqtt.MqttError:
                await asyncio.sleep(_AGAIN_S)

    def _heard(self, topic: str, payload: str) -> None:
        if topic.endswith("/bridge/state"):
            if payload == "online":
                self.online.set()
                if self.forgotten:
                    self.forgotten, self._ledger.at_risk = False, now()
        elif topic.endswith("/outbox"):
            self.pending[topic] = json.loads(payload)["pending"]
        else:
            self._note(json.loads(payload))

    def _note(self, result: dict[str, str]) -> None:
        key = " ".join(
            str(result[name]) for name in ("request", "event_code", "outcome", "accepted_at", "completed_at")
        )
        self._ledger.told(result.get("reference"), result["outcome"], key)
        self.heard.set()


class Equal:
    """Publishes one and the same alarm again and again, and counts what the broker acknowledged."""

    def __init__(self, port: int, base: str, transmitter: str) -> None:
        self.acknowledged = 0
        self._port = port
        self._topic = f"{base}/transmitter/{transmitter}/alarm/raise"
        self._client: asyncio.Future[aiomqtt.Client] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Keep connected; its broker does not fail."""
        async with _client(self._port, "sender") as client:
            self._client.set_result(client)
            async for _ in client.messages:
                pass

    async def publish(self) -> None:
        client = await self._client
        await client.publish(self._topic, "TA", qos=1)
        self.acknowledged += 1


class Publisher:
    """Publishes with QoS 1, one after the other for each transmitter, and knows what the broker acknowledged.

    What was not acknowledged is published again, and counted as published twice: the broker may have had it.
    """

    def __init__(self, port: int, base: str, ledger: Ledger) -> None:
        self._port = port
        self._base = base
        self._ledger = ledger
        self._client: aiomqtt.Client | None = None
        self._connected = asyncio.Event()
        self.over = False
        """No more is sent: aiomqtt now and then swallows the cancellation of who sends (Python 3.11)."""

    async def run(self) -> None:
        """Keep connected."""
        while True:
            try:
                async with _client(self._port, "publisher") as client:
                    self._client = client
                    self._connected.set()
                    async for _ in client.messages:
                        pass
            except aiomqtt.MqttError:
                await asyncio.sleep(_AGAIN_S)
            finally:
                self._connected.clear()

    async def load(self, transmitter: str, dice: random.Random, rate: float, until: float) -> None:
        """Send alarms and restores of one transmitter, so many a second in the mean, now and then many at once."""
        number, waiting = 0, list[Alarm]()
        while now() < until and not self.over:
            waiting = [alarm for alarm in waiting if not alarm.ended]
            if len(waiting) < _WAITING_AT_MOST:
                number += 1
                subject = _subject(number)
                urgent = subject.startswith(_URGENT) and number % 2 == 0
                alarm = self._ledger.new(transmitter, number, subject, urgent=urgent)
                waiting.append(alarm)
                await self.publish(alarm)
            burst = dice.random() < 0.5
            await asyncio.sleep(0 if burst else dice.expovariate(rate / 2))

    async def publish(self, alarm: Alarm) -> None:
        """Publish until the broker acknowledges it. Even numbers raise, and the next one restores."""
        event, section = alarm.subject.split()
        content = {"event_code": event, "section": section, "reference": alarm.reference, "urgent": alarm.urgent}
        topic = f"{self._base}/transmitter/{alarm.transmitter}/alarm/{'restore' if alarm.number % 2 else 'raise'}"
        while True:
            await self._connected.wait()
            assert self._client is not None
            alarm.published.append(now())
            try:
                await self._client.publish(topic, json.dumps(content), qos=1)
            except aiomqtt.MqttError:
                await asyncio.sleep(_AGAIN_S)
            else:
                alarm.acknowledged = now()
                return

    async def ping(self, transmitter: str) -> None:
        """Command a ping; a lost one is not repeated."""
        await self._connected.wait()
        assert self._client is not None
        with suppress(aiomqtt.MqttError):
            await self._client.publish(f"{self._base}/transmitter/{transmitter}/ping", "settle", qos=1)

    async def publish_all(self, alarms: Sequence[Alarm]) -> None:
        for alarm in alarms:
            await self.publish(alarm)


def _subject(number: int) -> str:
    pair = number // 2
    return f"{EVENTS[pair % len(EVENTS)]} {pair % 7}"
