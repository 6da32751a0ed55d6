"""The only door to the broker: subscriptions, acknowledgement once stored, retained states, will and birth, reconnect.

It knows topics and bytes, not alarms. A message is acknowledged when its handler has returned, that is, stored it.
Retained states are declared once with `state`; the door brings the broker to hold just these, over reconnects and over
a broker that lost its store, and publishes nothing that the broker holds already. Events are published once.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.matcher import MQTTMatcher
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from bridge.common.backoff import Backoff
from bridge.common.errors import first
from bridge.common.models import Reply
from bridge.common.pulse import Pulse
from bridge.common.text import clean
from bridge.mqtt.client import (
    Broker,
    BrokerError,
    Client,
    Incoming,
    explain,
    failed,
    incoming,
    make_client,
    tls_context,
)

log = logging.getLogger(__name__)

_GOODBYE_S = 1.0
_MOST_EVENTS = 10_000
_STEADY_S = 10.0
"""A connection that lasted so long was a good one: two bridges that throw each other out wait longer and longer."""
_LONGEST_TURN_S = 300.0
"""Whatever a turn waits for, a name server, the broker or the next try to connect, is bounded well below this."""
_LONGEST_REST_S = 30.0
_ANSWER_TRIES = 2
"""Whoever sends a command chooses its response topic: perhaps one that the broker hangs up for, or never answers to."""
_AT_ONCE = 10
"""States published before their acknowledgements are awaited."""


class Handler:
    """What the door's owner does with what arrives."""

    async def commands(self, batch: Sequence[Incoming]) -> None:
        """Store these commands; on return they are acknowledged."""

    def acknowledged(self, batch: Sequence[Incoming]) -> None:
        """The broker has the acknowledgements of these: it will not repeat them."""

    def learned(self, held: Mapping[str, str]) -> None:
        """What the broker holds on the state topics, before anything is published there."""

    async def new_session(self) -> None:
        """The broker knows nothing of an earlier session: nothing of it will be repeated."""


@dataclass(frozen=True, slots=True)
class Interface:
    """The topics that the door watches: filters of commands and of states, which never match the same topic."""

    status: str
    """Holds `online` or `offline`."""
    commands: tuple[str, ...]
    states: tuple[str, ...]
    is_ours: Callable[[str], bool]
    """Whether a topic that the filters of the states match is ours."""
    is_stale: Callable[[str], bool]
    """Whether a retained topic of ours is nobody's any more."""


@dataclass(frozen=True, slots=True)
class _Event:
    topic: str
    payload: str
    retain: bool
    reply: Reply | None
    done: Callable[[], Awaitable[None]] | None
    number: int = 0


@dataclass(slots=True)
class _Link:
    """One connection: what came in on it, and the acknowledgements that the broker has perhaps not read yet."""

    inbox: asyncio.Queue[Incoming] = field(default_factory=asyncio.Queue)
    unconfirmed: list[Incoming] = field(default_factory=list)


class Door:
    """One MQTT client with a fixed id, kept connected for as long as `run` runs."""

    def __init__(self, broker: Broker, interface: Interface, handler: Handler) -> None:
        """Raises ConfigError where a certificate file cannot be used."""
        self.connected = asyncio.Event()
        self.connects = 0
        self.pulse = Pulse("the MQTT connection", _LONGEST_TURN_S)
        self._broker = broker
        self._interface = interface
        self._handler = handler
        self._is_command = MQTTMatcher()  # type: ignore[no-untyped-call]
        for pattern in interface.commands:
            self._is_command[pattern] = True
        self._context = tls_context(broker) if broker.tls else None
        self._wanted: dict[str, str] = {}
        self._held: dict[str, str] = {}
        self._dirty: dict[str, None] = {}
        self._numbers = itertools.count(1)
        self._declared: dict[str, int] = {}
        """The number of each state, counted with the events: the last word on a topic counts, published or not."""
        self._events: deque[_Event] = deque()
        self._answer_tries = 0
        """For the event that is next."""
        self._work = asyncio.Event()
        self._stopping = False
        self._connected_at = math.inf

    # What the owner publishes

    def state(self, topic: str, payload: str) -> None:
        """Declare what a retained topic holds from now on."""
        self._declared[topic] = next(self._numbers)
        if self._wanted.get(topic) != payload:
            self._wanted[topic] = payload
            self._dirty[topic] = None
            self._work.set()

    def state_again(self, topic: str) -> None:
        """Publish a retained state once more, though the broker holds it."""
        self._held.pop(topic, None)
        self._dirty[topic] = None
        self._work.set()

    def publish(
        self,
        topic: str,
        payload: str,
        *,
        retain: bool = False,
        reply: Reply | None = None,
        done: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Publish once, in order, as soon as there is a connection; `done` is awaited when the broker has it.

        With `reply`, a copy goes to its topic with its correlation data.
        """
        if len(self._events) >= _MOST_EVENTS and done is None:
            log.warning("dropped an event for %s: %d are waiting for the broker", clean(topic), len(self._events))
            return
        self._events.append(_Event(topic, payload, retain, reply, done, next(self._numbers)))
        self._work.set()

    def publish_reply(self, reply: Reply, payload: str) -> None:
        """Publish to a response topic alone."""
        self._events.append(_Event("", payload, retain=False, reply=reply, done=None))
        self._work.set()

    # The connection

    def stop(self) -> None:
        """Let `run`, which is to be cancelled now, not begin another connection."""
        self._stopping = True

    async def run(self) -> None:
        """Keep connected until cancelled; then publish what is left and `offline`, and leave."""
        backoff = Backoff()
        while not self._stopping:
            self.pulse.beat()
            try:
                await self._session()
            except (aiomqtt.MqttError, BrokerError, OSError, ValueError) as error:
                if self._stopping:
                    return
                if self._connected_for() >= _STEADY_S:
                    backoff.reset()
                wait = backoff.fail()
                where = f"{self._broker.host}:{self._broker.port}"
                log.warning("broker %s: %s; next try in %.0f s", where, explain(error), wait)
                await asyncio.sleep(wait)

    def _connected_for(self) -> float:
        """Return how long the connection that just ended had lasted, in seconds; less than 0 if none was made."""
        lasted = asyncio.get_running_loop().time() - self._connected_at
        self._connected_at = math.inf
        return lasted

    async def _session(self) -> None:
        link = _Link()
        client = make_client(self._broker, partial(self._receive, link), self._context, self._interface.status)
        async with client.connection():
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(client.until_lost())
                    tasks.create_task(self._converse(client, link))
            except BaseExceptionGroup as group:
                raise first(group) from None
            except asyncio.CancelledError:
                with suppress(aiomqtt.MqttError, TimeoutError):
                    await self._leave(client)
                raise
            finally:
                self.connected.clear()

    async def _converse(self, client: Client, link: _Link) -> None:
        if not client.session_present:
            await self._handler.new_session()
        await self._subscribe(client, self._interface.commands, qos=1)
        async with asyncio.TaskGroup() as tasks:
            # Commands are taken from here on: an alarm does not wait for states to be put in order.
            tasks.create_task(self._take(client, link))
            await self._learn(client)
            for _ in range(0, len(self._dirty), _AT_ONCE):
                self.pulse.beat()
                await self._publish_states(client)
            await client.publish(self._interface.status, "online", qos=1, retain=True)
            self.connects += 1
            self.connected.set()
            self._connected_at = asyncio.get_running_loop().time()
            log.info("connected to broker %s:%d", self._broker.host, self._broker.port)
            tasks.create_task(self._publish(client, link))

    async def _leave(self, client: Client) -> None:
        client.timeout = _GOODBYE_S
        async with asyncio.timeout(_GOODBYE_S):
            while self.connected.is_set() and (self._events or self._dirty):
                await self._publish_waiting(client)
        await client.publish(self._interface.status, "offline", qos=1, retain=True)

    async def _subscribe(self, client: Client, filters: Iterable[str], qos: int) -> None:
        modern = self._broker.protocol == "5"
        for pattern in filters:
            # A command published as retained is to be seen as such even while we are there.
            options = SubscribeOptions(qos=qos, retainAsPublished=True) if modern else None
            codes = await client.subscribe(pattern, qos=0 if options else qos, options=options)
            if any(failed(code) for code in codes):
                who = self._broker.username or "an anonymous client"
                raise BrokerError(f"it does not let {who} subscribe to {pattern}; see the broker's access list")

    async def _learn(self, client: Client) -> None:
        """Read what the broker holds of ours: it sends all of it before it confirms the end of the subscription."""
        self._held.clear()
        try:
            await self._subscribe(client, self._interface.states, qos=0)
        except BrokerError as error:
            log.warning("%s; all states are published again", error)
        for pattern in self._interface.states:
            await client.unsubscribe(pattern)
        self._handler.learned(self._held)
        for topic in filter(self._interface.is_stale, list(self._held)):
            await client.publish(topic, None, qos=1, retain=True)
            del self._held[topic]
        self._dirty.update(dict.fromkeys(self._wanted))

    def _receive(self, link: _Link, message: paho.MQTTMessage) -> None:
        topic = message.topic
        if any(self._is_command.iter_match(topic)):  # type: ignore[no-untyped-call]
            link.inbox.put_nowait(incoming(message))
        elif message.retain and self._interface.is_ours(topic):
            self._held[topic] = message.payload.decode("utf-8", "replace")

    async def _take(self, client: Client, link: _Link) -> None:
        while True:
            batch = [await link.inbox.get()]
            while not link.inbox.empty():
                batch.append(link.inbox.get_nowait())
            await self._handler.commands(batch)
            for message in batch:
                if message.mid is not None:
                    client.acknowledge(message.mid)
                    link.unconfirmed.append(message)

    async def _publish(self, client: Client, link: _Link) -> None:
        self._work.set()  # for what the last connection did not get through
        while True:
            self.pulse.beat()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LONGEST_REST_S):
                    await self._work.wait()
            self._work.clear()
            # An answer to something that we sent after our acknowledgements proves that the broker has those.
            acknowledged = len(link.unconfirmed)
            if await self._publish_waiting(client) and acknowledged:
                self._handler.acknowledged(link.unconfirmed[:acknowledged])
                del link.unconfirmed[:acknowledged]

    async def _publish_waiting(self, client: Client) -> bool:
        """Publish the events that are due, then a few states; return whether the broker has answered to something.

        However fast either comes, the other is not kept waiting.
        """
        sent = False
        for _ in range(len(self._events)):
            self.pulse.beat()
            await self._publish_event(client, self._events[0])
            sent = True
        sent = await self._publish_states(client) or sent
        if self._events or self._dirty:
            self._work.set()
        return sent

    async def _publish_event(self, client: Client, event: _Event) -> None:
        if event.topic and not (event.retain and self._held.get(event.topic) == event.payload):
            await client.publish(event.topic, event.payload, qos=1, retain=event.retain)
        if event.retain:
            self._held[event.topic] = event.payload
            if event.number > self._declared.get(event.topic, 0):
                self._wanted[event.topic] = event.payload
            else:
                self._dirty[event.topic] = None
        if event.reply:
            await self._answer(client, event.reply, event.payload)
        self._answer_tries = 0
        self._events.popleft()
        if event.done:
            await event.done()

    async def _answer(self, client: Client, reply: Reply, payload: str) -> None:
        if self._answer_tries == _ANSWER_TRIES:
            log.warning("no answer to response topic %s: the broker did not take it", clean(reply.topic))
            return
        self._answer_tries += 1
        properties = None
        if self._broker.protocol == "5" and reply.correlation is not None:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.CorrelationData = reply.correlation
        try:
            await client.publish(reply.topic, payload, qos=1, properties=properties)
        except ValueError as error:  # a wildcard in it, or too long
            log.warning("no answer to response topic %s: %s", clean(reply.topic), clean(error))

    async def _publish_states(self, client: Client) -> bool:
        """Publish the states that are due longest, a few; what changes meanwhile is due again, after the others."""
        topics = list(self._dirty)[:_AT_ONCE]
        changed = {topic: self._wanted[topic] for topic in topics if self._held.get(topic) != self._wanted[topic]}
        async with asyncio.TaskGroup() as tasks:
            for topic, payload in changed.items():
                tasks.create_task(client.publish(topic, payload, qos=1, retain=True))
        self._held.update(changed)
        for topic in topics:
            del self._dirty[topic]
            if self._held.get(topic) != self._wanted[topic]:
                self._dirty[topic] = None
        return bool(changed)
