"""Commands to a panel over UDP (PROTOCOL.md, Local protocol). Datagrams get lost, so every command is retried."""

from __future__ import annotations

import asyncio
from typing import cast

from bridge.g90.control import PanelControl
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
    """Local control of the panel at `host`. `timeout`: seconds for each of the 1 + `retries` attempts."""

    def __init__(self, host: str, port: int = LOCAL_PORT, *, timeout: float = 2.0, retries: int = 3) -> None:
        super().__init__(f"{host}:{port}", timeout, retries)
        self._host = host
        self._port = port

    async def point_at(self, address: str, port: int) -> None:
        """Make the panel connect to `address`, an IPv4 address; it sends no response. Raises `FieldError`."""
        datagram = point_datagram(address, port)
        async with self._one_at_a_time:
            exchange = await self._open(None)
            try:
                exchange.send(datagram)
            finally:
                exchange.close()

    async def _attempt(self, code: int, data: list[object] | None) -> list[object]:
        """Send the command from a new port, so that a late response to an earlier attempt is not taken for this one."""
        exchange = await self._open(code)
        try:
            exchange.send(local_request(code, data))
            return await exchange.answer
        finally:
            exchange.close()

    async def _open(self, code: int | None) -> _Exchange:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout):
                remote = (self._host, self._port)
                _, exchange = await loop.create_datagram_endpoint(lambda: _Exchange(code), remote_addr=remote)
        except (OSError, ValueError, OverflowError) as error:  # also an invalid host name or port
            raise PanelCommandError(f"cannot reach {self._host}:{self._port}: {error}") from error
        return exchange


class _Exchange(asyncio.DatagramProtocol):
    """One request and its response. The socket is connected, so the kernel drops datagrams of other senders."""

    def __init__(self, code: int | None) -> None:
        self._code = code
        self.answer: asyncio.Future[list[object]] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def send(self, datagram: bytes) -> None:
        self._transport.sendto(datagram)

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
