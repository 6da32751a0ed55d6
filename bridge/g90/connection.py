"""One TCP connection of a panel: reads messages, reports to the registry (PROTOCOL.md, Messages).

What changes nothing is answered at once. Any other message is processed, and its event stored, before the next one is
read; reading pauses if more data arrives meanwhile, so a flood stays in the panel's send buffer. The answers up to a
message that has to wait are one write.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from typing import Final, Protocol, cast

from bridge.g90.registry import PanelRegistry, RegisteredPanel
from bridge.g90.state.model import PanelState, Step, UpstreamLink
from bridge.g90.upstream import Upstream, UpstreamProxy
from bridge.g90.wire.events import Alert, Notice
from bridge.g90.wire.frames import FrameError, MessageError
from bridge.g90.wire.messages import CommandResponse, Discovery, FromPanel, Hello, Ping, asks_for, is_guid
from bridge.g90.wire.session import PanelSession, ReceivedMessage, Unreadable
from bridge.g90.workers import Rest, Workers

_log = logging.getLogger(__name__)
_MAX_SKIPPED_LOGGED: Final = 3
"""Per connection, so that a flood of garbage does not fill the log."""


class ConnectionOwner(Protocol):
    """What a connection needs of the server."""

    registry: PanelRegistry
    upstream: Upstream | None

    @property
    def workers(self) -> Workers | None:
        """Return who carries out the work of connections, None while the server stops."""

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


class CloudConnection(asyncio.Protocol):
    """One connection. `panel` is set by the first hello of a known panel."""

    def __init__(self, owner: ConnectionOwner) -> None:
        self._owner = owner
        self._skipped = 0
        self._waiting: ReceivedMessage | None = None
        self._flooded = False
        self._congested = False
        self._reading = True
        self._writable = asyncio.Event()
        self._writable.set()
        self._proxy: UpstreamProxy | None = None
        self._proxy_task: asyncio.Task[None] | None = None
        self._unsent = b""
        self.address = ""
        self.heard = time.monotonic()
        self.panel: RegisteredPanel | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.address = _plain(peer[0]) if peer else ""
        announced = self._owner.announced(transport.get_extra_info("sockname")[:2])
        self._session = PanelSession(*announced, self._owner.panel_time)
        if not peer or not self._owner.opened(self):  # no peer: closed before it was accepted
            self.abort()
        elif self._owner.upstream and self._owner.workers:
            self._proxy = UpstreamProxy(self._owner.upstream, self, announced)
            tasks = self._owner.workers.tasks
            self._proxy_task = tasks.create_task(self._proxy.run(), name=f"upstream of {self.address}")

    def data_received(self, data: bytes) -> None:
        workers = self._owner.workers
        if workers is None:
            return
        self._session.feed(data)
        if self._waiting:
            self._flooded = True
            self._balance()
        elif rest := self._advance():
            workers.perform(rest, self._proceed)

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

    def _proceed(self) -> Rest | None:
        """Answer the message that waited, and go on with those after it."""
        if self._waiting:
            self._answer(self._waiting)
        rest = self._advance()
        if rest is None and self._flooded:
            self._flooded = False
            self._balance()
        return rest

    def _advance(self) -> Rest | None:
        """Process messages until one has to wait; return for what. The answers are one write."""
        self._waiting = rest = None
        try:
            while rest is None and (received := self._session.read()):
                self.heard = time.monotonic()
                if rest := self._effect(received.message):
                    self._waiting = received
                else:
                    self._answer(received)
        except FrameError as error:
            if self.is_open:
                _log.warning("%s: connection closed: %s", self.who, error)
            self.abort()
        if self._unsent:
            self.write(self._unsent)
            self._unsent = b""
        return rest

    def _answer(self, received: ReceivedMessage) -> None:
        if self._proxy is None or not self._proxy.takes(received.raw, asks_for(received.message), received.answer):
            self._unsent += received.answer

    def _effect(self, message: FromPanel | Unreadable) -> Rest | None:
        """Process a message; return what it has to wait for before it is answered, None for nothing."""
        panel, registry = self.panel, self._owner.registry
        match message:
            case Ping() if panel:
                return registry.alive(panel, self.address)
            case Alert() | Notice():
                same = panel and self._guid_of(message) == panel.config.guid
                return self._report(panel, message) if panel and same else partial(self._elsewhere, message)
            case Hello() if panel and message.guid == panel.config.guid:
                return registry.alive(panel, self.address, message.firmware)
            case Hello() | Discovery():
                return partial(self._greet, message)
            case CommandResponse() if panel:
                self._owner.responded(panel.config.guid, message)
            case Unreadable(reason):
                self._skip(reason)
        return None

    async def _greet(self, hello: Hello | Discovery) -> None:
        registry, before = self._owner.registry, self.panel
        self.panel = await registry.admit(hello.guid, self.address)
        if self.panel:
            if rest := registry.alive(self.panel, self.address, hello.firmware):
                await rest()
            if self.panel is not before:
                await self.upstream_changed()
                registry.greeted(self.panel, self.address)
        elif hello.guid in registry.panels:
            self.abort()

    async def upstream_changed(self) -> None:
        if self._proxy and self.panel:
            await self._owner.registry.take(self.panel, UpstreamLink(self._proxy.connected))

    async def _elsewhere(self, report: Alert | Notice) -> None:
        """Take a report of another panel than the one that said hello, or before any hello."""
        registry, guid = self._owner.registry, self._guid_of(report)
        panel = await (registry.admit(guid, self.address) if guid else registry.at_address(self.address))
        if panel and (rest := self._report(panel, report)):
            await rest()

    def _report(self, panel: RegisteredPanel, report: Alert | Notice) -> Rest | None:
        registry, before = self._owner.registry, panel.state
        try:
            step = registry.attempt(panel, report)
        except MessageError as error:
            self._skip(str(error))
            return registry.alive(panel, self.address)
        if step.state is not before or step.events or panel.lock.locked():
            return partial(self._store, panel, report, before, step)
        return registry.alive(panel, self.address)

    async def _store(self, panel: RegisteredPanel, report: Alert | Notice, before: PanelState, step: Step) -> None:
        try:
            await self._owner.registry.complete(panel, report, before, step)
        except MessageError as error:  # what was stored before it took away its meaning
            self._skip(str(error))
        if rest := self._owner.registry.alive(panel, self.address):
            await rest()

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
