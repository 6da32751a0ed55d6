"""Commands to a panel over UDP, retried as datagrams get lost (PROTOCOL.md, Local protocol)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from bridge.g90.control import ATTEMPT_S, RETRIES, PanelControl
from bridge.g90.wire.commands import (
    CommandRefused,
    PanelCommandError,
    answer_data,
    local_request,
    point_datagram,
    unwrap,
)
from bridge.g90.wire.constants import LOCAL_PORT
from bridge.g90.wire.frames import MessageError


class LocalControl(PanelControl):
    """Local control of the panel at `host`. `timeout`: seconds between its 1 + `retries` attempts."""

    def __init__(
        self, host: str, port: int = LOCAL_PORT, *, timeout: float = ATTEMPT_S, retries: int = RETRIES
    ) -> None:
        super().__init__(f"{host}:{port}", timeout, retries)
        self.host = host
        self._port = port

    async def point_at(self, address: str, port: int) -> None:
        """Make the panel connect to `address`, an IPv4 address; it sends no response. Raises `FieldError`."""
        datagram = point_datagram(address, port)
        async with self._one_at_a_time, self._open(None, datagram) as exchange:
            await exchange.send()

    @asynccontextmanager
    async def _exchange(self, code: int, data: list[object] | None) -> AsyncIterator[_UdpExchange]:
        """A new port for each request: a late response to an earlier one is not taken for this one's."""
        async with self._open(code, local_request(code, data)) as exchange:
            yield exchange

    @asynccontextmanager
    async def _open(self, code: int | None, datagram: bytes) -> AsyncIterator[_UdpExchange]:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout):
                remote = (self.host, self._port)
                _, exchange = await loop.create_datagram_endpoint(
                    lambda: _UdpExchange(code, datagram), remote_addr=remote
                )
        except (OSError, ValueError, OverflowError) as error:  # also an invalid host name or port
            reason = str(error) or "timed out"
            raise PanelCommandError(f"cannot reach {self.host}:{self._port}: {reason}") from error
        try:
            yield exchange
        finally:
            exchange.close()


class _UdpExchange(asyncio.DatagramProtocol):
    """One request and its response. The socket is connected: the kernel drops datagrams of other senders."""

    def __init__(self, code: int | None, datagram: bytes) -> None:
        self._code = code
        self._datagram = datagram
        self.answer: asyncio.Future[list[object]] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    async def send(self) -> None:
        self._transport.sendto(self._datagram)

    def close(self) -> None:
        self._transport.close()
        self.answer.cancel()

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:  # noqa: ARG002 - asyncio's
        if self.answer.done() or self._code is None:
            return
        try:
            found = answer_data(self._code, unwrap(data))
        except CommandRefused as error:
            self.answer.set_exception(error)
        except MessageError:
            return  # not a response of the protocol; the panel's own may still come
        else:
            if found is not None:
                self.answer.set_result(found)

    def error_received(self, exc: Exception) -> None:
        """Ignore it: the attempt times out and the next one follows."""
