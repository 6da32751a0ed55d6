"""One TCP or TLS connection to one receiver (PROTOCOL.md, One exchange).

Every wait is bounded. Only here errors of sockets and TLS become `TransportError`.
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

CLOSE_TIMEOUT = 1.0
"""Seconds to wait for the TLS peer to close; the response is complete, so nothing is lost after that."""
_ADDRESSES = 4
"""Addresses of a host name that are tried (PROTOCOL.md, Time limits)."""


class TCPTransport:
    """A connection as an async context manager.

    `address` is (host, port), host a name or an IPv4 or IPv6 literal; `timeout` bounds connecting, with the TLS
    handshake, and sending, `response_timeout` the whole response, both in seconds; `tls_verify` is what `tls_context`
    takes, or its result. Raises `ConfigError` for a bad `tls_verify`, later only `TransportError`.
    """

    def __init__(
        self,
        address: tuple[str, int],
        secure: bool = False,  # noqa: FBT001, FBT002 - a parameter of sos-access
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
        """Send all of `data`."""
        writer = self._connected()[1]
        with self._translated(f"{peer_name(self.address)} read no data for {self.timeout:g} s"):
            async with asyncio.timeout(self.timeout):
                writer.write(data)
                await writer.drain()

    async def receive(self) -> bytes:
        """Return one complete document, received in any number of segments.

        Raises `TransportError`, and its subclass `MalformedMessage` for what cannot become a document.
        """
        reader = self._connected()[0]
        buffer = DocumentBuffer()
        with self._translated(
            f"no complete response from {peer_name(self.address)} within {self.response_timeout:g} s"
        ):
            async with asyncio.timeout(self.response_timeout):
                while not buffer.complete:
                    data = await reader.read(4096)
                    if not data:
                        raise TransportError(self._cut_off(len(buffer)))
                    buffer.feed(data)
        return buffer.document

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Try the addresses of the host one after the other, each for its share of the remaining time.

        A dead IPv6 route then loses no alarm. Unlike happy eyeballs of asyncio, cancellation leaks no socket.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + self.timeout
        host, port = self.address
        if _is_literal(host):  # needs no look-up
            return await self._open(host, port)
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))[:_ADDRESSES]
        for left in range(len(addresses), 1, -1):
            with contextlib.suppress(OSError):  # includes TimeoutError
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
            return f"response of {peer} cut off after {received} characters"
        return f"connection closed by {peer} without a response"

    def _check_certificate(self, writer: asyncio.StreamWriter) -> None:
        """Disconnect from a receiver without the pinned certificate before anything is sent."""
        if self._policy is None:
            return
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        if not self._policy.trusts(tls.getpeercert(binary_form=True)):
            writer.transport.abort()
            raise TransportError(f"certificate of {peer_name(self.address)} does not match the pin in tls_verify")

    @contextlib.contextmanager
    def _translated(self, timed_out: str) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            raise TransportError(timed_out) from None
        except (OSError, UnicodeError) as error:  # UnicodeError: not a DNS name
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
    """Return one line with the peer and the failure."""
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
    except OSError:  # includes TimeoutError and ssl.SSLError; the response is complete
        writer.transport.abort()
