"""The socket of a service manager."""

from __future__ import annotations

import asyncio
import socket

WAIT_S = 30.0


class Listener:
    """Hears what services tell; `address` is a path, or @ and a name in the abstract namespace."""

    def __init__(self, address: str) -> None:
        self.environment = {"NOTIFY_SOCKET": address}
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0", 1))
        self.socket.settimeout(0)

    async def next(self) -> dict[str, str]:
        """Return the next message."""
        async with asyncio.timeout(WAIT_S):
            data = await asyncio.get_running_loop().sock_recv(self.socket, 4096)
        return dict(line.split("=", 1) for line in data.decode().splitlines())

    async def until(self, name: str) -> list[dict[str, str]]:
        """Return all up to the first message that tells `name`."""
        heard = [await self.next()]
        while name not in heard[-1]:
            heard.append(await self.next())
        return heard

    def drain(self) -> list[bytes]:
        """Return what has come and was not read."""
        found = []
        while True:
            try:
                found.append(self.socket.recv(4096))
            except BlockingIOError:
                return found
