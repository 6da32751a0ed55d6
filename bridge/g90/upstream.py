"""Chains panel connections to the vendor's cloud (PROTOCOL.md, Upstream).

Messages go upstream by a queue of their own, so an upstream that is slow, silent or gone delays nothing here. Only
whole messages pass, either way. A request that the upstream does not answer in time is answered by the bridge.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from bridge.common.backoff import Backoff
from bridge.common.errors import first
from bridge.common.lasting import LASTS
from bridge.g90.wire.frames import Frame, FrameBuffer, FrameError
from bridge.g90.wire.messages import answered_by, readdressed

_log = logging.getLogger(__name__)
_CHUNK: Final = 64 * 1024
_MOST_QUEUED: Final = 256 * 1024
"""Bytes that wait for an upstream, then it counts as lost."""
_MOST_REQUESTS: Final = 16


@dataclass(slots=True, kw_only=True)
class Upstream:
    """Address and timeouts of the vendor's cloud, shared by all connections; times in seconds."""

    host: str
    port: int
    connect_timeout: float = 5.0
    write_timeout: float = 10.0
    patience: float = 5.0
    """How long a panel waits for the upstream's answer, then the bridge answers."""
    silence: float = 150.0
    """Time without a byte, then the connection counts as lost: panels ping each minute, and each ping is answered."""
    first_pause: float = 1.0
    longest_pause: float = 60.0
    silent: bool = field(default=False, init=False)
    """It did not answer in time: until it does again, the bridge answers at once, on every connection."""


class PanelSide(Protocol):
    """What the proxy needs of the panel's connection."""

    def write(self, data: bytes) -> None:
        """Send bytes to the panel."""

    async def send(self, data: bytes) -> None:
        """Send bytes to the panel; wait while its receive buffer is full."""

    @property
    def who(self) -> str:
        """The panel in the log."""

    async def upstream_changed(self) -> None:
        """Handle that the upstream was connected or lost."""


@dataclass(slots=True)
class _Request:
    """A message of the panel that the upstream is to answer; `answered` by the bridge meanwhile."""

    answer: bytes
    at: float
    answered: bool


class UpstreamProxy:
    """Keeps one upstream connection while `run` runs. `announced`: host and port for the panel."""

    def __init__(self, upstream: Upstream, panel: PanelSide, announced: tuple[str, int]) -> None:
        self._upstream = upstream
        self._panel = panel
        self._announced = announced
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._queued = 0
        self._requests: defaultdict[str, deque[_Request]] = defaultdict(partial(deque, maxlen=_MOST_REQUESTS))
        self._accepts = True
        self._transport: asyncio.WriteTransport | None = None

    @property
    def connected(self) -> bool:
        return self._transport is not None

    def takes(self, raw: bytes, kind: str, answer: bytes) -> bool:
        """Queue one message of the panel; return False if the bridge has to answer it.

        `kind` names the answer that the message asks for, and `answer` is the one of the bridge.
        """
        if not self._accepts:
            return False
        self._queued += len(raw)
        if self._queued > _MOST_QUEUED:
            self._lose("takes no messages")
            return False
        self._queue.put_nowait(raw)
        if not answer:
            return True
        loop, silent = asyncio.get_running_loop(), self._upstream.silent
        self._requests[kind].append(_Request(answer, loop.time(), silent))
        if not silent:
            loop.call_later(self._upstream.patience, self._answer_overdue, loop.time())
        return not silent

    async def run(self) -> None:
        """Connect, pass messages, and reconnect when the upstream is lost, until cancelled."""
        backoff = Backoff(first=self._upstream.first_pause, longest=self._upstream.longest_pause)
        while True:
            if await self._once():
                backoff.reset()
            self._accepts = False
            self._answer_overdue(None)
            self._requests.clear()
            self._queue, self._queued = asyncio.Queue(), 0
            await asyncio.sleep(backoff.fail())

    async def _once(self) -> bool:
        """Hold one upstream connection until it ends; return whether it carried messages."""
        try:
            async with asyncio.timeout(self._upstream.connect_timeout):
                reader, writer = await asyncio.open_connection(self._upstream.host, self._upstream.port)
        except (OSError, TimeoutError) as error:
            self._warn(f"cannot connect: {error or 'timed out'}")
            return False
        carried = asyncio.Event()
        self._transport, self._accepts = writer.transport, True
        try:
            await self._panel.upstream_changed()
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(self._send(writer))
                await self._receive(reader, carried)
                sending.cancel()
        except* (OSError, TimeoutError, FrameError) as errors:
            self._warn(f"lost: {first(errors) or 'no data within the timeout'}")
        finally:
            self._transport = None
            writer.transport.abort()
        await self._panel.upstream_changed()
        return carried.is_set()

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        while True:
            raw = await self._queue.get()
            async with asyncio.timeout(self._upstream.write_timeout):
                writer.write(raw)
                await writer.drain()
            self._queued -= len(raw)

    async def _receive(self, reader: asyncio.StreamReader, carried: asyncio.Event) -> None:
        frames = FrameBuffer()
        while data := await self._read(reader):
            frames.feed(data)
            while frame := frames.take():
                carried.set()
                if self._wanted(frame):
                    await self._panel.send(readdressed(frame, *self._announced))

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        async with asyncio.timeout(self._upstream.silence):
            return await reader.read(_CHUNK)

    def _wanted(self, frame: Frame) -> bool:
        """Return whether the panel is to get a message of the upstream: not a late answer."""
        kind, last = answered_by(frame)
        requests = self._requests.get(kind)
        if not requests:
            return True
        request = requests.popleft() if last else requests[0]
        if last and asyncio.get_running_loop().time() - request.at < self._upstream.patience and self._upstream.silent:
            self._upstream.silent = False
            _log.info("upstream %s answers again", self._upstream.host)
        return not request.answered

    def _answer_overdue(self, asked: float | None) -> None:
        """Answer what was asked until then and the upstream did not answer; None: everything."""
        for requests in self._requests.values():
            for request in requests:
                if request.answered or (asked is not None and request.at > asked):
                    continue
                request.answered = True
                self._panel.write(request.answer)
                if asked is not None and not self._upstream.silent:
                    self._upstream.silent = True
                    _log.warning("upstream %s does not answer; the bridge does", self._upstream.host)

    def _warn(self, what: str) -> None:
        _log.warning("%s: upstream %s: %s", self._panel.who, self._upstream.host, what, extra=LASTS)

    def _lose(self, why: str) -> None:
        self._accepts = False
        if self._transport:
            self._warn(why)
            self._transport.abort()
