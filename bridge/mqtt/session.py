"""The MQTT session: subscriptions, acknowledgement, retained states, will and birth, reconnect.

It knows topics and bytes, not alarms (TOPICS.md, Connection). A message is acknowledged when its handler has returned,
that is, stored it. What is to be published waits in `Outgoing`.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Any, Protocol

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from bridge.common.backoff import Backoff
from bridge.common.errors import first
from bridge.common.loop import now, within
from bridge.common.models import Incoming, Reply
from bridge.common.problems import Kind, Problems
from bridge.common.pulse import Pulse
from bridge.common.text import clean
from bridge.mqtt.client import Broker, BrokerError, Client, failed, incoming, make_client, tls_context
from bridge.mqtt.connection_log import SHORT_S, ConnectionLog
from bridge.mqtt.outgoing import Event, Outgoing
from bridge.mqtt.routes import Router

log = logging.getLogger(__name__)

_LEARN_S = 120.0
"""Of a portion of retained topics: shard 0 reads a million of them with 100 000 transmitters."""
_GOODBYE_S = 1.0
_LONGEST_TURN_S = 300.0
"""Whatever a turn waits for, a name server, the broker or the next try to connect, is bounded well below this."""
_LONGEST_REST_S = 30.0
_REPLY_TRIES = 2
"""The sender of a command chooses its response topic: the broker may disconnect for it, or never acknowledge it."""
_FILTERS_AT_ONCE = 100
"""A subscription is a packet that brokers bound."""
_AT_ONCE = 10
"""States published before their acknowledgements are awaited, and events in each turn."""


class DeliveryLog(Protocol):
    """Recognises messages that the broker delivers again, and says which may be acknowledged."""

    @property
    def changed(self) -> asyncio.Event:
        """Set when more messages are safe; the session clears it."""

    def is_redelivery(self, message: Incoming) -> bool: ...

    def is_safe(self, message: Incoming) -> bool:
        """Whether a message that was handled may be acknowledged."""

    def acknowledged(self, messages: Sequence[Incoming]) -> None:
        """The broker has certainly read the acknowledgements of these: it will not repeat them."""

    async def settled(self) -> None:
        """Return when what earlier connections brought is stored, or has failed."""

    def new_session(self) -> None:
        """The broker knows nothing of an earlier session: it will repeat nothing of it."""


class SessionEnd(Enum):
    """How the session ends."""

    OFFLINE = "publish what is left and `offline`"
    HAND_OVER = "publish what is left; another node takes the session over before the broker publishes the will"
    LOST = "publish nothing: another node may have the session already"


class Owner:
    """Who may use the client id: this process alone by default, in a cluster the owner of the shard."""

    async def prove(self, beat: Callable[[], None]) -> None:
        """Return once it is proven that the client id is ours; called before each connection.

        `beat` is called as long as it goes on.
        """

    @property
    def ending(self) -> SessionEnd:
        """How the session is to end now."""
        return SessionEnd.OFFLINE

    async def subscribed(self) -> None:
        """The broker sends us all commands from now on."""

    def thrown_out(self) -> None:
        """The broker ended a connection that was made: maybe for another client with our id."""


def _portions(filters: Iterable[str]) -> Iterator[list[str]]:
    found = iter(filters)
    while some := list(itertools.islice(found, _FILTERS_AT_ONCE)):
        yield some


def _ignore(_: Mapping[str, str]) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Subscriptions:
    """The retained topics to keep as declared. Their filters match no command topic."""

    status: str
    """Holds `online` or `offline`."""
    states: Callable[[], Iterable[str]]
    """Returns the filters of all retained topics."""
    is_ours: Callable[[str], bool]
    """Whether a topic that `states` match is ours."""
    is_stale: Callable[[str], bool]
    """Whether nothing in the configuration owns this retained topic."""
    learned: Callable[[Mapping[str, str]], None] = _ignore
    """Takes what the broker holds, before anything is published there."""


@dataclass(slots=True)
class _Connection:
    inbox: asyncio.Queue[Incoming] = field(default_factory=asyncio.Queue)
    handled: list[Incoming] = field(default_factory=list)
    """To be acknowledged once they are safe."""
    unconfirmed: list[Incoming] = field(default_factory=list)
    """Acknowledged, but the broker has perhaps not read that yet."""


class Session:
    """One MQTT client with a fixed id, kept connected for as long as `run` runs."""

    def __init__(
        self,
        broker: Broker,
        outgoing: Outgoing,
        router: Router,
        subscriptions: Subscriptions,
        deliveries: DeliveryLog,
        problems: Problems,
        owner: Owner | None = None,
    ) -> None:
        """Raises ConfigError where a certificate file cannot be used."""
        problems.doubt(Kind.BROKER_DOWN)
        self._problems = problems
        self.connected = asyncio.Event()
        self.connects = 0
        self.pulse = Pulse("the MQTT connection", _LONGEST_TURN_S)
        self._broker = broker
        self._outgoing = outgoing
        self._router = router
        self._subscriptions = subscriptions
        self._deliveries = deliveries
        self._context = tls_context(broker) if broker.tls else None
        self._reply_tries = 0
        """For the event that is next."""
        self._owner = owner or Owner()
        self._ending: SessionEnd | None = None
        self._connected_at = math.inf
        self._away_since: float | None = math.inf
        """None: there is a connection."""
        self._log = ConnectionLog(broker)

    def stop(self) -> None:
        """Let `run`, which is to be cancelled now, end as the owner says and not begin another connection."""
        self._ending = self._owner.ending

    async def run(self) -> None:
        """Keep connected until cancelled; then end as `stop` has fixed."""
        backoff = Backoff()
        self._away_since = now()
        while self._ending is None:
            self.pulse.beat()
            await self._owner.prove(self.pulse.beat)
            try:
                await self._connect()
            except (aiomqtt.MqttError, BrokerError, OSError, ValueError, RuntimeError) as error:  # no more threads
                if self._ending is not None:
                    return
                lasted = self._connected_for()
                if lasted >= 0:
                    self._owner.thrown_out()
                if lasted >= SHORT_S:  # two bridges that share a client id back off
                    backoff.reset()
                wait = backoff.fail()
                self._problems.set(Kind.BROKER_DOWN, self._log.lost(error, lasted, wait))
                await asyncio.sleep(wait)

    def away_s(self) -> float:
        """Return for how many seconds there has been no connection, from CONNACK to end.

        It is 0 while there is one, and less before the first is tried. One that ended because the broker was silent
        counts until its last bytes.
        """
        return 0.0 if self._away_since is None else now() - self._away_since

    def _connected_for(self) -> float:
        """Return how long the connection that just ended had lasted, in seconds; less than 0 if none was made."""
        lasted = now() - self._connected_at
        self._connected_at = math.inf
        return lasted

    async def _connect(self) -> None:
        connection = _Connection()
        client = make_client(
            self._broker, partial(self._receive, connection), self._context, self._subscriptions.status
        )
        async with client.connection():
            self._away_since = None
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(client.until_lost())
                    tasks.create_task(self._converse(client, connection))
            except BaseExceptionGroup as group:
                raise first(group) from None
            except asyncio.CancelledError:
                if self._ending is not SessionEnd.LOST:
                    with suppress(aiomqtt.MqttError, TimeoutError):
                        await self._leave(client, connection)
                if self._ending in (SessionEnd.HAND_OVER, SessionEnd.LOST):
                    client.abandon()  # the broker keeps the will, for where nobody takes over
                raise
            finally:
                self.connected.clear()
                self._away_since = client.silent_since or now()

    async def _converse(self, client: Client, connection: _Connection) -> None:
        if not client.session_present:
            self._deliveries.new_session()
        await self._deliveries.settled()
        for qos, filters in self._router.filters.items():
            await self._subscribe(client, filters, qos)
        # What the broker repeats has come by now: the fewer commands have ended since, the more of it is recognised.
        first = self._received(connection)
        async with asyncio.TaskGroup() as tasks:
            # Commands are taken from here on: an alarm does not wait for states to be put in order.
            tasks.create_task(self._take(client, connection, *first), name="mqtt: take commands")
            tasks.create_task(self._acknowledge_later(client, connection), name="mqtt: acknowledge later")
            tasks.create_task(self._owner.subscribed(), name="mqtt: subscribed")
            await self._learn(client)
            await self._subscribe_optional(client)
            for _ in range(0, self._outgoing.waiting_states, _AT_ONCE):
                await self._publish_waiting(client, connection)  # results do not wait for all states
            await client.publish(self._subscriptions.status, "online", qos=1, retain=True)
            self.connects += 1
            self.connected.set()
            self._problems.set(Kind.BROKER_DOWN, None)
            self._connected_at = now()
            self._log.connected()
            tasks.create_task(self._publish(client, connection))

    async def _leave(self, client: Client, connection: _Connection) -> None:
        client.timeout = _GOODBYE_S
        async with asyncio.timeout(_GOODBYE_S):
            while self.connected.is_set() and not self._outgoing.is_empty:
                await self._publish_waiting(client, connection)
        if self._ending is not SessionEnd.HAND_OVER:
            await client.publish(self._subscriptions.status, "offline", qos=1, retain=True)

    async def _subscribe(self, client: Client, filters: Iterable[str], qos: int) -> None:
        modern = self._broker.protocol == "5"
        for some in _portions(filters):
            # A command published as retained is to be seen as such even while we are there.
            options = SubscribeOptions(qos=qos, retainAsPublished=True) if modern else qos
            wanted: list[Any] = [(pattern, options) for pattern in some]
            codes: Sequence[Any] = await client.subscribe(wanted)
            if refused := [some[number] for number, code in enumerate(codes) if failed(code)]:
                who = self._broker.username or "an anonymous client"
                raise BrokerError(f"it does not let {who} subscribe to {refused[0]}; see the broker's access list")

    async def _subscribe_optional(self, client: Client) -> None:
        options: Any = SubscribeOptions(qos=0) if self._broker.protocol == "5" else 0
        for some in _portions(self._router.optional):
            await client.subscribe([(each, options) for each in some])

    async def _learn(self, client: Client) -> None:
        """Read our retained topics: the broker sends all of them before it confirms the unsubscription."""
        self._outgoing.forget_held()
        try:
            await self._subscribe(client, self._subscriptions.states(), qos=0)
        except BrokerError as error:
            log.warning("%s; all states are published again", error)
        for some in _portions(self._subscriptions.states()):
            await client.unsubscribe(some, timeout=_LEARN_S)
        self._subscriptions.learned(self._outgoing.held)
        for topic in filter(self._subscriptions.is_stale, list(self._outgoing.held)):
            await client.publish(topic, None, qos=1, retain=True)
            self._outgoing.hold(topic, None)
        self._outgoing.check_all()

    def _receive(self, connection: _Connection, message: paho.MQTTMessage) -> None:
        topic = message.topic
        taken = self._router.takes(topic)
        if taken or message.qos:  # what is not acknowledged fills the broker's window
            connection.inbox.put_nowait(incoming(message))
        if not taken and message.retain and self._subscriptions.is_ours(topic):
            self._outgoing.hold(topic, message.payload.decode("utf-8", "replace"))

    def _received(self, connection: _Connection, *received: Incoming) -> tuple[list[Incoming], list[Incoming]]:
        """Return `received` and the rest of the inbox, and those among them that are no redeliveries."""
        messages = [*received]
        while not connection.inbox.empty():
            messages.append(connection.inbox.get_nowait())
        return messages, [each for each in messages if not self._deliveries.is_redelivery(each)]

    async def _take(
        self, client: Client, connection: _Connection, messages: list[Incoming], new: list[Incoming]
    ) -> None:
        while True:
            await self._router.dispatch(new)
            # In the order of the messages (MQTT 5, 4.6): else mosquitto sends a new one before those that wait.
            connection.handled += messages
            self._acknowledge(client, connection)
            messages, new = self._received(connection, await connection.inbox.get())

    async def _acknowledge_later(self, client: Client, connection: _Connection) -> None:
        while True:
            await self._deliveries.changed.wait()
            self._deliveries.changed.clear()
            self._acknowledge(client, connection)

    def _acknowledge(self, client: Client, connection: _Connection) -> None:
        handled, connection.handled = connection.handled, []
        for message in handled:
            if not self._deliveries.is_safe(message):
                connection.handled.append(message)
            elif message.mid is not None:
                client.acknowledge(message.mid)
                connection.unconfirmed.append(message)

    async def _publish(self, client: Client, connection: _Connection) -> None:
        work = self._outgoing.work
        work.set()  # for what the last connection did not get through
        while True:
            self.pulse.beat()
            await within(_LONGEST_REST_S, work.wait())
            work.clear()
            await self._publish_waiting(client, connection)

    async def _publish_waiting(self, client: Client, connection: _Connection) -> None:
        """Publish a few events, then a few states: however fast either comes, the other is not kept waiting."""
        if self._ending is SessionEnd.LOST:
            return
        acknowledged = len(connection.unconfirmed)
        answered = False
        for _ in range(min(self._outgoing.waiting_events, _AT_ONCE)):
            self.pulse.beat()
            answered |= await self._publish_event(client, self._outgoing.next_event())
        if await self._publish_states(client) or answered:
            # An answer to something that we sent after our acknowledgements proves that the broker has those.
            self._deliveries.acknowledged(connection.unconfirmed[:acknowledged])
            del connection.unconfirmed[:acknowledged]
        if not self._outgoing.is_empty:
            self._outgoing.work.set()

    async def _publish_event(self, client: Client, event: Event) -> bool:
        """Publish `event` unless it is held; return whether the broker has acknowledged it."""
        if sent := bool(event.topic) and not self._outgoing.is_held(event):
            await client.publish(event.topic, event.payload, qos=1, retain=event.retain)
        self._outgoing.event_published(event)
        if event.reply:
            await self._reply(client, event.reply, event.payload)
        self._reply_tries = 0
        self._outgoing.event_done()
        return sent

    async def _reply(self, client: Client, reply: Reply, payload: str) -> None:
        if self._reply_tries == _REPLY_TRIES:
            log.warning("no reply on response topic %s: the broker did not acknowledge it", clean(reply.topic))
            return
        self._reply_tries += 1
        properties = None
        if self._broker.protocol == "5" and reply.correlation is not None:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.CorrelationData = reply.correlation
        try:
            await client.publish(reply.topic, payload, qos=1, properties=properties)
        except ValueError as error:  # a wildcard in it, or too long
            log.warning("no reply on response topic %s: %s", clean(reply.topic), clean(error))

    async def _publish_states(self, client: Client) -> bool:
        """Publish the states that are due longest, a few; return whether there were any."""
        self.pulse.beat()
        topics, changed = self._outgoing.due_states(_AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            for topic, payload in changed.items():
                tasks.create_task(client.publish(topic, payload, qos=1, retain=True))
        self._outgoing.states_published(topics, changed)
        return bool(changed)
