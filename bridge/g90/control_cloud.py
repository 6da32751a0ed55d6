"""Commands to a panel over the connection that it keeps (experimental: read off two captured messages)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from bridge.g90.control import PanelControl
from bridge.g90.wire.commands import CommandRefused, PanelCommandError, answer_data, body
from bridge.g90.wire.frames import MessageError
from bridge.g90.wire.messages import CommandRequest, CommandResponse, build_command

if TYPE_CHECKING:
    from collections.abc import Callable

_SEQUENCES = 0x10000


class PanelConnection(Protocol):
    """A panel's connection, as commands see it."""

    on_response: Callable[[CommandResponse], None] | None

    async def between(self) -> None:
        """Wait until a message of ours would not get inside one of the upstream's."""

    def write(self, data: bytes) -> None: ...


class CloudControl(PanelControl):
    """Cloud control of panel `guid`. `newest` returns its newest connection; `timeout`: seconds for each attempt."""

    def __init__(
        self, guid: str, newest: Callable[[], PanelConnection | None], *, timeout: float = 5.0, retries: int = 2
    ) -> None:
        super().__init__(f"panel {guid}", timeout, retries)
        self._guid = guid
        self._newest = newest
        self._sequence = 0

    async def _attempt(self, code: int, data: list[object] | None) -> list[object]:
        line = self._newest()
        if line is None:
            raise PanelCommandError(f"panel {self._guid} is not connected")
        await line.between()
        self._sequence = (self._sequence + 1) % _SEQUENCES
        wanted = (self._sequence, code)
        answer: asyncio.Future[CommandResponse] = asyncio.get_running_loop().create_future()

        def take(response: CommandResponse) -> None:
            if (response.sequence, response.code) == wanted and not answer.done():
                answer.set_result(response)

        line.on_response = take
        try:
            line.write(build_command(CommandRequest(self._sequence, code, body(code, data))))
            return self._read(code, await answer)
        finally:
            line.on_response = None

    def _read(self, code: int, response: CommandResponse) -> list[object]:
        try:
            found = answer_data(code, response.body)
        except MessageError as error:
            raise CommandRefused(f"panel {self._guid}: {error}") from error
        if found is None:
            raise CommandRefused(f"panel {self._guid} answered command {code} with another one's data")
        return found
