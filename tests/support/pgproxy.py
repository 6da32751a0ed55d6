"""A proxy before a PostgreSQL server that breaks connections at COMMIT, or looks like a pooler."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

_COMMIT = b"Q" + struct.pack(">I", 11) + b"COMMIT\0"
_KEY_DATA = b"K" + struct.pack(">I", 12)
"""BackendKeyData: the process of the server, and a key."""


@dataclass
class Proxy:
    """What happens to connections; `url` is where it listens."""

    server: int
    port: int = 0
    break_at: str | None = None
    """`before` or `after` the server gets the next COMMIT; once."""
    pooler: bool = False
    sent: bytearray = field(default_factory=bytearray)
    """What the client sent."""
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    def url(self, database: str) -> str:
        return f"postgresql://tests@127.0.0.1:{self.port}/{database}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.server)
        self._writers += [writer, far_writer]
        await asyncio.gather(
            self._pass(reader, far_writer, self._to_server), self._pass(far_reader, writer, self._to_client)
        )

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, change: Callable[[bytes], bytes]
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if _COMMIT in data and self.break_at == "before":
                    self._break()
                    return
                writer.write(change(data))
                await writer.drain()
        writer.close()

    def _to_server(self, data: bytes) -> bytes:
        self.sent += data
        return data

    def messages(self, begin: int) -> str:
        """Return the types of the messages that the client sent, from a byte on."""
        found = ""
        while begin < len(self.sent):
            found += chr(self.sent[begin])
            begin += 1 + int.from_bytes(self.sent[begin + 1 : begin + 5], "big")
        return found

    def _to_client(self, data: bytes) -> bytes:
        if self.pooler and (at := data.find(_KEY_DATA)) >= 0:
            return data[: at + 5] + struct.pack(">I", 1) + data[at + 9 :]
        if self.break_at == "after" and b"C\0\0\0\x0bCOMMIT\0" in data:
            self._break()
            return b""
        return data

    def _break(self) -> None:
        self.break_at = None
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def proxy(server: int) -> AsyncIterator[Proxy]:
    """Listen on loopback, before the server at the port `server`."""
    found = Proxy(server)
    listener = await asyncio.start_server(found._serve, "127.0.0.1", 0)
    found.port = listener.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        listener.close()
        found._break()
