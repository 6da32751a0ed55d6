"""One panel's TCP connection: the session's bytes and the registry's panels, joined.

What changes nothing (a ping, another hello) is answered at once. Anything else is done with, its event stored, before
the next message is looked at; reading pauses if more comes meanwhile, so a flood stays in the panel's own socket.
"""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from bridge.g90.upstream import Upstream, UpstreamProxy
from bridge.g90.wire.events import Alert, Notice
from bridge.g90.wire.frames import FrameError, MessageError
from bridge.g90.wire.messages import PING, CommandResponse, Discovery, Hello, Ping
from bridge.g90.wire.session import ReceivedMessage, Session, Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from bridge.g90.registry import PanelRegistry, RegisteredPanel

_log = logging.getLogger(__name__)
_WHOLE_PING: Final = ReceivedMessage(Ping(), PING, PING)
_MOST_SKIPPED_TOLD: Final = 3
"""Of one connection: a flood of garbage does not fill the log."""


class Owner(Protocol):
    """The server, as a connection sees it."""

    registry: PanelRegistry
    upstream: Upstream | None

    @property
    def panel_time(self) -> Callable[[], int]:
        """The Unix time that panels are told, in seconds."""

    def opened(self, connection: Connection) -> bool:
        """Take a new connection; False if there are too many."""

    def closed(self, connection: Connection) -> None: ...

    def announced(self, local: tuple[str, int]) -> tuple[str, int]:
        """Return what a panel that dialled `local` is told to dial."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Run `work` as a task that the server owns; None when it is stopping."""


class Connection(asyncio.Protocol):
    """A connection from its first byte to its last; `panel` is whose it is, once a hello said so."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._skipped = 0
        self._working = False
        self._flooded = False
        self._congested = False
        self._reading = True
        self._writable = asyncio.Event()
        self._writable.set()
        self._proxy: UpstreamProxy | None = None
        self._proxy_task: asyncio.Task[None] | None = None
        self.address = ""
        self.heard = time.monotonic()
        self.panel: RegisteredPanel | None = None
        self.on_response: Callable[[CommandResponse], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.address = _plain(peer[0]) if peer else ""
        self._session = Session(*self._owner.announced(transport.get_extra_info("sockname")[:2]))
        if not peer or not self._owner.opened(self):  # without a peer: gone before it was taken
            self.abort()
        elif self._owner.upstream:
            self._proxy = UpstreamProxy(self._owner.upstream, self, self._upstream_spoke)
            self._proxy_task = self._owner.spawn(self._proxy.run())

    def data_received(self, data: bytes) -> None:
        if not self._working and self._session.is_whole_ping(data) and self._quick(_WHOLE_PING):
            self.heard = time.monotonic()
            return
        self._session.feed(data)
        if self._working:
            self._flooded = True
            self._balance()
        else:
            self._advance()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        self._writable.set()
        if self._proxy_task:
            self._proxy_task.cancel()
        self._owner.closed(self)

    def pause_writing(self) -> None:
        self._congested = True
        self._writable.clear()
        self._balance()

    def resume_writing(self) -> None:
        self._congested = False
        self._writable.set()
        self._balance()

    @property
    def is_open(self) -> bool:
        return not self._transport.is_closing()

    async def between(self) -> None:
        """Wait until bytes of ours do not get inside a message of the upstream."""
        if self._proxy:
            await self._proxy.between.wait()

    def write(self, data: bytes) -> None:
        if data and not self._transport.is_closing():
            self._transport.write(data)

    async def send(self, data: bytes) -> None:
        """Send bytes, waiting while the panel does not take them."""
        self.write(data)
        await self._writable.wait()

    def close(self) -> None:
        """Close once what was written is sent."""
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def _advance(self) -> None:
        while reading := self._next():
            if not self._quick(reading):
                self._working = self._owner.spawn(self._work(reading)) is not None
                return

    async def _work(self, reading: ReceivedMessage | None) -> None:
        while reading:
            await self._take(reading)
            reading = self._next()
        self._working = self._flooded = False
        self._balance()

    def _next(self) -> ReceivedMessage | None:
        try:
            reading = self._session.read(self._owner.panel_time())
        except FrameError as error:
            if self.is_open:
                _log.warning("%s was disconnected: %s", self.address, error)
            self.abort()
            return None
        if reading:
            self.heard = time.monotonic()
        return reading

    def _quick(self, reading: ReceivedMessage) -> bool:
        """Answer what changes nothing; False for what needs more."""
        if self._proxy or not isinstance(reading.message, Ping | Hello):
            return False
        panel, hello = self.panel, isinstance(reading.message, Hello)
        if hello and (panel is None or panel.config.guid != self._session.guid):
            return False
        firmware = reading.message.firmware if isinstance(reading.message, Hello) else None
        if panel and not self._owner.registry.is_quiet(panel, self.address, firmware):
            return False
        self.write(reading.answer)
        return True

    async def _take(self, reading: ReceivedMessage) -> None:
        match reading.message:
            case Hello() | Discovery() as hello:
                await self._greet(hello)
            case Ping() if self.panel:
                await self._owner.registry.alive(self.panel, self.address)
            case CommandResponse() as response if self.on_response:
                self.on_response(response)
            case Alert() | Notice() as report:
                await self._report(report)
            case Unreadable(reason):
                self._skip(reason)
        if self._proxy is None or await self._proxy.declined(reading.raw):
            await self.send(reading.answer)

    async def _greet(self, hello: Hello | Discovery) -> None:
        registry = self._owner.registry
        self.panel = await registry.admit(hello.guid, self.address)
        if self.panel:
            await registry.alive(self.panel, self.address, hello.firmware)
        elif hello.guid in registry.panels:
            self.abort()

    async def _report(self, report: Alert | Notice) -> None:
        registry = self._owner.registry
        guid = (report.guid if isinstance(report, Alert) else None) or self._session.guid
        panel = await (registry.admit(guid, self.address) if guid else registry.at_address(self.address))
        if panel is None:
            return
        try:
            await registry.report(panel, report)
        except MessageError as error:
            self._skip(str(error))
        await registry.alive(panel, self.address)

    def _skip(self, reason: str) -> None:
        self._owner.registry.counters["skipped"] += 1
        self._skipped += 1
        if self._skipped <= _MOST_SKIPPED_TOLD:
            _log.info("%s: skipped %s", self.address, reason)

    def _balance(self) -> None:
        """Read as long as what came is worked on in time and the panel takes our bytes."""
        wanted = not (self._flooded or self._congested)
        if wanted == self._reading or self._transport.is_closing():
            return
        self._reading = wanted
        (self._transport.resume_reading if wanted else self._transport.pause_reading)()

    def _upstream_spoke(self) -> None:
        if self.panel:
            self.panel.upstream_time = datetime.now(UTC)


def _plain(address: str) -> str:
    """Return an IPv4 address that came over an IPv6 socket as what it is."""
    parsed = ip_address(address.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped or parsed)
