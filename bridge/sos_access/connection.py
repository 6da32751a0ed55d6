"""Connections to receivers: raced where there are several routes, while a document goes out on one (PROTOCOL.md).

Connecting and sending are two steps. A connection counts once TCP, TLS and the certificate are done; what loses the
race goes on until it is made or fails, and is reported. Every wait is bounded; errors are `TransportError`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from bridge.sos_access.documents import LONGEST, DocumentBuffer
from bridge.sos_access.resolver import Resolver
from bridge.sos_access.status import MalformedMessage, TransportError
from bridge.sos_access.tls import TlsPolicy
from bridge.sos_access.transport import CLOSE_TIMEOUT, _describe, peer_name

AT_ONCE = 50
"""Connections to one address at once: a receiver's listen queue has often no more than 128 places."""


_CLOSED = re.compile(rb"</(?:[\w.-]+:)?[a-z]+response\s*>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Peer:
    """Where and how to connect; times in seconds.

    `tls_name` is the name in the certificate, where it is not the host; `interface` and `source` choose the network
    path (SO_BINDTODEVICE; the local address).
    """

    address: tuple[str, int]
    tls: TlsPolicy | None = None
    tls_name: str | None = None
    interface: str | None = None
    source: str | None = None
    connect_timeout: float = 5.0
    response_timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class Entrant:
    """One route in a race; `next_after` seconds without a connection let the next one begin."""

    peer: Peer
    next_after: float = 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How connecting ended for the entrant with this index."""

    index: int
    took_s: float
    error: TransportError | None = None


@dataclass(slots=True)
class Observer:
    """Called while a race runs and after it; by index."""

    began: Callable[[int], object] = int
    late: Callable[[int], object] = int
    """It takes so long that the next one begins."""
    lost: Callable[[Outcome], object] = id
    """It ended after the race was won: with an error, or connected and closed again."""


class RaceFailed(TransportError):  # noqa: N818 - named as its siblings in status
    """No entrant could connect; `outcomes` are in the order of failing."""

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        super().__init__("; ".join(dict.fromkeys(str(each.error) for each in outcomes)))
        self.outcomes = tuple(outcomes)


@dataclass(slots=True)
class Winner:
    """The connection that won, and the outcomes of those that failed before."""

    index: int
    connection: Connection
    took_s: float
    failed: tuple[Outcome, ...] = ()


class Connection:
    """A connection for one exchange. Made by `Dialer`."""

    def __init__(self, peer: Peer, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], dialer: Dialer) -> None:
        self.peer = peer
        self._reader, self._writer = streams
        self._dialer = dialer
        self._closed = False

    async def exchange(self, data: bytes) -> bytes:
        """Send one document, return what answers it, and hang up. Raises TransportError where nothing comes.

        The answer may be cut off or no proper XML: reading it is the caller's (`Response.from_broken`).
        """
        try:
            await self._send(data)
            answer = await self._receive()
        except BaseException:
            self.abort()
            raise
        self.close()
        return answer

    def close(self) -> None:
        """Hang up, in the background: a TLS peer that does not answer the goodbye costs nobody's time."""
        if not self._closed:
            self._closed = True
            self._dialer.closing(self._hang_up())

    def abort(self) -> None:
        """Hang up at once."""
        if not self._closed:
            self._closed = True
            self._writer.transport.abort()
            self._dialer.release(self.peer.address)

    async def _hang_up(self) -> None:
        self._writer.close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._writer.wait_closed()
        except OSError:  # TimeoutError and ssl.SSLError among them: the answer is in hand
            pass
        finally:
            self._writer.transport.abort()
            self._dialer.release(self.peer.address)

    async def _send(self, data: bytes) -> None:
        timeout = self.peer.connect_timeout
        with _translated(self.peer, f"{peer_name(self.peer.address)} took no data for {timeout:g} s"):
            async with asyncio.timeout(timeout):
                self._writer.write(data)
                await self._writer.drain()

    async def _receive(self) -> bytes:
        """Return the answer, or what came of it: a peer that hangs up early may have said enough."""
        name, timeout = peer_name(self.peer.address), self.peer.response_timeout
        raw = bytearray()
        with _translated(self.peer, f"no answer from {name} within {timeout:g} s"):
            try:
                async with asyncio.timeout(timeout):
                    await self._read(raw)
            except OSError:  # TimeoutError among them
                if not raw:
                    raise
        if not raw:
            raise TransportError(f"connection closed by {name} without an answer")
        return bytes(raw)

    async def _read(self, raw: bytearray) -> None:
        """Read into `raw` until the root has closed; what is no proper XML, until something like it has."""
        buffer = DocumentBuffer()
        proper = True
        while data := await self._reader.read(4096):
            raw += data
            if proper:
                try:
                    if buffer.feed(data):
                        raw[:] = buffer.document
                        return
                except MalformedMessage:
                    proper = False
            if len(raw) > LONGEST or (not proper and _CLOSED.search(raw)):
                return


class Dialer:
    """Makes connections for a whole process: one resolver, at most `AT_ONCE` connections to an address."""

    def __init__(self, resolver: Resolver | None = None, at_once: int = AT_ONCE) -> None:
        self.resolver = resolver or Resolver()
        self._at_once = at_once
        self._places: dict[tuple[str, int], asyncio.Semaphore] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    async def aclose(self) -> None:
        """Give up the losers and the goodbyes that still run."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def connect(self, peer: Peer) -> Connection:
        """Return a connection. Raises TransportError after `connect_timeout` at most."""
        place = self._places.setdefault(peer.address, asyncio.Semaphore(self._at_once))
        with _translated(peer, f"no connection to {peer_name(peer.address)} within {peer.connect_timeout:g} s"):
            async with asyncio.timeout(peer.connect_timeout):
                await place.acquire()
                try:
                    streams = await self._open(peer)
                except BaseException:
                    place.release()
                    raise
        connection = Connection(peer, streams, self)
        tls: ssl.SSLObject | None = streams[1].get_extra_info("ssl_object")
        if peer.tls is not None and not peer.tls.trusts(tls.getpeercert(binary_form=True) if tls else None):
            connection.abort()
            raise TransportError(f"certificate of {peer_name(peer.address)} is not the pinned one")
        return connection

    async def race(self, entrants: Sequence[Entrant], observer: Observer | None = None) -> Winner:
        """Return the first connection; the others go on in the background and end at `observer.lost`.

        An entrant begins when the one before has failed, or has not connected within its `next_after`. Raises
        RaceFailed. When it is cancelled, every connection that was begun is given up.
        """
        return await _Race(self, entrants, observer or Observer()).run()

    def release(self, address: tuple[str, int]) -> None:
        self._places[address].release()

    def closing(self, work: Coroutine[Any, Any, None]) -> None:
        self.keep(asyncio.create_task(work, name="hang up"))

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Own a task that nobody waits for until it ends."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self, peer: Peer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Try the addresses of the host one after the other, each for its share of the time."""
        loop = asyncio.get_running_loop()
        end = loop.time() + peer.connect_timeout
        host, port = peer.address
        addresses = await self.resolver.resolve(host, peer.connect_timeout)
        for left in range(len(addresses), 0, -1):
            address = addresses[-left]
            try:
                async with asyncio.timeout((end - loop.time()) / left):
                    streams = await _connect(peer, address, port)
            except OSError:  # TimeoutError among them: the next one may do
                if left == 1:
                    raise
                continue
            self.resolver.worked(host, address)
            return streams
        raise AssertionError("a name has at least one address")


@dataclass(slots=True)
class _Race:
    dialer: Dialer
    entrants: Sequence[Entrant]
    observer: Observer
    tasks: dict[asyncio.Task[Connection], tuple[int, float]] = field(default_factory=dict)
    failed: list[Outcome] = field(default_factory=list)

    async def run(self) -> Winner:
        try:
            while True:
                if len(self.tasks) + len(self.failed) < len(self.entrants):
                    self._begin(len(self.tasks) + len(self.failed))
                if (winner := await self._wait()) is not None:
                    return winner
                if not self.tasks and len(self.failed) == len(self.entrants):
                    raise RaceFailed(self.failed)
        except asyncio.CancelledError:
            for task in self.tasks:
                task.cancel()
                task.add_done_callback(_closed_again)
            raise

    def _begin(self, index: int) -> None:
        self.observer.began(index)
        peer = self.entrants[index].peer
        task = asyncio.create_task(self.dialer.connect(peer), name=f"connect to {peer_name(peer.address)}")
        self.tasks[task] = index, asyncio.get_running_loop().time()
        self.dialer.keep(task)

    async def _wait(self) -> Winner | None:
        """Wait until one connects, one fails, or it is time for the next one to begin."""
        latest = len(self.tasks) + len(self.failed) - 1
        more = latest + 1 < len(self.entrants)
        timeout = self.entrants[latest].next_after if more else None
        done, _ = await asyncio.wait(self.tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            for index, _ in self.tasks.values():
                self.observer.late(index)
        winner = None
        for task in done:
            outcome = self._outcome(task)
            if outcome.error is not None:
                self.failed.append(outcome)
            elif winner is None:
                winner = Winner(outcome.index, task.result(), outcome.took_s)
            else:
                task.result().close()
                self.observer.lost(outcome)
        if winner is not None:
            winner.failed = tuple(self.failed)
            for task in self.tasks:
                task.add_done_callback(self._lost)
        return winner

    def _outcome(self, task: asyncio.Task[Connection]) -> Outcome:
        index, began = self.tasks.pop(task)
        took_s = asyncio.get_running_loop().time() - began
        error = task.exception()
        if error is not None and not isinstance(error, TransportError):
            raise error
        return Outcome(index, took_s, error)

    def _lost(self, task: asyncio.Task[Connection]) -> None:
        if task.cancelled():
            return
        outcome = self._outcome(task)
        if outcome.error is None:
            task.result().close()
        self.observer.lost(outcome)


def _closed_again(task: asyncio.Task[Connection]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().abort()


async def _connect(peer: Peer, address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET  # noqa: PLR2004 - of IP
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)  # noqa: FBT003 - its only parameter
        if peer.interface is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, peer.interface.encode() + b"\0")
        if peer.source is not None:
            sock.bind((peer.source, 0))
        await loop.sock_connect(sock, (address, port))
    except BaseException:
        sock.close()
        raise
    if peer.tls is None:
        return await asyncio.open_connection(sock=sock)
    name = peer.tls_name or peer.address[0]
    return await asyncio.open_connection(sock=sock, ssl=peer.tls.context, server_hostname=name)


@contextlib.contextmanager
def _translated(peer: Peer, timed_out: str) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise TransportError(timed_out) from None
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that cannot be one in DNS
        raise TransportError(_path_fault(error, peer) or _describe(error, peer.address)) from error


def _path_fault(error: OSError | UnicodeError, peer: Peer) -> str | None:
    """Return what is wrong with the path, if that is what went wrong."""
    if isinstance(error, OSError) and error.errno in _PATH_FAULTS and (peer.interface or peer.source):
        return f"no path over {peer.interface or peer.source}: {error.strerror}"
    return None


_PATH_FAULTS = (1, 19, 99, 100, 101)
"""EPERM, ENODEV, EADDRNOTAVAIL, ENETDOWN, ENETUNREACH."""
