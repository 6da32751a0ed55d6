"""Looks names up within a time limit, off the shared thread pool; keeps addresses that worked.

A name server that hangs blocks the thread of its own name and nothing else. At most one lookup of a name runs.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from ipaddress import ip_address

from bridge.common.loop import awake

LOOKUP_S = 2.0
"""What an attempt waits for a name that worked before; a local resolver answers in milliseconds."""
_ADDRESSES = 4
"""Addresses of a name that are tried."""

Lookup = Callable[[str], list[str]]


def system_lookup(host: str) -> list[str]:
    """Return the addresses of `host`, in the order of the system. Blocks; raises OSError and UnicodeError."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))[:_ADDRESSES]


class Resolver:
    """Looks names up. `known`: the addresses that worked, by name; the caller may keep them on disk."""

    def __init__(self, known: Mapping[str, Iterable[str]] | None = None, lookup: Lookup = system_lookup) -> None:
        self.known: dict[str, tuple[str, ...]] = {host: tuple(each) for host, each in (known or {}).items()}
        self._lookup = lookup
        self._running: dict[str, tuple[float, asyncio.Future[list[str]]]] = {}

    async def resolve(self, host: str, timeout: float) -> tuple[str, ...]:
        """Return the addresses to try, at least one, after `timeout` seconds at most.

        Where the lookup fails or hangs they are the last that worked. Raises OSError (TimeoutError among them) and
        UnicodeError where none is known.
        """
        if is_literal(host):
            return (host,)
        known = self.known.get(host, ())
        try:
            async with awake(self._patience(host, timeout) if known else timeout):
                return tuple(await asyncio.shield(self._running_lookup(host)))
        except (OSError, UnicodeError):
            if known:
                return known
            raise

    def worked(self, host: str, address: str) -> bool:
        """Note that a connection to `address` was made; return whether `known` changed."""
        known = self.known.get(host, ())
        if is_literal(host) or known[:1] == (address,):
            return False
        self.known[host] = (address, *(each for each in known if each != address))[:_ADDRESSES]
        return True

    def _patience(self, host: str, timeout: float) -> float:
        """Return how long to wait for a name with known addresses: not again for a lookup that hangs already."""
        began, _ = self._running.get(host, (time.monotonic(), None))
        return min(timeout, max(began + LOOKUP_S - time.monotonic(), 0.0))

    def _running_lookup(self, host: str) -> asyncio.Future[list[str]]:
        running = self._running.get(host)
        if running is not None and running[1].get_loop() is asyncio.get_running_loop():
            return running[1]
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[str]] = loop.create_future()
        future.add_done_callback(_retrieved)
        self._running[host] = time.monotonic(), future

        def done(result: list[str] | Exception) -> None:
            self._running.pop(host, None)
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

        def work() -> None:
            result: list[str] | Exception
            try:
                result = self._lookup(host) or socket.gaierror(socket.EAI_NONAME, "no address")
            except (OSError, UnicodeError) as error:
                result = error
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(done, result)

        try:
            threading.Thread(target=work, name=f"lookup of {host}", daemon=True).start()
        except RuntimeError as error:  # no more threads
            done(OSError(str(error)))
        return future


@lru_cache  # asked for each connection
def is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _retrieved(future: asyncio.Future[list[str]]) -> None:
    """Consume the error of a lookup that no caller waits for any more."""
    if not future.cancelled():
        future.exception()
