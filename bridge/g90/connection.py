"""One TCP connection of a panel: reads messages, hands reports to the registry, answers (PROTOCOL.md, Messages).

A ping or hello that changes nothing is answered at once. Any other message is processed, and its event stored, before
the next one is read; reading pauses if more data arrives meanwhile, so a flood stays in the panel's send buffer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from bridge.g90.state.model import UpstreamLink
from bridge.g90.upstream import Upstream, UpstreamProxy
from bridge.g90.wire.events import A_CLOCK, Alert, Form, Notice
from bridge.g90.wire.frames import FrameError, MessageError
from bridge.g90.wire.messages import PING, CommandResponse, Discovery, Hello, Ping, asks_for, is_guid
from bridge.g90.wire.session import PanelSession, ReceivedMessage, Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from bridge.g90.registry import PanelRegistry, RegisteredPanel

_log = logging.getLogger(__name__)
_WHOLE: Final = {PING: ReceivedMessage(Ping(), PING, PING)}
_MAX_SKIPPED_LOGGED: Final = 3
"""Per connection, so that a flood of garbage does not fill the log."""


class Owner(Protocol):
    """What a connection needs of the server."""

    registry: PanelRegistry
    upstream: Upstream | None

    @property
    def panel_time(self) -> Callable[[], int]:
        """Return the Unix time to send to panels, in seconds; 0 if unknown."""

    def opened(self, connection: CloudConnection) -> bool:
        """Accept a new connection; return False if there are too many."""

    def closed(self, connection: CloudConnection) -> None: ...

    def responded(self, guid: str, response: CommandResponse) -> None:
        """Take a panel's response to a command."""

    def announced(self, local: tuple[str, int]) -> tuple[str, int]:
        """Return the host and port to send to a panel that connected to `local`."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Run `work` as a task that the server owns; return None if the server is stopping."""


class CloudConnection(asyncio.Protocol):
    """One connection. `panel` is set by the first hello of a known panel."""

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
        self._whole: Mapping[bytes, ReceivedMessage] = _WHOLE
        """Whole messages that may change nothing: pings, and the last report if it is a status change with a time."""
        self.address = ""
        self.heard = time.monotonic()
        self.panel: RegisteredPanel | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.address = _plain(peer[0]) if peer else ""
        announced = self._owner.announced(transport.get_extra_info("sockname")[:2])
        self._session = PanelSession(*announced)
        if not peer or not self._owner.opened(self):  # no peer: closed before it was accepted
            self.abort()
        elif self._owner.upstream:
            self._proxy = UpstreamProxy(self._owner.upstream, self, announced)
            self._proxy_task = self._owner.spawn(self._proxy.run())

    def data_received(self, data: bytes) -> None:
        known = self._whole.get(data)
        if known and not self._working and self._session.at_boundary and self._quick(known):
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
    def who(self) -> str:
        """The other end in the log."""
        return f"panel {self.panel.config.label} at {self.address}" if self.panel else f"{self.address}, no panel yet"

    @property
    def is_open(self) -> bool:
        return not self._transport.is_closing()

    def write(self, data: bytes) -> None:
        if data and not self._transport.is_closing():
            self._transport.write(data)

    async def send(self, data: bytes) -> None:
        """Send bytes; wait while the panel's receive buffer is full."""
        self.write(data)
        await self._writable.wait()

    def close(self) -> None:
        """Close after sending what was written."""
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def _advance(self) -> None:
        while received := self._next():
            if not self._quick(received):
                self._working = self._owner.spawn(self._work(received)) is not None
                return

    async def _work(self, received: ReceivedMessage | None) -> None:
        while received:
            await self._process(received)
            received = self._next()
        self._working = self._flooded = False
        self._balance()

    def _next(self) -> ReceivedMessage | None:
        try:
            received = self._session.read(self._owner.panel_time())
        except FrameError as error:
            if self.is_open:
                _log.warning("%s: connection closed: %s", self.who, error)
            self.abort()
            return None
        if received:
            self.heard = time.monotonic()
        return received

    def _quick(self, received: ReceivedMessage) -> bool:
        """Answer a ping, a hello or a repeated report that changes nothing; return False for any other message."""
        repeated = received.raw in self._whole
        if self._proxy or not (repeated or isinstance(received.message, Ping | Hello)):
            return False
        panel, hello = self.panel, isinstance(received.message, Hello)
        if hello and (panel is None or panel.config.guid != self._session.guid):
            return False
        firmware = received.message.firmware if isinstance(received.message, Hello) else None
        if isinstance(received.message, Alert) and panel is None:
            return False
        if panel and not self._owner.registry.is_quiet(panel, self.address, firmware):
            return False
        self.write(received.answer)
        return True

    async def _process(self, received: ReceivedMessage) -> None:
        match received.message:
            case Hello() | Discovery() as hello:
                await self._greet(hello)
            case Ping() if self.panel:
                await self._owner.registry.alive(self.panel, self.address)
            case CommandResponse() as response if self.panel:
                self._owner.responded(self.panel.config.guid, response)
            case Alert() | Notice() as report:
                await self._report(report, received.raw)
            case Unreadable(reason):
                self._skip(reason)
        kind = asks_for(received.message)
        if self._proxy is None or not self._proxy.takes(received.raw, kind, received.answer):
            await self.send(received.answer)

    async def _greet(self, hello: Hello | Discovery) -> None:
        registry, before = self._owner.registry, self.panel
        self.panel = await registry.admit(hello.guid, self.address)
        if self.panel:
            await registry.alive(self.panel, self.address, hello.firmware)
            if self.panel is not before:
                await self.upstream_changed()
                registry.greeted(self.panel, self.address)
        elif hello.guid in registry.panels:
            self.abort()

    async def upstream_changed(self) -> None:
        """Note whether the panel is connected to its upstream."""
        if self._proxy and self.panel:
            await self._owner.registry.take(self.panel, UpstreamLink(self._proxy.connected))

    async def _report(self, report: Alert | Notice, raw: bytes) -> None:
        registry = self._owner.registry
        guid = self._guid_of(report)
        self._whole = _WHOLE  # a second report of anything makes the first no repetition
        panel = await (registry.admit(guid, self.address) if guid else registry.at_address(self.address))
        if panel is None:
            return
        try:
            await registry.take(panel, report)
            if isinstance(report, Alert) and report.form is Form.STATUS and (report.time or 0) >= A_CLOCK:
                self._whole = {**_WHOLE, raw: ReceivedMessage(report, raw)}
        except MessageError as error:
            self._skip(str(error))
        await registry.alive(panel, self.address)

    def _guid_of(self, report: Alert | Notice) -> str | None:
        """Return whom a report is about. A GUID that cannot be one yields to the hello's: the alarm counts."""
        named = (report.guid or "").strip() if isinstance(report, Alert) else ""
        greeted = self._session.guid
        if greeted is not None and (not is_guid(named) or named.startswith(greeted)):
            return greeted
        return named if is_guid(named) else None

    def _skip(self, reason: str) -> None:
        self._skipped += 1
        if self._skipped <= _MAX_SKIPPED_LOGGED:
            _log.info("%s: skipped %s", self.who, reason)

    def _balance(self) -> None:
        """Pause reading while messages are waiting to be processed or the panel takes no bytes."""
        wanted = not (self._flooded or self._congested)
        if wanted == self._reading or self._transport.is_closing():
            return
        self._reading = wanted
        (self._transport.resume_reading if wanted else self._transport.pause_reading)()


def _plain(address: str) -> str:
    """Return `address`; an IPv4-mapped IPv6 address as IPv4."""
    parsed = ip_address(address.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped or parsed)
