"""What the tests about panels share: the example messages, a recording handler, a served server, a bare client."""

# ruff: noqa: ANN401 - settings, peers and parsed arguments of any type go through here
from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from bridge.g90.control_cloud import CloudControl
from bridge.g90.registry import PanelConfig, Refused
from bridge.g90.server import PanelServer
from bridge.g90.wire.events import Alert, Form, PanelEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from bridge.g90.state.model import PanelState
    from bridge.g90.wire.constants import AlertType

T = TypeVar("T")
GUID = "GB7F20C14D05A91"
OTHER = "GB7F20C14D05A92"
NEW_YEAR = 1767225600
NOW = datetime(2026, 1, 1, tzinfo=UTC)
PATIENCE = 10.0

HELLO = bytes.fromhex(
    "01 10 00 20 48 00 00 00 01 00 00 00 47 42 37 46 32 30 43 31 34 44 30 35 41 39 31 00 01 00 00 00 00 00 00 00"
    "02 00 00 00 00 70 00 00 32 30 36 00 58 ba 00 20 30 00 00 00 00 00 00 00 07 00 00 00 1e 00 00 00 1e 00 00 00"
)
HELLO_ANSWER = bytes.fromhex(
    "41 20 00 10 0d 00 00 00 01 00 01 00 01"
    "01 20 00 10 0d 00 00 00 01 00 02 00 1f"
    "63 20 00 10 10 00 00 00 01 00 03 00 2e 16 00 00"
)
DISCOVERY = bytes.fromhex(
    "01 30 00 20 3c 00 00 00 01 00 00 00 47 42 37 46 32 30 43 31 34 44 30 35 41 39 31 00 00 00 00 00 00 00 00 00"
    "01 00 00 00 00 70 00 00 32 30 36 00 05 05 05 05 30 00 06 06 07 07 07 07"
)
DISCOVERY_ANSWER = bytes.fromhex(
    "01 d0 00 10 2c 00 00 00 01 00 00 00 31 39 32 2e 30 2e 32 2e 31 30 00 00 00 00 00 00 00 00 00 00 00 00 00 00"
    "2e 16 00 00 00 b9 55 69"
)
PING = bytes.fromhex("01 10 00 00 08 00 00 00")
_STATUS_HEADER = bytes.fromhex("21 10 00 20 78 00 00 00 01 00 00 00")
_TIME = bytes.fromhex("00 b9 55 69")
ARMED_AWAY = _STATUS_HEADER + b"\x02\x04" + b"x" * 34 + _TIME + bytes(68)
DOOR_OPENED = _STATUS_HEADER + b"\x04\x07\x01\x01" + b"Front door".ljust(32, b"\0") + _TIME + bytes(68)
SMOKE_ALARM = _STATUS_HEADER + b"\x03\x09\x04\xfe" + b"Kitchen smoke".ljust(32, b"\0") + _TIME + bytes(68)
NOTIFICATION = (
    bytes.fromhex("22 10 00 20 52 00 00 00 01 00 00 00")
    + b'[208,[3,9,1,254,"Kitchen smoke","GB7F20C14D05A91",1767225600,0,[""]]]\0'
)
COMMAND_ARM_AWAY = bytes.fromhex("29 50 00 10 20 00 00 00 01 00 07 00 02 00 65 00 65 00 05 00 00 00") + b"[101,[1]]\0"
COMMAND_STATUS = bytes.fromhex("29 50 00 10 17 00 00 00 01 00 06 00 02 00 64 00 64 00 05 00 00 00 00")
STREAM = (HELLO, DISCOVERY, PING, ARMED_AWAY, DOOR_OPENED, SMOKE_ALARM, NOTIFICATION)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run one test's coroutine, bounded."""

    async def bounded() -> T:
        async with asyncio.timeout(6 * PATIENCE):
            return await work

    return asyncio.run(bounded())


def status(kind: int, event: int, third: int = 0, state: int = 0, *, name: str = "", time: int = NEW_YEAR) -> bytes:
    """A 0x21 frame; `third` is the source or the type."""
    payload = bytes((kind, event, third, state)) + name.encode().ljust(32, b"\0") + time.to_bytes(4, "little")
    return _STATUS_HEADER + payload + bytes(68)


def alert(form: Form, kind: AlertType, event: int, **fields: Any) -> Alert:
    return Alert(form=form, type=kind, event=event, **{"time": NEW_YEAR, **fields})


@dataclass
class Recorder:
    """A handler that remembers, and can be waited on."""

    events: list[PanelEvent] = field(default_factory=list)
    states: dict[str, PanelState] = field(default_factory=dict)
    refused: list[tuple[Refused, str | None, str]] = field(default_factory=list)
    greeted: list[tuple[str, str]] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def panel_changed(self, state: PanelState, events: tuple[PanelEvent, ...]) -> None:
        async with self.changed:
            self.states[state.guid] = state
            self.events += events
            self.changed.notify_all()

    async def panel_refused(self, reason: Refused, guid: str | None, address: str) -> None:
        async with self.changed:
            self.refused.append((reason, guid, address))
            self.changed.notify_all()

    def panel_greeted(self, guid: str, address: str) -> None:
        self.greeted.append((guid, address))

    async def until(self, holds: Callable[[Recorder], bool]) -> None:
        async with asyncio.timeout(PATIENCE), self.changed:
            await self.changed.wait_for(lambda: holds(self))

    async def told(self, *types: str) -> None:
        """Wait until events of these types were told."""
        await self.until(lambda r: set(types) <= {event.type.value for event in r.events})

    def types(self, guid: str = GUID) -> list[str]:
        return [event.type.value for event in self.events if event.guid == guid]


def known(*guids: str) -> dict[str, PanelConfig]:
    return {guid: PanelConfig(guid=guid) for guid in guids}


@asynccontextmanager
async def serving(handler: Any, **settings: Any) -> AsyncIterator[PanelServer]:
    """A running server on a free port of this machine, for panel GUID unless told otherwise."""
    server = PanelServer(handler, **{"host": "127.0.0.1", "port": 0, "panels": known(GUID), **settings})
    task = asyncio.create_task(server.run())
    started = asyncio.create_task(server.started.wait())
    try:
        await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE)
        if task.done():
            await task
        yield server
    finally:
        started.cancel()
        task.cancel()
        await asyncio.wait({task, started})


class Client:
    """A bare TCP client: bytes as the test wants them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @property
    def name(self) -> tuple[str, int]:
        """What the other side knows this client as."""
        name: tuple[str, int] = self.writer.get_extra_info("sockname")
        return name

    async def send(self, data: bytes, piece: int | None = None) -> None:
        for start in range(0, len(data), piece or len(data)):
            self.writer.write(data[start : start + (piece or len(data))])
            await self.writer.drain()
            await asyncio.sleep(0)

    async def receive(self, count: int) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readexactly(count)

    async def closed(self) -> bytes:
        """Wait for the other side to close; return what came before."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""


@asynccontextmanager
async def dialled(address: tuple[str, int]) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection(*address)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except ConnectionError:
            writer.transport.abort()


def cloud_control(server: PanelServer, guid: str, **options: Any) -> CloudControl:
    """Return the control of a panel over its connection to `server`."""
    return CloudControl(guid, server.connections, **options)
