"""The TCP server that panels connect to, and its limits (PROTOCOL.md, Connection limits)."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from bridge.common.backoff import Backoff
from bridge.g90.connection import CloudConnection
from bridge.g90.connections import Connections
from bridge.g90.registry import PanelConfig, PanelHandler, PanelRegistry
from bridge.g90.state.model import PanelState
from bridge.g90.upstream import Upstream
from bridge.g90.wire.messages import CommandResponse
from bridge.g90.workers import Workers

_SWEEP_S: Final = 0.5
_CLOSE_S: Final = 2.0
_LISTEN_AGAIN_S: Final = 30.0
"""The longest wait until a port that is taken is tried again; panels try about each minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of the server; times in seconds (PROTOCOL.md, Connection limits)."""

    max_connections: int = 5000
    per_stranger_address: int = 4
    """Connections of one address at which no panel is known."""
    idle_timeout: float = 300.0
    """Without a complete message; then the connection is closed."""
    offline_after: float = 180.0
    burst: int = 1024
    """The listen backlog: connections waiting to be accepted."""


class PanelServer:
    """Holds the connections of all panels.

    `announce`: host and port sent to panels as their server, by default the address they connected to.
    `panels` by GUID; `states`: their stored states. With `accept_unknown`, every GUID that says hello becomes a panel.
    """

    def __init__(
        self,
        handler: PanelHandler,
        *,
        host: str = "0.0.0.0",  # noqa: S104 - panels are other machines
        port: int = 5678,
        announce: tuple[str, int] | None = None,
        upstream: Upstream | None = None,
        panels: Mapping[str, PanelConfig] = MappingProxyType({}),
        states: Mapping[str, PanelState] = MappingProxyType({}),
        connections: Connections | None = None,
        accept_unknown: bool = False,
        limits: Limits | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        panel_time: Callable[[], int] = lambda: int(time.time()),
        on_listening: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        """`panel_time` returns the Unix time to send to panels, 0 while it is unknown.

        `on_listening` is called with the reason each time that the port is not free, and with None once it listens.
        """
        self.panel_time = panel_time
        self._listen = (host, port)
        self._on_listening = on_listening
        self._announce = announce
        self._limits = limits or Limits()
        self.connections = Connections() if connections is None else connections
        self.workers: Workers | None = None
        self.upstream = upstream
        self.started = asyncio.Event()
        self.registry = PanelRegistry(
            handler,
            panels,
            states,
            accept_unknown=accept_unknown,
            offline_after=self._limits.offline_after,
            clock=clock,
        )

    async def run(self) -> None:
        """Serve until cancelled. A port that is in use is retried; silent panels are noticed meanwhile."""
        async with asyncio.TaskGroup() as tasks:
            self.workers = Workers(tasks)
            tasks.create_task(self._accept(), name="panel server: accept")
            await self._sweep()

    async def _accept(self) -> None:
        server = await self._listening()
        try:
            self.address: tuple[str, int] = server.sockets[0].getsockname()[:2]
            self.started.set()
            self._on_listening(None)
            await asyncio.Event().wait()
        finally:
            await self._close(server)

    async def _listening(self) -> asyncio.Server:
        loop, backoff, (host, port) = asyncio.get_running_loop(), Backoff(longest=_LISTEN_AGAIN_S), self._listen
        while True:
            try:
                return await loop.create_server(lambda: CloudConnection(self), host, port, backlog=self._limits.burst)
            except OSError as error:
                # asyncio's own text repeats the address; a name that cannot be resolved has a negative number.
                number = error.errno or 0
                why = os.strerror(number) if number > 0 else str(error)
                self._on_listening(f"cannot listen for panels on {host}:{port}: {why}")
                await asyncio.sleep(backoff.fail())

    def opened(self, connection: CloudConnection) -> bool:
        """Accept a new connection; return False if there are too many."""
        if self.workers is None or self._crowded(connection.address) or not self._make_room():
            return False
        self.connections.add(connection)
        return True

    def closed(self, connection: CloudConnection) -> None:
        self.connections.remove(connection)

    def responded(self, guid: str, response: CommandResponse) -> None:
        self.connections.responded(guid, response)

    def announced(self, local: tuple[str, int]) -> tuple[str, int]:
        return self._announce or local

    def _crowded(self, address: str) -> bool:
        if self.registry.knows_address(address):
            return False
        return self.connections.of_strangers(address) >= self._limits.per_stranger_address

    def _make_room(self) -> bool:
        """At the limit, close a connection of no panel or one its panel replaced; False if there is none."""
        if len(self.connections) < self._limits.max_connections:
            return True
        spare = self.connections.spare()
        if spare is None:
            return False
        self.closed(spare)
        spare.abort()
        return True

    async def _sweep(self) -> None:
        try:
            while True:
                await self.registry.sweep()
                self._close_idle()
                await asyncio.sleep(_SWEEP_S)
        finally:
            self.workers = None

    def _close_idle(self) -> None:
        limit = time.monotonic() - self._limits.idle_timeout
        for connection in self.connections:
            if connection.heard < limit:
                connection.abort()

    async def _close(self, server: asyncio.Server) -> None:
        server.close()
        for connection in self.connections:
            connection.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self.connections.until_empty()
                await server.wait_closed()
        for connection in self.connections:
            connection.abort()
