"""Commands to a panel over the connections that it keeps.

Experimental: read off two captured messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bridge.g90.connections import Connections
from bridge.g90.control import ATTEMPT_S, RETRIES, PanelControl
from bridge.g90.wire.commands import CommandRefused, PanelCommandError, answer_data, body, named
from bridge.g90.wire.frames import MessageError
from bridge.g90.wire.messages import CommandRequest, CommandResponse, build_command

_SEQUENCES = 0x10000


class CloudControl(PanelControl):
    """Cloud control of panel `guid` over its newest connection; a response may come on any of them."""

    def __init__(
        self, guid: str, connections: Connections, *, timeout: float = ATTEMPT_S, retries: int = RETRIES
    ) -> None:
        super().__init__(f"panel {guid}", timeout, retries)
        self._guid = guid
        self._connections = connections
        self._sequence = 0

    @asynccontextmanager
    async def _exchange(self, code: int, data: list[object] | None) -> AsyncIterator[_CloudExchange]:
        self._sequence = (self._sequence + 1) % _SEQUENCES
        request = CommandRequest(self._sequence, code, body(code, data))
        exchange = _CloudExchange(self._guid, self._connections, request)
        self._connections.listeners[self._guid] = exchange.take
        try:
            yield exchange
        finally:
            del self._connections.listeners[self._guid]
            exchange.answer.cancel()


class _CloudExchange:
    def __init__(self, guid: str, connections: Connections, request: CommandRequest) -> None:
        self._guid = guid
        self._connections = connections
        self._request = request
        self.answer: asyncio.Future[list[object]] = asyncio.get_running_loop().create_future()

    async def send(self) -> None:
        line = self._connections.newest(self._guid)
        if line is None:
            raise PanelCommandError(f"panel {self._guid} is not connected")
        line.write(build_command(self._request))

    def take(self, response: CommandResponse) -> None:
        if (response.sequence, response.code) != (self._request.sequence, self._request.code) or self.answer.done():
            return
        try:
            found = answer_data(response.code, response.body)
        except MessageError as error:
            self.answer.set_exception(CommandRefused(f"panel {self._guid}: {error}"))
        except CommandRefused as error:
            self.answer.set_exception(error)
        else:
            if found is None:
                fault = f"panel {self._guid} answered the command {named(response.code)} with data of another command"
                self.answer.set_exception(CommandRefused(fault))
            else:
                self.answer.set_result(found)
