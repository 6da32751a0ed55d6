"""A real mosquitto that a test can stop, kill and restart, and a proxy before it that shows the faults of a network."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

STARTS_WITHIN_S = 20.0
PUBACK = 4


def free_port(following: int = 0) -> int:
    """Return a port that is free and stays so: none that the system gives to the next connection that goes out.

    So many that follow it are free as well.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with contextlib.suppress(OSError), contextlib.ExitStack() as taken:
            for each in range(port, port + following + 1):
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    taken.enter_context(socket.socket(type=kind)).bind(("127.0.0.1", each))
            return port


class Mosquitto:
    """One broker on loopback; its store survives a restart unless it is forgotten."""

    def __init__(self, folder: Path, *, general: Sequence[str] = (), listener: Sequence[str] = ()) -> None:
        """`general` and `listener` are lines of its configuration; without any, everybody may come in."""
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.config = folder / "mosquitto.conf"
        lines = ["user root", "persistence true", f"persistence_location {folder}/", "max_queued_messages 0"]
        lines += general or ["allow_anonymous true"]
        lines += [f"listener {self.port} 127.0.0.1", *listener]
        self.config.write_text("\n".join(lines) + "\n")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.kill()

    def start(self) -> None:
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
        assert program, "mosquitto is not installed: these tests need it, and its clients"
        with (self.folder / "mosquitto.log").open("ab") as log:
            command = [program, "-c", str(self.config)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        end = time.monotonic() + STARTS_WITHIN_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            alive = self._process.poll() is None and time.monotonic() < end
            assert alive, f"mosquitto does not start: {self.log}"
            time.sleep(0.02)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return (self.folder / "mosquitto.log").read_text(errors="replace")

    def stop(self) -> None:
        """End as an orderly shutdown does: what it holds is saved."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def reload(self) -> None:
        """Let it read its password file again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def forget(self) -> None:
        """Lose the store; it is not running meanwhile."""
        (self.folder / "mosquitto.db").unlink(missing_ok=True)

    def _end(self, number: signal.Signals) -> None:
        assert self._process is not None
        process, self._process = self._process, None
        process.send_signal(number)
        process.wait(STARTS_WITHIN_S)


class Proxy:
    """Between the bridge and its broker: it can be cut, and it can swallow packets on their way to the broker."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.swallows: Callable[[int, bytes], bool] = lambda kind, packet: False
        """Asked for each packet with its MQTT type; past one that it says yes to, a connection lets none through.

        The broker's own packets still come through.
        """
        self.swallowed = asyncio.Condition()
        self.lost: list[bytes] = []

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)

    async def cut(self) -> None:
        """Hang up on everybody and let nobody in."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def heal(self) -> None:
        """Let all packets through, from the next connection on."""
        self.swallows = lambda kind, packet: False

    async def wait_lost(self, count: int) -> None:
        """Wait until so many acknowledgements did not get through."""
        async with asyncio.timeout(30), self.swallowed:
            await self.swallowed.wait_for(lambda: [each[0] >> 4 for each in self.lost].count(PUBACK) >= count)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._relay(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        broker: asyncio.StreamWriter | None = None
        with contextlib.suppress(OSError, EOFError, ExceptionGroup):
            try:
                answers, broker = await asyncio.open_connection("127.0.0.1", self._target)
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(_pump(answers, writer))
                    tasks.create_task(self._sift(reader, broker))
            finally:
                writer.transport.abort()
                if broker is not None:
                    broker.transport.abort()

    async def _sift(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        deaf = False
        while True:
            packet = await _packet(reader)
            deaf = deaf or self.swallows(packet[0] >> 4, packet)
            if deaf:
                async with self.swallowed:
                    self.lost.append(packet)
                    self.swallowed.notify_all()
            else:
                writer.write(packet)
                await writer.drain()


async def _packet(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(2)
    length, shift = head[1] & 0x7F, 7
    while head[-1] & 0x80:
        head += await reader.readexactly(1)
        length |= (head[-1] & 0x7F) << shift
        shift += 7
    return head + await reader.readexactly(length)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(4096):
        writer.write(data)
        await writer.drain()
    raise EOFError
