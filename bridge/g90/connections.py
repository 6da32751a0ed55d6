"""The open connections of all panels: the server adds and removes them, cloud control looks them up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from bridge.g90.connection import CloudConnection
from bridge.g90.wire.messages import CommandResponse


class Connections:
    """Open connections in the order in which they were accepted."""

    def __init__(self) -> None:
        self._open: dict[CloudConnection, None] = {}
        self._empty = asyncio.Event()
        self._empty.set()
        self.listeners: dict[str, Callable[[CommandResponse], None]] = {}
        """Who awaits a panel's response, by GUID."""

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[CloudConnection]:
        """Iterate over a copy: closing one removes it."""
        return iter(list(self._open))

    def add(self, connection: CloudConnection) -> None:
        self._open[connection] = None
        self._empty.clear()

    def remove(self, connection: CloudConnection) -> None:
        self._open.pop(connection, None)
        if not self._open:
            self._empty.set()

    async def until_empty(self) -> None:
        await self._empty.wait()

    def newest(self, guid: str) -> CloudConnection | None:
        """Return the connection for commands to a panel: the newest on which it said hello."""
        own = (c for c in reversed(self._open) if c.is_open and c.panel and c.panel.config.guid == guid)
        return next(own, None)

    def responded(self, guid: str, response: CommandResponse) -> None:
        if listener := self.listeners.get(guid):
            listener(response)

    def of_strangers(self, address: str) -> int:
        """Return how many connections from `address` belong to no panel."""
        return sum(connection.address == address and connection.panel is None for connection in self._open)

    def spare(self) -> CloudConnection | None:
        """Return a connection that can be closed for another: a stranger's, or one that its panel replaced."""
        return next((c for c in self._open if c.panel is None), None) or self._replaced()

    def _replaced(self) -> CloudConnection | None:
        newest = {connection.panel.config.guid: connection for connection in self._open if connection.panel}
        return next((c for c in self._open if c not in newest.values()), None)
