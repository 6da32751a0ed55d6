"""A simulated SOS Access v4 receiver over TCP or TLS, for the demo, `simulate` and the tests.

It answers requests as PROTOCOL.md describes (Simulated receiver) and can simulate faults of receivers and connections.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Self

from bridge.common.errors import BridgeError, StoreError
from bridge.sos_access.documents import LONGEST, DocumentBuffer
from bridge.sos_access.messages import AnyRequest, Response
from bridge.sos_access.peer import peer_name
from bridge.sos_access.simulator.accounts import Account, Accounts
from bridge.sos_access.simulator.faults import Fault, Faults
from bridge.sos_access.simulator.rules import Kind, Rules, kind_of, read_request, refuse
from bridge.sos_access.status import MalformedMessage, Status

__all__ = ["Account", "Accounts", "Arrival", "Fault", "Faults", "Receiver"]

_log = logging.getLogger("bridge.sos_access.simulator.receiver")

_CONNECTIONS = 100
_LINGER = 1.0
"""Seconds for an answered peer to stop sending; closing with unread data would discard the response."""
_PASSWORD = re.compile(rb"(<authentication\b[^>]*>).*?(</authentication|$)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request. `status` is that of the response, None if it was dropped unprocessed.

    `answered` is False where a fault kept the true answer from the transmitter. `raw` holds a password: show `masked`.
    """

    time: datetime
    kind: Kind
    request: AnyRequest | None
    raw: bytes = field(repr=False)
    status: int | None
    answered: bool
    peer: str

    @property
    def masked(self) -> str:
        return _PASSWORD.sub(rb"\1***\2", self.raw).decode("iso-8859-1")


class Receiver:
    """A receiver as an async context manager; it can be stopped and started again, on the same port.

    `accounts` may be shared with a second receiver; `port` 0 takes a free one. `ping_interval_min`,
    `duplicate_window` and `idle_timeout` are seconds. `now` returns the time of responses. Raises
    `BridgeError` if the port cannot be had.
    """

    def __init__(
        self,
        accounts: Accounts,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        tls: ssl.SSLContext | None = None,
        ping_interval_min: float = 1.0,
        duplicate_window: float = 3600.0,
        idle_timeout: float = 10.0,
        heartbeats: bool = True,
        on_arrival: Callable[[Arrival], None] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now().astimezone(),
    ) -> None:
        self.accounts = accounts
        self.faults = Faults()
        self.arrivals: list[Arrival] = []
        self.address = (host, port)
        self.rules = Rules(accounts, ping_interval_min, duplicate_window, heartbeats)
        self._tls = tls
        self._idle_timeout = idle_timeout
        self._on_arrival = on_arrival
        self._now = now
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._arrived = asyncio.Condition()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; on a restart, on the same port as before."""
        host, port = self.address
        try:
            self._server = await asyncio.start_server(self._connected, host, port, ssl=self._tls, limit=LONGEST)
        except OSError as error:
            raise BridgeError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
        self.address = (host, self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections, timeout=_LINGER)

    async def wait_for(self, wanted: int | Callable[[Arrival], bool], timeout: float = 10.0) -> list[Arrival]:
        """Wait for `wanted` arrivals, or for one that matches, and return those that match.

        Raises `TimeoutError` after `timeout` seconds.
        """
        async with asyncio.timeout(timeout), self._arrived:
            while True:
                fitting = self.arrivals if isinstance(wanted, int) else [a for a in self.arrivals if wanted(a)]
                if len(fitting) >= (wanted if isinstance(wanted, int) else 1):
                    return list(fitting)
                await self._arrived.wait()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= _CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._idle_timeout):
                raw = await _read(reader)
            if raw:
                await self._process(raw, writer)
            async with asyncio.timeout(_LINGER):
                await _hang_up(reader, writer)
        except OSError:  # the peer disconnected or exceeded the idle timeout
            pass
        finally:
            writer.transport.abort()

    async def _process(self, raw: bytes, writer: asyncio.StreamWriter) -> None:
        fault = self._fault_of(raw)
        await asyncio.sleep(fault.delay)
        arrival, answer = self._decide(raw, fault, _peer(writer))
        # Recorded first: a caller that has the response finds the arrival.
        await self._note(arrival)
        if not (fault.drop or fault.lose):
            await _send(writer, fault.spoil(answer), fault.segment)

    def _fault_of(self, raw: bytes) -> Fault:  # noqa: ARG002 - for subclasses
        return self.faults.take()

    def _decide(self, raw: bytes, fault: Fault, peer: str) -> tuple[Arrival, bytes]:
        """Process `raw`, unless the fault prevents it; return the arrival and the response."""
        at = self._now()
        request = read_request(raw)
        response = None if fault.drop else self._answer(raw, request, fault.status, at)
        status, answer = (response.status, response.to_xml()) if response else (None, b"")
        answered = not (fault.drop or fault.lose or fault.garbage)
        read = None if isinstance(request, Status) else request
        return Arrival(at, kind_of(request), read, raw, status, answered, peer), answer

    def _answer(self, raw: bytes, request: AnyRequest | Status, fault: int | None, at: datetime) -> Response:
        if fault is not None:
            return refuse(raw, fault, at)
        if isinstance(request, Status):
            return refuse(raw, request, at)
        try:
            return self.rules.respond(request, self.rules.judge(request, at), at)
        except StoreError as error:
            _log.error("%s", error)
            return self.rules.respond(request, Status.SERVER_ERROR, at)

    async def _note(self, arrival: Arrival) -> None:
        self.arrivals.append(arrival)
        async with self._arrived:
            self._arrived.notify_all()
        if self._on_arrival is not None:
            self._on_arrival(arrival)


def _peer(writer: asyncio.StreamWriter) -> str:
    host, port, *_ = writer.get_extra_info("peername") or ("unknown", 0)  # already disconnected
    return peer_name((host, port))


async def _read(reader: asyncio.StreamReader) -> bytes:
    """Read until the root closes, the peer stops, or the data is too long or not XML."""
    buffer = DocumentBuffer()
    raw = bytearray()
    while not buffer.complete and (data := await reader.read(4096)):
        raw += data
        try:
            buffer.feed(data)
        except MalformedMessage:
            return bytes(raw)
    return buffer.document if buffer.complete else bytes(raw)


async def _send(writer: asyncio.StreamWriter, answer: bytes, pause: float | None) -> None:
    if pause is None:
        writer.write(answer)
        await writer.drain()
        return
    for byte in answer:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(pause)


async def _hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close the sending side and read until the peer closes, too."""
    if writer.can_write_eof():
        writer.write_eof()
        while await reader.read(4096):
            pass
    writer.close()
    await writer.wait_closed()
