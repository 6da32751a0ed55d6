"""One connection to one receiver, as the `sos-access` library has it (PROTOCOL.md, One exchange)."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from bridge.sos_access.connection import Connection, Dialer
from bridge.sos_access.documents import DocumentBuffer
from bridge.sos_access.peer import Peer, peer_name
from bridge.sos_access.status import TransportError
from bridge.sos_access.tls import TlsPolicy, tls_context


class AsyncTCPTransport:
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
        tls_verify: str | TlsPolicy = "system",
    ) -> None:
        policy = (tls_context(tls_verify) if isinstance(tls_verify, str) else tls_verify) if secure else None
        self._peer = Peer(address, policy, connect_timeout=timeout, response_timeout=response_timeout)
        self._dialer = Dialer()
        self._connection: Connection | None = None

    async def __aenter__(self) -> Self:
        self._connection = await self._dialer.connect(self._peer)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            if error is None:
                connection.close()
            else:
                connection.abort()

    async def send(self, data: bytes) -> None:
        await self._connected().send(data)

    async def receive(self) -> bytes:
        """Return one complete document, received in any number of segments.

        Raises `TransportError`, and its subclass `MalformedMessage` for what cannot become a document.
        """
        buffer = DocumentBuffer()
        buffer.feed(raw := await self._connected().receive())
        if not buffer.complete:
            raise TransportError(f"response of {peer_name(self._peer.address)} cut off after {len(raw)} characters")
        return buffer.document

    def _connected(self) -> Connection:
        if self._connection is None:
            raise TransportError(f"not connected to {peer_name(self._peer.address)}")
        return self._connection
