"""Thousands of connections to the panels' port, each as slow as can be: alarms, and panels, get through."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest
from support.g90 import GUID, HELLO
from support.harness import live
from support.house import OTHER, SMOKE, House, Simulated

CONNECTIONS = 5000
_OWN_FILES = 500
_BYTES = 20 * CONNECTIONS
_MEMORY = 64 << 20
"""For what 5000 connections have sent, which is nothing whole: 13 KiB each."""
STRANGER = HELLO.replace(GUID.encode(), b"GB0000000000000")
STREAMS = {
    "hello": STRANGER,
    "longest": b"\x22\x10\x00\x20" + (65536).to_bytes(4, "little") + b"\x01\x00\x00\x00" + b"[" * 65_000,
}


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + _OWN_FILES
    assert hard == resource.RLIM_INFINITY or hard >= wanted, (
        f"this machine lets a process open {hard} files, the flood needs {wanted}: raise `ulimit -Hn`"
    )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Flood:
    """Connections from `addresses` that send `stream` byte by byte, and dial again when they are hung up on."""

    def __init__(self, port: int, stream: bytes, addresses: int) -> None:
        self.opened = 0
        self.sent = 0
        self.ready = asyncio.Event()
        """All are open, and have sent some twenty bytes each."""
        self._target = ("127.0.0.1", port)
        self._stream = stream
        self._addresses = addresses

    async def run(self) -> None:
        held: list[tuple[socket.socket, int] | None] = [None] * CONNECTIONS
        try:
            while True:
                for number, each in enumerate(held):
                    held[number] = self._go_on(number, each)
                    if number % 50 == 0:
                        # Once they are all there the tests' own receivers and clients need the loop, too.
                        await asyncio.sleep(0.002 if self.ready.is_set() else 0)
                if self.opened >= CONNECTIONS and self.sent >= _BYTES:
                    self.ready.set()
        finally:
            for each in held:
                if each:
                    each[0].close()

    def _go_on(self, number: int, each: tuple[socket.socket, int] | None) -> tuple[socket.socket, int] | None:
        """Dial, or send the next byte; None where the server hung up."""
        if each is None:
            return self._dial(number)
        sock, at = each
        try:
            self.sent += sock.send(self._stream[at % len(self._stream) :][:1])
        except BlockingIOError:
            return each
        except OSError:
            sock.close()
            return None
        return sock, at + 1

    def _dial(self, number: int) -> tuple[socket.socket, int] | None:
        sock = socket.socket()
        sock.setblocking(False)  # noqa: FBT003 - the name says it
        place = number % self._addresses
        with suppress(OSError):
            sock.bind((f"127.1.{place // 250}.{place % 250 + 1}" if self._addresses > 1 else "127.0.0.1", 0))
            with suppress(BlockingIOError):
                sock.connect(self._target)
            self.opened += 1
            return sock, 0
        sock.close()
        return None


@asynccontextmanager
async def flooded(site: House, stream: bytes, addresses: int) -> AsyncIterator[Flood]:
    flood = Flood(site.port, stream, addresses)
    task = asyncio.create_task(flood.run())
    try:
        async with asyncio.timeout(60):
            await flood.ready.wait()
        yield flood
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled(), task.exception()


async def unharmed(site: House, panel: Simulated) -> None:
    """An alarm from MQTT, one of a panel, and a panel that comes now: each gets through."""
    mark = site.mqtt.mark
    assert (await site.do("alarm/raise", "BA"))["outcome"] == "accepted"
    await panel.alarm(SMOKE)
    await site.told("alarm", after=mark)
    raised = await site.result(lambda value: value["event_code"] == "FA", after=mark)
    assert raised["outcome"] == "accepted"
    await site.enter(site.simulated(OTHER))


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("addresses", [1, 1250])
@live
async def test_a_flood_harms_nobody(site: House, stream: str, addresses: int) -> None:
    """From the address of a panel, which may hold many connections, and from many, which may hold four each."""
    site.g90["panels"].append({"guid": OTHER})
    await site.start()
    panel = await site.panel()
    before = site.bridge.resident
    async with flooded(site, STREAMS[stream], addresses) as flood:
        await unharmed(site, panel)
        taken = site.bridge.resident - before
    print(f"{flood.opened} dialled, {flood.sent} bytes sent, {taken >> 20} MiB taken")
    assert taken < _MEMORY, f"{taken >> 20} MiB"


@pytest.mark.usefixtures("many_files")
@live
async def test_a_flood_leaves_files_for_receivers_and_broker(site: House) -> None:
    """Where a process may have a thousand files open, as most may, panels do not get them all."""
    site.bridge.open_files = 1024
    site.g90["panels"].append({"guid": OTHER})
    await site.start()
    panel = await site.panel()
    async with flooded(site, STRANGER, 1):
        await unharmed(site, panel)
    assert "Too many open files" not in site.bridge.log
    assert "out of system resource" not in site.bridge.log
