"""The tests' own MQTT client: it records every message that is published below a base topic, in order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions
from support.secrecy import GATHERED

WAIT_S = 30.0
"""Generous: what is awaited comes within milliseconds, unless it never comes."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One message; `topic` is what follows the base topic, `retain` how it was published."""

    topic: str
    payload: str
    retain: bool
    correlation: bytes | None = None

    @property
    def value(self) -> Any:  # noqa: ANN401 - whatever JSON holds
        """The payload read as JSON, or as it is where it is none."""
        try:
            return json.loads(self.payload)
        except ValueError:
            return self.payload


class Recorder:
    """Records what is published below `base` from its start on, over restarts of the broker."""

    def __init__(self, port: int, base: str) -> None:
        self.base = base
        self.seen: list[Seen] = []
        self.connected = asyncio.Event()
        self.lost = asyncio.Event()
        self._port = port
        self._client: aiomqtt.Client | None = None
        self._arrived = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        await self.ready()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])

    async def ready(self) -> None:
        """Wait until it listens."""
        async with asyncio.timeout(WAIT_S):
            await self.connected.wait()

    async def back(self) -> None:
        """Wait until it listens again, after the broker has gone."""
        async with asyncio.timeout(WAIT_S):
            await self.lost.wait()
            await self.connected.wait()

    async def _run(self) -> None:
        while True:
            try:
                await self._listen()
            except aiomqtt.MqttError:
                await asyncio.sleep(0.05)

    async def _listen(self) -> None:
        # What the broker holds already is no publication: retain handling 2 leaves it out.
        options = SubscribeOptions(qos=1, retainAsPublished=True, retainHandling=2)
        async with connect(self._port) as client:
            await client.subscribe(f"{self.base}/#", options=options)
            self._client = client
            self.lost.clear()
            self.connected.set()
            try:
                async for message in client.messages:
                    await self._note(message)
            finally:
                self.connected.clear()
                self.lost.set()

    async def _note(self, message: aiomqtt.Message) -> None:
        payload = bytes(message.payload) if isinstance(message.payload, bytes | bytearray) else b""
        correlation = getattr(message.properties, "CorrelationData", None)
        topic = message.topic.value.removeprefix(f"{self.base}/")
        self.seen.append(Seen(topic, payload.decode("utf-8", "replace"), bool(message.retain), correlation))
        if not topic.endswith("/set"):  # there those who know a code send it
            GATHERED.say(f"MQTT {topic}", topic.encode() + b"\n" + payload)
        async with self._arrived:
            self._arrived.notify_all()

    @property
    def mark(self) -> int:
        """How much was seen: later waits can begin `after` it."""
        return len(self.seen)

    def of(self, topic: str, after: int = 0) -> list[Seen]:
        return [seen for seen in self.seen[after:] if seen.topic == topic]

    async def wait(
        self, topic: str, wanted: Callable[[Any], bool] = lambda _: True, *, after: int = 0, within: float = WAIT_S
    ) -> Seen:
        """Return the first message on `topic` that fits, also one seen already."""
        return (await self.wait_all(topic, 1, wanted, after=after, within=within))[0]

    async def wait_all(
        self,
        topic: str,
        count: int,
        wanted: Callable[[Any], bool] = lambda _: True,
        *,
        after: int = 0,
        within: float = WAIT_S,
    ) -> list[Seen]:
        """Return the messages on `topic` that fit, once there are `count`."""
        return await self._until(
            lambda: [seen for seen in self.of(topic, after) if wanted(seen.value)],
            lambda found: len(found) >= count,
            topic,
            within,
        )

    async def holds(self, topic: str, wanted: object, within: float = WAIT_S) -> None:
        """Wait until the last message on `topic` is `wanted`, or fits where that is a function."""

        def fits(found: list[Seen]) -> bool:
            return bool(found) and (wanted(found[-1].value) if callable(wanted) else found[-1].value == wanted)

        await self._until(lambda: self.of(topic), fits, topic, within)

    async def _until(
        self, look: Callable[[], list[Seen]], enough: Callable[[list[Seen]], bool], topic: str, within: float
    ) -> list[Seen]:
        try:
            async with asyncio.timeout(within), self._arrived:
                while not enough(found := look()):
                    await self._arrived.wait()
        except TimeoutError:
            there = [seen.payload for seen in self.of(topic)[-5:]]
            raise AssertionError(f"nothing fitting came on {topic} within {within:g} s; it had {there}") from None
        return found

    async def publish(
        self,
        topic: str,
        payload: str | bytes = "",
        *,
        qos: int = 1,
        retain: bool = False,
        reply: str | None = None,
        correlation: bytes | None = None,
    ) -> None:
        """Publish below the base topic; `reply` is a response topic, below it too."""
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if reply is not None:
            properties.ResponseTopic = f"{self.base}/{reply}"
        if correlation is not None:
            properties.CorrelationData = correlation
        await self.ready()
        assert self._client is not None
        await self._client.publish(f"{self.base}/{topic}", payload, qos=qos, retain=retain, properties=properties)


@contextlib.asynccontextmanager
async def connect(port: int) -> Any:  # noqa: ANN401 - an async generator, whose type the decorator makes
    client = aiomqtt.Client("127.0.0.1", port, identifier=uuid.uuid4().hex, protocol=aiomqtt.ProtocolVersion.V5)
    client.pending_calls_threshold = 10_000
    try:
        async with client:
            yield client
    finally:
        if client._client.socket() is not None:
            client._client._sock_close()


async def retained(port: int, base: str) -> dict[str, str]:
    """Return what the broker holds below `base`, by what follows it.

    With QoS 0: of QoS 1 a broker sends twenty before it waits for acknowledgements, and the end goes by.
    """
    end = f"end/{uuid.uuid4().hex}"
    found: dict[str, str] = {}
    async with asyncio.timeout(WAIT_S), connect(port) as client:
        await client.subscribe(end)
        await client.subscribe(f"{base}/#")
        await client.publish(end, b"")
        async for message in client.messages:
            if message.topic.value == end:
                break
            if message.retain:
                found[message.topic.value.removeprefix(f"{base}/")] = bytes(message.payload).decode()
    return found
