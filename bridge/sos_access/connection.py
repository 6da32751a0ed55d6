"""Connections to receivers (PROTOCOL.md, One exchange).

Connecting and sending are two steps: `race` connects to several and sends to one. A connection counts once TCP, TLS
and the certificate are done. Every wait is bounded; errors are `TransportError`.
"""

from __future__ import annotations

import asyncio
import math
import re
import socket
import ssl
from collections import defaultdict
from collections.abc import Coroutine
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from bridge.common.loop import Awake, awake, now
from bridge.sos_access.documents import LONGEST, DocumentBuffer
from bridge.sos_access.peer import Peer, peer_name, translated
from bridge.sos_access.resolver import Resolver
from bridge.sos_access.status import Failure, MalformedMessage, TransportError
from bridge.sos_access.tls import TlsPolicy, unverified
from bridge.sos_access.trace import traced

AT_ONCE = 50
"""Connections to one address at once: a receiver's listen queue has often no more than 128 places."""
CLOSE_TIMEOUT = 1.0
"""Seconds to wait for the TLS peer to close; the response is complete, so nothing is lost after that."""
_INSPECT_EVERY_S = 60.0
"""Between two readings of one receiver's certificate, however often it is tried."""
_WRONG_NAME = (62, 64)
"""X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH."""

_CLOSED = re.compile(rb"</(?:[\w.-]+:)?[a-z]+response\s*>", re.IGNORECASE)


class Connection:
    """A connection for one exchange. Made by `Dialer`."""

    def __init__(self, peer: Peer, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], dialer: Dialer) -> None:
        self.peer = peer
        self._reader, self._writer = streams
        self._dialer = dialer
        self._closed = False

    async def exchange(self, data: bytes) -> bytes:
        """Send one document, return what answers it, and hang up. Raises TransportError where nothing comes.

        The answer may be cut off or no proper XML: reading it is the caller's (`Response.from_broken`).
        """
        try:
            await self.send(data)
            answer = await self.receive()
        except BaseException:
            self.abort()
            raise
        self.close()
        return answer

    def close(self) -> None:
        """Close in the background: a TLS peer that does not answer the close delays nothing."""
        if self.peer.tls is None and not self._writer.transport.get_write_buffer_size():
            self.abort()  # there is no goodbye, and nothing left to send
        elif not self._closed:
            self._closed = True
            self._writer.close()
            self._dialer.closing(self._hang_up())

    def abort(self) -> None:
        """Hang up at once."""
        if not self._closed:
            self._closed = True
            self._writer.transport.abort()
            self._dialer.release(self.peer.address)

    async def _hang_up(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._writer.wait_closed()
        except OSError:  # TimeoutError and ssl.SSLError among them: the answer is in hand
            pass
        finally:
            self._writer.transport.abort()
            self._dialer.release(self.peer.address)

    async def send(self, data: bytes) -> None:
        timeout = self.peer.connect_timeout
        with traced(self.peer, f"send {len(data)} bytes"):
            self._writer.write(data)
            if self._writer.transport.get_write_buffer_size():  # else the system has taken all of it
                with translated(self.peer, f"{peer_name(self.peer.address)} read no data for {timeout:g} s"):
                    async with awake(timeout):
                        await self._writer.drain()

    async def receive(self) -> bytes:
        """Return the answer, even an incomplete one: a peer that closes early may have sent enough."""
        name, timeout = peer_name(self.peer.address), self.peer.response_timeout
        raw = bytearray()
        with translated(self.peer, f"no complete response from {name} within {timeout:g} s", Failure.NO_RESPONSE):
            try:
                with traced(self.peer, "answer") as result:
                    async with awake(timeout):
                        answer = await self._read(raw)
                    result.append(f"{len(answer)} bytes")
            except OSError:  # TimeoutError among them
                if not raw:
                    raise
                answer = bytes(raw)
        if not answer:
            raise TransportError(f"connection closed by {name} without a response", Failure.HUNG_UP)
        return answer

    async def _read(self, raw: bytearray) -> bytes:
        """Read into `raw` until the root has closed; in malformed XML, until something like it has."""
        buffer = DocumentBuffer()
        proper = True
        while data := await self._reader.read(4096):
            raw += data
            if proper:
                try:
                    if buffer.feed(data):
                        return buffer.document
                except MalformedMessage:
                    proper = False
            if len(raw) > LONGEST or (not proper and _CLOSED.search(raw)):
                break
        return bytes(raw)


class Dialer:
    """Makes connections for a whole process: one resolver, at most `AT_ONCE` connections to an address."""

    def __init__(self, resolver: Resolver | None = None, at_once: int = AT_ONCE) -> None:
        self.resolver = resolver or Resolver()
        self._at_once = at_once
        self._places: dict[tuple[str, int], asyncio.Semaphore] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._inspecting: defaultdict[Peer, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._certificates: dict[Peer, tuple[float, bytes | None]] = {}

    async def aclose(self) -> None:
        """Give up the losers and the goodbyes that still run."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def connect(self, peer: Peer) -> Connection:
        """Return a connection. Raises TransportError after `connect_timeout` at most."""
        until = now() + peer.connect_timeout
        place = self._places.setdefault(peer.address, asyncio.Semaphore(self._at_once))
        try:
            text = f"no connection to {peer_name(peer.address)} within {peer.connect_timeout:g} s"
            with translated(peer, text, Failure.NO_CONNECTION):
                async with Awake(until):
                    await place.acquire()
                    try:
                        streams = await self._open(peer)
                    except BaseException:
                        place.release()
                        raise
        except TransportError as error:
            if peer.tls is None or not isinstance(error.__cause__, ssl.SSLCertVerificationError):
                raise
            wrong_name = error.__cause__.verify_code in _WRONG_NAME
            advice = peer.tls.advice(await self._inspected(peer, until), wrong_name=wrong_name)
            raise TransportError(f"{error}{advice}", error.failure) from error.__cause__
        connection = Connection(peer, streams, self)
        certificate = _certificate(streams[1])
        if peer.tls is not None and not peer.tls.trusts(certificate):
            connection.abort()
            fault = f"certificate of {peer_name(peer.address)} does not match the pin in tls_verify"
            raise TransportError(f"{fault}{peer.tls.advice(certificate)}", Failure.CERTIFICATE)
        return connection

    async def _inspected(self, peer: Peer, until: float) -> bytes | None:
        """Return the certificate (DER) that is not trusted; None if it cannot be read before `until`."""
        try:
            async with asyncio.timeout_at(until), self._inspecting[peer]:
                read_at, certificate = self._certificates.get(peer, (-math.inf, None))
                if now() - read_at >= _INSPECT_EVERY_S:
                    *_, address = await self.resolver.resolve(peer.address[0], peer.connect_timeout)
                    _, writer = await _connect(replace(peer, tls=TlsPolicy(unverified())), address, peer.address[1])
                    certificate = _certificate(writer)
                    writer.transport.abort()  # nothing is sent to a receiver that was not verified
                    self._certificates[peer] = now(), certificate
                return certificate
        except OSError:  # TimeoutError and ssl.SSLError among them
            return None

    def release(self, address: tuple[str, int]) -> None:
        self._places[address].release()

    def closing(self, work: Coroutine[Any, Any, None]) -> None:
        self.keep(asyncio.create_task(work, name="hang up"))

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Keep a reference to a background task until it ends."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self, peer: Peer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Try the addresses of the host one after the other, each for its share of the time."""
        end = now() + peer.connect_timeout
        host, port = peer.address
        with traced(peer, "resolve") as result:
            addresses = await self.resolver.resolve(host, peer.connect_timeout)
            result.extend(addresses)
        for left in range(len(addresses), 0, -1):
            address = addresses[-left]
            try:
                async with awake((end - now()) / left) if left > 1 else nullcontext():
                    streams = await _connect(peer, address, port)
            except OSError:  # TimeoutError among them: the next one may do
                if left == 1:
                    raise
                continue
            self.resolver.worked(host, address)
            return streams
        raise AssertionError("a name has at least one address")


async def _connect(peer: Peer, address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)  # noqa: FBT003 - its only parameter
        if peer.interface is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, peer.interface.encode() + b"\0")
        if peer.source is not None:
            sock.bind((peer.source, 0))
        with traced(peer, f"connect to {address}"):
            await loop.sock_connect(sock, (address, port))
    except BaseException:
        sock.close()
        raise
    if peer.tls is None:
        return await asyncio.open_connection(sock=sock)
    name = peer.tls_name or peer.address[0]
    with traced(peer, "TLS") as result:
        try:
            streams = await asyncio.open_connection(sock=sock, ssl=peer.tls.context, server_hostname=name)
        except ConnectionError as error:
            raise ssl.SSLError(0, "it closed the connection; no TLS on that port?") from error
        result.append(streams[1].get_extra_info("cipher")[1])
    return streams


def _certificate(writer: asyncio.StreamWriter) -> bytes | None:
    tls: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
    return tls.getpeercert(binary_form=True) if tls else None
