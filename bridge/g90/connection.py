"""One TCP connection of a panel: reads messages, hands reports to the registry, answers (PROTOCOL.md, Messages).

What changes nothing is answered at once. Any other message is processed, and its event stored, before the next one is
read; reading pauses if more data arrives meanwhile, so a flood stays in the panel's send buffer. The answers to all
that came at once are one write.
"""

from __future__ import annotations

import asyncio
import logging
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from bridge.g90.state.model import UpstreamLink
from bridge.g90.upstream import Upstream, UpstreamProxy
from bridge.g90.wire.events import Alert, Notice
from bridge.g90.wire.frames import FrameError, MessageError
from bridge.g90.wire.messages import CommandResponse, Discovery, Hello, Ping, asks_for, is_guid
from bridge.g90.wire.session import PanelSession, ReceivedMessage, Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from bridge.g90.registry import Attempt, PanelRegistry, RegisteredPanel

_log = logging.getLogger(__name__)
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
        self._unsent = bytearray()
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
        self._session.feed(data)
        if self._working:
            self._flooded = True
            self._balance()
        elif rest := self._advance():
            self._working = self._owner.spawn(self._work(rest)) is not None
            if not self._working:
                rest.close()

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

    def write(self, data: bytes) -> None:
        """Send bytes, with all others of this turn of the loop in one write."""
        if data and not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent += data

    async def send(self, data: bytes) -> None:
        """Send bytes; wait while the panel's receive buffer is full."""
        self.write(data)
        await self._writable.wait()

    def close(self) -> None:
        """Close after sending what was written."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def _flush(self) -> None:
        if self._unsent and not self._transport.is_closing():
            self._transport.write(bytes(self._unsent))
        self._unsent.clear()

    def _advance(self) -> Coroutine[Any, Any, None] | None:
        """Process messages until one has to wait; return what that one has to do, None if no message is left."""
        while received := self._next():
            if rest := self._begin(received):
                return rest
        return None

    async def _work(self, rest: Coroutine[Any, Any, None] | None) -> None:
        while rest:
            await rest
            rest = self._advance()
        self._working = self._flooded = False
        self._balance()

    def _next(self) -> ReceivedMessage | None:
        try:
            received = self._session.read(self._owner.panel_time())
        except FrameError as error:
            if self.is_open:
                _log.warning("%s: connection closed: %s", self.address, error)
            self.abort()
            return None
        if received:
            self.heard = time.monotonic()
        return received

    def _begin(self, received: ReceivedMessage) -> Coroutine[Any, Any, None] | None:
        """Answer a message that changes nothing; return what any other has to do."""
        panel, message = self.panel, received.message
        if self._proxy:
            return self._process(received)
        match message:
            case Ping() if panel is None or self._is_quiet(panel):
                self.write(received.answer)
                return None
            case Hello() if panel and message.guid == panel.config.guid and self._is_quiet(panel, message.firmware):
                self.write(received.answer)
                return None
            case Alert() | Notice() if panel and self._guid_of(message) == panel.config.guid:
                return self._report(panel, message)
        return self._process(received)

    def _is_quiet(self, panel: RegisteredPanel, firmware: str | None = None) -> bool:
        return self._owner.registry.is_quiet(panel, self.address, firmware)

    async def _process(self, received: ReceivedMessage) -> None:
        match received.message:
            case Hello() | Discovery() as hello:
                await self._greet(hello)
            case Ping() if self.panel:
                await self._owner.registry.alive(self.panel, self.address)
            case CommandResponse() as response if self.panel:
                self._owner.responded(self.panel.config.guid, response)
            case Alert() | Notice() as report:
                panel = await self._panel_of(report)
                if panel and (rest := self._report(panel, report)):
                    await rest
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

    async def _panel_of(self, report: Alert | Notice) -> RegisteredPanel | None:
        registry, guid = self._owner.registry, self._guid_of(report)
        return await (registry.admit(guid, self.address) if guid else registry.at_address(self.address))

    def _report(self, panel: RegisteredPanel, report: Alert | Notice) -> Coroutine[Any, Any, None] | None:
        """Take a report; return what has to be stored of it."""
        registry = self._owner.registry
        try:
            attempt = registry.attempt(panel, report)
        except MessageError as error:
            self._skip(str(error))
            return registry.alive(panel, self.address)
        if attempt.changes or panel.lock.locked():
            return self._store(panel, attempt)
        return None if self._is_quiet(panel) else registry.alive(panel, self.address)

    async def _store(self, panel: RegisteredPanel, attempt: Attempt) -> None:
        try:
            await self._owner.registry.complete(panel, attempt)
        except MessageError as error:  # what was stored before it took away its meaning
            self._skip(str(error))
        if not self._is_quiet(panel):
            await self._owner.registry.alive(panel, self.address)

    def _guid_of(self, report: Alert | Notice) -> str | None:
        """Return whom a report is about. A GUID that cannot be one yields to the hello's: the alarm counts."""
        greeted = self._session.guid
        if not isinstance(report, Alert) or report.guid in (None, greeted):
            return greeted
        named = (report.guid or "").strip()
        if greeted is not None and (not is_guid(named) or named.startswith(greeted)):
            return greeted
        return named if is_guid(named) else None

    def _skip(self, reason: str) -> None:
        self._skipped += 1
        if self._skipped <= _MAX_SKIPPED_LOGGED:
            _log.info("%s: skipped %s", self.address, reason)

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
