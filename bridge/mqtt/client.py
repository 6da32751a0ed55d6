"""One connection to the broker: login, TLS, and what aiomqtt leaves out (DUP, manual PUBACK).

Only this module and `bridge.mqtt.session`, its one user, know the MQTT library.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from bridge.common.errors import BridgeError, ConfigError
from bridge.common.models import Incoming, Reply, Secret
from bridge.common.text import clean

_T = TypeVar("_T")

TIMEOUT_S = 10.0
"""Bounds the wait for each answer of the broker, in seconds."""
_CONNECT_TIMEOUT_S = 4.0
_KEEPALIVE_TIMEOUT = 0x8D
_TAKEN_OVER = 0x8E
_LARGEST_PACKET = 1024 * 1024
"""Bytes; no command comes near it. Brokers hold back what is larger with MQTT 5, but not with 3.1.1."""
_PORTION = 64 * 1024
"""Bytes received at once; the buffer for them is allocated before."""
_DISCONNECTED = (
    "it disconnected before the login; see its log, mqtt.port, mqtt.tls (does it want a client certificate?) and"
    " mqtt.protocol (does it know MQTT 5?)"
)
_SILENT = "it does not answer the login; see its log, mqtt.port and mqtt.protocol (does it know MQTT 5?)"
_ERRNO = re.compile(r"^\[Errno -?\d+\] ")
_OTHER_VERSION = (0x84, 1)
"""Protocol version not supported: MQTT 5, then 3.1.1."""
_LOGIN_REFUSED = (0x86, 0x87, 4, 5)
"""Bad user name or password, not authorised: MQTT 5, then 3.1.1."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is and how to log in."""

    host: str
    port: int = 1883
    username: str | None = None
    password: Secret | None = None
    protocol: Literal["5", "3.1.1"] = "5"
    client_id: str = "sosbridge"
    session_expiry_s: int = 7 * 86400
    will_delay_s: int = 0
    """How long the broker waits with `offline` for another connection of this client id; MQTT 5 only."""
    keepalive_s: int = 30
    transport: Literal["tcp", "websockets"] = "tcp"
    websocket_path: str = "/mqtt"
    tls: bool = False
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


Message = paho.MQTTMessage


class BrokerError(BridgeError):
    """The broker cannot be reached, or refuses the connection; the text says what to do."""


class _Beginning(bytearray):
    """The beginning of a packet, at most `_LARGEST_PACKET` bytes of it."""

    def __iadd__(self, data: bytes) -> Self:  # type: ignore[override,misc]
        self.extend(data[: max(_LARGEST_PACKET - len(self), 0)])
        return self


class Client(aiomqtt.Client):
    """aiomqtt with what it leaves out: DUP flags, session present, acknowledgement by hand."""

    def __init__(self, inbox: Callable[[paho.MQTTMessage], None], **options: Any) -> None:  # noqa: ANN401
        super().__init__(**options)
        self._inbox = inbox
        self._connecting = False
        self._left = False
        self._thread = threading.get_ident()
        self.session_present = False
        self._heard_at = self._greeted_at = 0.0
        """When bytes came last, and when the CONNACK did."""
        self._unanswered = False
        self._recv = self._client._sock_recv  # noqa: SLF001 - paho bounds nothing
        self._client._sock_recv = self._receive_bounded  # type: ignore[method-assign]  # noqa: SLF001
        self._client.manual_ack_set(True)  # noqa: FBT003 - paho has it so
        self._client.connect_timeout = _CONNECT_TIMEOUT_S
        self.pending_calls_threshold = 100

    def _receive_bounded(self, bufsize: int) -> bytes:
        """Receive a portion; of a packet past the limit only the beginning is kept.

        Such a message is acknowledged and its command rejected. To hang up would bring it again at each reconnect.
        """
        packet = self._client._in_packet  # noqa: SLF001
        if packet["have_remaining"] and not isinstance(packet["packet"], _Beginning):
            packet["packet"] = _Beginning()
        received = self._recv(min(bufsize, _PORTION))
        self._heard_at = self._loop.time()
        return received

    @property
    def silent_since(self) -> float | None:
        """When the last bytes came, if the connection ended because no more did; else None.

        By the time of the loop, in seconds.
        """
        return self._heard_at if self._unanswered or self._heard_at == self._greeted_at else None

    def _on_connect(self, client: paho.Client, userdata: object, flags: paho.ConnectFlags, *rest: Any) -> None:  # noqa: ANN401
        self._greeted_at = self._heard_at
        # paho asks a silent broker for a sign of life after this time, and waits as long again for the answer.
        client._keepalive /= 2  # type: ignore[assignment]  # noqa: SLF001
        self.session_present = flags.session_present  # messages that arrive before aiomqtt knows go to the inbox
        super()._on_connect(client, userdata, flags, *rest)

    async def _misc_loop(self) -> None:
        """Look after the keepalive; aiomqtt does it each second, which is long beside a keepalive of a few."""
        while self._client.loop_misc() == paho.MQTT_ERR_SUCCESS:  # noqa: ASYNC110 - only the time has passed
            await asyncio.sleep(min(1.0, self._client.keepalive / 4))

    def _on_disconnect(self, *details: Any) -> None:  # noqa: ANN401
        if not self._connected.done():  # aiomqtt would wait for the whole timeout and lose the reason
            self._connected.set_exception(aiomqtt.MqttError(_DISCONNECTED))
            return
        self._unanswered = details[3].value == _KEEPALIVE_TIMEOUT
        super()._on_disconnect(*details)

    def _on_message(self, _client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        self._inbox(message)

    def _on_subscribe(self, client: paho.Client, userdata: object, mid: int, *rest: Any) -> None:  # noqa: ANN401
        if mid in self._pending_subscribes:  # a late answer that is no longer awaited needs no traceback
            super()._on_subscribe(client, userdata, mid, *rest)

    def _on_unsubscribe(self, client: paho.Client, userdata: object, mid: int, *rest: Any) -> None:  # noqa: ANN401
        if mid in self._pending_unsubscribes:
            super()._on_unsubscribe(client, userdata, mid, *rest)

    def _on_socket_register_write(self, client: paho.Client, userdata: object, sock: socket.socket) -> None:  # noqa: ARG002
        if threading.get_ident() == self._thread:
            self._loop.call_soon(self._write, sock)
        else:  # paho connects in a thread of its own
            self._loop.call_soon_threadsafe(self._write, sock)

    def _write(self, sock: socket.socket) -> None:
        """Write at once, and wait only for what the socket does not take: aiomqtt would wait first.

        A socket that was closed meanwhile is left alone: its number may belong to another one.
        """
        if sock.fileno() < 0:
            return
        try:
            self._client.loop_write()
        except (OSError, ValueError) as error:
            if not self._disconnected.done():
                self._disconnected.set_exception(error)
        if self._client.want_write() and sock.fileno() >= 0:
            self._loop.add_writer(sock.fileno(), self._write, sock)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[None]:
        """Stay connected within. No socket stays open, even where connecting fails halfway."""
        disconnected = self._disconnected
        try:
            async with self:
                if disconnected.done():  # right after the CONNACK: aiomqtt would forget it, and wait for another
                    self._disconnected = disconnected
                yield
        finally:
            self._left = True
            if self._disconnected.done() and not self._disconnected.cancelled():
                self._disconnected.exception()  # whoever leaves for another reason does not ask for it
            if not self._connecting:
                self._hang_up()

    def abandon(self) -> None:
        """Hang up without a DISCONNECT: the will is published unless the next owner comes in time."""
        self._hang_up()
        if not self._disconnected.done():
            self._disconnected.set_result(None)

    def _client_connect(self) -> None:
        """Connect in a thread, which cannot be cancelled: if the caller has left, close the socket then."""
        self._connecting = True
        try:
            super()._client_connect()
        finally:
            with suppress(RuntimeError):  # the loop is closed: the process ends
                self._loop.call_soon_threadsafe(self._connect_ended)

    def _connect_ended(self) -> None:
        self._connecting = False
        if self._left:
            self._hang_up()

    def _hang_up(self) -> None:
        if self._client.socket() is not None:
            self._client._sock_close()  # noqa: SLF001 - paho closes it only in answer to the broker

    async def _wait_for(self, fut: Awaitable[_T], timeout: float | None) -> _T:
        """As aiomqtt's, without asyncio.wait_for: in Python 3.11 that swallows a cancellation now and then."""
        try:
            async with asyncio.timeout(self.timeout if timeout is None else timeout):
                return await fut
        except TimeoutError:
            raise aiomqtt.MqttError(_SILENT if self._connected.cancelled() else "Operation timed out") from None

    async def until_lost(self) -> None:
        async for _ in self.messages:  # always empty: messages go to the inbox
            pass

    def acknowledge(self, mid: int) -> None:
        self._client.ack(mid, 1)


def make_client(
    broker: Broker, inbox: Callable[[paho.MQTTMessage], None], context: ssl.SSLContext | None, status_topic: str | None
) -> Client:
    """Return a client that is not connected yet; `status_topic` gets the will `offline`."""
    modern = broker.protocol == "5"
    properties = None
    if modern:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = broker.session_expiry_s
        properties.MaximumPacketSize = _LARGEST_PACKET
    return Client(
        inbox,
        hostname=broker.host,
        port=broker.port,
        identifier=broker.client_id,
        username=broker.username,
        password=broker.password.reveal() if broker.password else None,
        protocol=aiomqtt.ProtocolVersion.V5 if modern else aiomqtt.ProtocolVersion.V311,
        clean_session=None if modern else broker.session_expiry_s == 0,
        clean_start=broker.session_expiry_s == 0 if modern else paho.MQTT_CLEAN_START_FIRST_ONLY,
        properties=properties,
        will=_will(broker, status_topic) if status_topic else None,
        keepalive=broker.keepalive_s,
        timeout=TIMEOUT_S,
        transport=broker.transport,
        websocket_path=broker.websocket_path if broker.transport == "websockets" else None,
        tls_context=context,
    )


def _will(broker: Broker, topic: str) -> aiomqtt.Will:
    properties = None
    if broker.will_delay_s and broker.protocol == "5":
        properties = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]
        properties.WillDelayInterval = broker.will_delay_s
    return aiomqtt.Will(topic, "offline", qos=1, retain=True, properties=properties)


def tls_context(broker: Broker) -> ssl.SSLContext:
    """Raises ConfigError naming the file that cannot be used."""
    try:
        context = ssl.create_default_context(cafile=str(broker.ca_file) if broker.ca_file else None)
    except OSError as error:
        raise ConfigError(f"mqtt.tls.ca_file: {broker.ca_file}: {error.strerror or error}") from None
    # Since Python 3.13 a private CA whose certificate has no key usage would be refused.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if broker.cert_file:
        try:
            context.load_cert_chain(broker.cert_file, broker.key_file)
        except OSError as error:
            raise ConfigError(f"mqtt.tls.cert_file: {broker.cert_file}: {error.strerror or error}") from None
    return context


def incoming(message: paho.MQTTMessage) -> Incoming:
    properties = getattr(message, "properties", None)
    topic = getattr(properties, "ResponseTopic", None)
    reply = Reply(topic, getattr(properties, "CorrelationData", None)) if topic else None
    return Incoming(
        topic=message.topic,
        payload=bytes(message.payload),
        retained=bool(message.retain),
        duplicate=bool(message.dup),
        mid=message.mid if message.qos else None,
        reply=reply,
    )


def failed(code: ReasonCode | int) -> bool:
    return (code.value if isinstance(code, ReasonCode) else code) >= 0x80  # noqa: PLR2004 - MQTT: failures begin there


def explain(error: BaseException) -> str:
    """Return what is wrong with the connection to the broker, and which setting to look at."""
    code = next((each.rc for each in (error, error.__cause__) if isinstance(each, aiomqtt.MqttCodeError)), None)
    value = code.value if isinstance(code, ReasonCode) else None
    if value in _LOGIN_REFUSED:
        return "it refuses the user name or password (mqtt.username, mqtt.password)"
    if value in _OTHER_VERSION:
        return "it does not speak this version of MQTT (mqtt.protocol)"
    if value == _TAKEN_OVER:
        return "another client took over our client id: two bridges run with the same mqtt.client_id"
    text = _ERRNO.sub("", clean(error.__cause__ if isinstance(error.__cause__, aiomqtt.MqttCodeError) else error))
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return f"its certificate is not trusted (mqtt.tls.ca_file): {text}"
    return text or type(error).__name__


async def try_connection(broker: Broker) -> None:
    """Log in and out again. Raises BrokerError with the reason."""
    async with visit(broker, "check"):
        pass


def _ignore(_: Message) -> None:
    pass


@asynccontextmanager
async def visit(broker: Broker, purpose: str, inbox: Callable[[Message], None] = _ignore) -> AsyncIterator[Client]:
    """Connect under a client id of its own, without a session. Raises BrokerError with the reason."""
    context = tls_context(broker) if broker.tls else None
    visitor = replace(broker, client_id=f"{broker.client_id}-{purpose}", session_expiry_s=0)
    client = make_client(visitor, inbox, context, status_topic=None)
    try:
        async with client.connection():
            yield client
    except (aiomqtt.MqttError, OSError, ValueError) as error:
        raise BrokerError(explain(error)) from None
