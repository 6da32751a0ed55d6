"""A network that can fail: a TCP relay of ours which hangs up on everybody, or lets nothing through for a while."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable

from chaos.ledger import Ledger, now
from chaos.packet_ids import PacketIds, packets
from support.brokers import free_port

Change = Callable[[bytes], bytes]

_EACH_S = 15.0
_LATE_S = 1.0
"""So long after a black hole has ended what was in it may still arrive."""


class Wire:
    """Relays `port` to the port that `target` names. `receiver` is the one whose answers get lost in it, if any."""

    ids: PacketIds | None = None
    """Renumbers the messages of a broker."""

    def __init__(self, name: str, target: Callable[[], int], *, receiver: str = "") -> None:
        self.name = name
        self.receiver = receiver
        self.port = free_port()
        self._target = target
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._passable = asyncio.Event()
        self._passable.set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """Hang up on everybody, and refuse who comes."""
        if self._server is not None:
            self._server.close()
            self._server = None
        await self.hang_up()

    async def hang_up(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def swallow(self) -> None:
        """Let nothing through, either way; who connects hears nothing."""
        self._passable.clear()

    def release(self) -> None:
        """Let through what was held back, as a network does where neither side has given up."""
        self._passable.set()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._relay(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there: asyncio.StreamWriter | None = None
        with contextlib.suppress(OSError, ExceptionGroup):
            try:
                await self._passable.wait()
                answers, there = await asyncio.open_connection("127.0.0.1", self._target())
                to_target, to_client = self._changes()
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._pump(reader, there, to_target))
                    tasks.create_task(self._pump(answers, writer, to_client))
            finally:
                writer.transport.abort()
                if there is not None and self.ids:
                    there.close()  # the broker reads the acknowledgements that were renumbered
                elif there is not None:
                    there.transport.abort()

    def _changes(self) -> tuple[Change, Change]:
        """Return what changes the bytes of one connection, either way. An OSError of theirs ends it."""
        return (packets(self.ids.to_broker), packets(self.ids.to_client)) if self.ids else (bytes, bytes)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, change: Change) -> None:
        while data := await reader.read(4096):
            await self._passable.wait()
            writer.write(change(data))
            await writer.drain()
        await self._passable.wait()
        writer.write_eof()


async def trouble(wire: Wire, ledger: Ledger, dice: random.Random) -> None:
    """Cut the wire, or make a black hole of it, again and again; what is held back comes late, or never."""
    while True:
        await asyncio.sleep(dice.expovariate(1 / _EACH_S))
        begun = now()
        hole = dice.random() < 0.5
        ledger.faults[f"{wire.name}: {'black hole' if hole else 'cut'}"] += 1
        try:
            if hole:
                wire.swallow()
            else:
                await wire.stop()
            await asyncio.sleep(dice.choice((0.1, 1, dice.uniform(3, 7))))
        finally:
            if not hole:
                await wire.start()
            elif dice.random() < 0.5:
                await wire.hang_up()
            wire.release()
            if wire.receiver:
                ledger.cuts.append((begun, now() + _LATE_S))
                ledger.troubles[wire.receiver].append((begun, now() + _LATE_S))
