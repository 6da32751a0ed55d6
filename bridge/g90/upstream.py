"""Connects each panel connection to the vendor's cloud, unmodified in both directions (PROTOCOL.md, Upstream).

Only whole messages go upstream, so a new upstream connection never starts inside one. Bytes for the panel are passed on
at once, and message boundaries are tracked so that the bridge never writes inside a message. If the upstream is lost
inside one, the panel's connection is closed; the panel dials again.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Final, Protocol

from bridge.common.backoff import Backoff
from bridge.g90.wire.frames import FrameBuffer, FrameError

_log = logging.getLogger(__name__)
_CHUNK: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """Address and timeouts of the vendor's cloud; times in seconds."""

    host: str
    port: int
    connect_timeout: float = 5.0
    write_timeout: float = 10.0
    silence: float = 150.0
    """Time without a byte, then the connection counts as lost: panels ping each minute, and each ping is answered."""
    first_pause: float = 1.0
    longest_pause: float = 60.0


class PanelSide(Protocol):
    """What the proxy needs of the panel's connection."""

    async def send(self, data: bytes) -> None:
        """Send bytes to the panel; wait while its receive buffer is full."""

    def abort(self) -> None:
        """Close the panel's connection at once."""


class UpstreamProxy:
    """Keeps one upstream connection while `run` runs."""

    def __init__(self, upstream: Upstream, panel: PanelSide) -> None:
        self._upstream = upstream
        self._panel = panel
        self._writer: asyncio.StreamWriter | None = None
        self._boundary = FrameBuffer()
        self._followed = True
        self._decided = asyncio.Event()
        self.between = asyncio.Event()
        """Set while the bridge may write to the panel: no upstream message is incomplete."""
        self.between.set()

    async def forward(self, raw: bytes) -> bool:
        """Send one message of the panel upstream; return False if the upstream is not connected."""
        await self._decided.wait()
        writer = self._writer
        if writer is None or writer.is_closing():
            return False
        try:
            async with asyncio.timeout(self._upstream.write_timeout):
                writer.write(raw)
                await writer.drain()
        except (OSError, TimeoutError) as error:
            _log.warning("upstream %s: %s", self._upstream.host, error or "write timed out")
            writer.transport.abort()
            return False
        return True

    async def declined(self, raw: bytes) -> bool:
        """Send one message of the panel upstream; return True if it failed and the bridge has to answer instead."""
        return not await self.forward(raw) and self.between.is_set()

    async def run(self) -> None:
        """Connect, pass bytes to the panel, and reconnect when the upstream is lost, until cancelled."""
        try:
            await self._keep()
        finally:
            self._decided.set()

    async def _keep(self) -> None:
        backoff = Backoff(first=self._upstream.first_pause, longest=self._upstream.longest_pause)
        while True:
            if await self._once():
                backoff.reset()
            if not self.between.is_set():
                _log.warning("upstream %s lost inside a message; closing the panel's connection", self._upstream.host)
                self._panel.abort()
                return
            await asyncio.sleep(backoff.fail())

    async def _once(self) -> bool:
        """Hold one upstream connection until it ends; return whether it carried data."""
        carried = False
        try:
            async with asyncio.timeout(self._upstream.connect_timeout):
                reader, writer = await asyncio.open_connection(self._upstream.host, self._upstream.port)
        except (OSError, TimeoutError) as error:
            _log.warning("cannot connect to upstream %s: %s", self._upstream.host, error or "timed out")
            self._decided.set()
            return carried
        self._writer = writer
        self._decided.set()
        try:
            while data := await self._read(reader):
                carried = True
                self._follow(data)
                await self._panel.send(data)
        except (OSError, TimeoutError) as error:
            _log.warning("upstream %s lost: %s", self._upstream.host, error or "no data within the timeout")
        finally:
            self._writer = None
            writer.transport.abort()
        return carried

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        async with asyncio.timeout(self._upstream.silence):
            return await reader.read(_CHUNK)

    def _follow(self, data: bytes) -> None:
        """Track the upstream's message boundaries; after a fault in them the bridge never writes to the panel again."""
        if not self._followed:
            return
        self._boundary.feed(data)
        try:
            while self._boundary.take():
                pass
        except FrameError as error:
            self._followed = False
            self.between.clear()
            _log.warning("upstream %s sent an invalid frame: %s", self._upstream.host, error)
        else:
            (self.between.clear if len(self._boundary) else self.between.set)()
