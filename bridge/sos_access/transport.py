"""One TCP or TLS connection to one receiver: send a document, read a document (protocol page, "One exchange").

Every wait is bounded. This is the one place where errors of sockets and of TLS become `TransportError`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from ipaddress import ip_address
from typing import TYPE_CHECKING, Self

from bridge.common.text import clean
from bridge.sos_access.documents import DocumentBuffer
from bridge.sos_access.status import TransportError
from bridge.sos_access.tls import TlsPolicy, tls_context

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

__all__ = ["TCPTransport", "TlsPolicy", "peer_name", "tls_context"]

CLOSE_TIMEOUT = 1.0
"""Seconds for a TLS peer to say goodbye: the answer is in hand, nothing is lost by hanging up."""
_ADDRESSES = 4
"""Addresses of a name that are tried."""


class TCPTransport:
    """A connection as an async context manager.

    `address` is (host, port), host a name or an IPv4 or IPv6 literal; `timeout` bounds connecting, with the TLS
    handshake, and sending, `response_timeout` the whole response, both in seconds; `tls_verify` is what `tls_context`
    takes, or its result. Raises `ConfigError` for a bad `tls_verify`, later only `TransportError`.
    """

    def __init__(
        self,
        address: tuple[str, int],
        secure: bool = False,  # noqa: FBT001, FBT002 - the seed's parameter
        timeout: float = 5.0,
        *,
        response_timeout: float = 10.0,
        tls_verify: str | TlsPolicy = "none",
    ) -> None:
        self.address = address
        self.timeout = timeout
        self.response_timeout = response_timeout
        self._policy: TlsPolicy | None = None
        if secure:
            self._policy = tls_context(tls_verify) if isinstance(tls_verify, str) else tls_verify
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        with self._translated(f"no connection to {peer_name(self.address)} within {self.timeout:g} s"):
            async with asyncio.timeout(self.timeout):
                self._reader, self._writer = await self._connect()
        self._check_certificate(self._writer)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        writer, self._reader, self._writer = self._writer, None, None
        if writer is not None:
            if error is None:
                await _close(writer)
            else:
                writer.transport.abort()

    async def send(self, data: bytes) -> None:
        """Send `data` whole."""
        writer = self._connected()[1]
        with self._translated(f"{peer_name(self.address)} took no data for {self.timeout:g} s"):
            async with asyncio.timeout(self.timeout):
                writer.write(data)
                await writer.drain()

    async def receive(self) -> bytes:
        """Return one whole document, however many segments it comes in.

        Raises `TransportError`, and its subclass `MalformedMessage` for what cannot become a document.
        """
        reader = self._connected()[0]
        buffer = DocumentBuffer()
        with self._translated(f"no whole answer from {peer_name(self.address)} within {self.response_timeout:g} s"):
            async with asyncio.timeout(self.response_timeout):
                while not buffer.complete:
                    data = await reader.read(4096)
                    if not data:
                        raise TransportError(self._cut_off(len(buffer)))
                    buffer.feed(data)
        return buffer.document

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Try the addresses of the host one after the other, each for its share of the time.

        So a dead IPv6 route costs no alarm, and unlike asyncio's race between them no cancellation loses a socket.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + self.timeout
        host, port = self.address
        if _is_literal(host):  # looking it up would cost a thread's time
            return await self._open(host, port)
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))[:_ADDRESSES]
        for left in range(len(addresses), 1, -1):
            with contextlib.suppress(OSError):  # TimeoutError among them: the next one may do
                async with asyncio.timeout((end - loop.time()) / left):
                    return await self._open(addresses[-left], port)
        return await self._open(addresses[-1], port)

    async def _open(self, address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._policy is None:
            return await asyncio.open_connection(address, port)
        return await asyncio.open_connection(address, port, ssl=self._policy.context, server_hostname=self.address[0])

    def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader is None or self._writer is None:
            raise TransportError(f"not connected to {peer_name(self.address)}")
        return self._reader, self._writer

    def _cut_off(self, received: int) -> str:
        peer = peer_name(self.address)
        if received:
            return f"answer of {peer} cut off after {received} characters"
        return f"connection closed by {peer} without an answer"

    def _check_certificate(self, writer: asyncio.StreamWriter) -> None:
        """Hang up on a receiver that is not the pinned one, before anything was sent to it."""
        if self._policy is None:
            return
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        if not self._policy.trusts(tls.getpeercert(binary_form=True)):
            writer.transport.abort()
            raise TransportError(f"certificate of {peer_name(self.address)} is not the pinned one")

    @contextlib.contextmanager
    def _translated(self, timed_out: str) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            raise TransportError(timed_out) from None
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that cannot be one in DNS
            raise TransportError(_describe(error, self.address)) from error


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def peer_name(address: tuple[str, int]) -> str:
    """Return `host:port`, an IPv6 literal in brackets."""
    host, port = address
    return f"[{clean(host)}]:{port}" if ":" in host else f"{clean(host)}:{port}"


def _describe(error: OSError | UnicodeError, address: tuple[str, int]) -> str:
    """Say in one line what went wrong with whom."""
    peer = peer_name(address)
    match error:
        case ConnectionRefusedError():
            return f"connection refused by {peer}"
        case ConnectionResetError() | BrokenPipeError() | ConnectionAbortedError():
            return f"connection reset by {peer}"
        case ssl.SSLCertVerificationError():
            return f"certificate of {peer} not trusted: {clean(error.verify_message)}"
        case ssl.SSLError():
            return f"TLS with {peer} failed: {clean(error.reason or error)}"
        case socket.gaierror() | UnicodeError():
            return f"no address found for {clean(address[0])}"
        case _:
            return f"no connection with {peer}: {clean(error.strerror or error)}"


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await writer.wait_closed()
    except OSError:  # TimeoutError and ssl.SSLError among them: nothing is left to lose
        writer.transport.abort()
