"""The vendor's cloud behind the bridge: one upstream connection for one panel's, bytes both ways as they come.

Towards the upstream go whole messages, so that a new upstream connection never begins in the middle of one. Towards the
panel every byte goes on at once; where the messages end is followed, so that nothing of ours gets inside one, and the
panel is cut off if the upstream is lost inside one: it dials again and both ends are in step.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from bridge.g90.wire.frames import FrameBuffer, FrameError

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)
_CHUNK: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """Where the vendor's cloud is, and how patient we are with it; times in seconds."""

    host: str
    port: int
    connect_timeout: float = 5.0
    write_timeout: float = 10.0
    silence: float = 150.0
    """A cloud that answers no ping for so long is not there: panels send one each minute."""
    first_pause: float = 1.0
    longest_pause: float = 60.0


class PanelSide(Protocol):
    """The panel's connection, as the relay sees it."""

    async def send(self, data: bytes) -> None:
        """Send bytes to the panel, waiting while it does not take them."""

    def abort(self) -> None:
        """Cut the panel off."""


class UpstreamProxy:
    """Keeps one upstream connection for as long as `run` runs."""

    def __init__(self, upstream: Upstream, panel: PanelSide, on_upstream: Callable[[], None]) -> None:
        self._upstream = upstream
        self._panel = panel
        self._on_upstream = on_upstream
        self._writer: asyncio.StreamWriter | None = None
        self._boundary = FrameBuffer()
        self._followed = True
        self._decided = asyncio.Event()
        self.between = asyncio.Event()
        """Set while bytes of ours may go to the panel."""
        self.between.set()

    async def forward(self, raw: bytes) -> bool:
        """Send one whole message of the panel upstream; False if the upstream is away."""
        await self._decided.wait()
        writer = self._writer
        if writer is None or writer.is_closing():
            return False
        try:
            async with asyncio.timeout(self._upstream.write_timeout):
                writer.write(raw)
                await writer.drain()
        except (OSError, TimeoutError) as error:
            _log.warning("upstream %s: %s", self._upstream.host, error or "takes no more bytes")
            writer.transport.abort()
            return False
        return True

    async def declined(self, raw: bytes) -> bool:
        """Send one whole message of the panel upstream; True if the upstream is away and we are to answer it."""
        return not await self.forward(raw) and self.between.is_set()

    async def run(self) -> None:
        """Connect, carry bytes to the panel, and connect again when the upstream is lost; until cancelled."""
        try:
            await self._keep()
        finally:
            self._decided.set()

    async def _keep(self) -> None:
        pause = self._upstream.first_pause
        while True:
            carried = await self._once()
            pause = self._upstream.first_pause if carried else min(pause * 2, self._upstream.longest_pause)
            if not self.between.is_set():
                _log.warning("upstream %s was lost inside a message: the panel has to dial again", self._upstream.host)
                self._panel.abort()
                return
            await asyncio.sleep(pause)

    async def _once(self) -> bool:
        """Hold one upstream connection to its end; tell whether it carried anything."""
        carried = False
        try:
            async with asyncio.timeout(self._upstream.connect_timeout):
                reader, writer = await asyncio.open_connection(self._upstream.host, self._upstream.port)
        except (OSError, TimeoutError) as error:
            _log.warning("upstream %s cannot be reached: %s", self._upstream.host, error or "no answer in time")
            self._decided.set()
            return carried
        self._writer = writer
        self._decided.set()
        try:
            while data := await self._read(reader):
                carried = True
                self._on_upstream()
                self._follow(data)
                await self._panel.send(data)
        except (OSError, TimeoutError) as error:
            _log.warning("upstream %s was lost: %s", self._upstream.host, error or "silent for too long")
        finally:
            self._writer = None
            writer.transport.abort()
        return carried

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        async with asyncio.timeout(self._upstream.silence):
            return await reader.read(_CHUNK)

    def _follow(self, data: bytes) -> None:
        """Follow where the upstream's messages end; once that is lost, nothing of ours goes between them."""
        if not self._followed:
            return
        self._boundary.feed(data)
        try:
            while self._boundary.take():
                pass
        except FrameError as error:
            self._followed = False
            self.between.clear()
            _log.warning("upstream %s cannot be followed: %s", self._upstream.host, error)
        else:
            (self.between.clear if len(self._boundary) else self.between.set)()
