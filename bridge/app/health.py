"""The health check: the bridge answers `sosbridge healthcheck` on a Unix socket beside the store."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from bridge.app.health_client import ANSWER_S, DETAILS, address, socket_path
from bridge.app.log_lines import kept
from bridge.app.watchdog import found
from bridge.common.errors import StoreError
from bridge.common.problems import About, Problems
from bridge.common.text import timestamp

log = logging.getLogger(__name__)


Line = tuple[str, ...]
Counters = Callable[[], Awaitable[Mapping[str, object]]]


def described(hanging: list[str], problems: Problems, state: str = "", more: Sequence[Line] = ()) -> str:
    """Return the answer to a health check: a line for each thing that hangs, problem and unknown state.

    `state` is what the node does in its cluster, and `more` follows. Fields are separated by tabs; the last line is
    `end`.
    """
    lines: list[Line] = [("state", state)] if state else []
    lines += [("hangs", name) for name in hanging]
    found = [(_owner(each.about), each) for each in problems]
    lines += [("problem", each.kind, owner, timestamp(each.since), each.text) for owner, each in found]
    doubted = {_owner(about) for _, about in problems.doubts} - {owner for owner, _ in found}
    lines += [("unknown", owner) for owner in sorted(doubted)]
    return "".join("\t".join(line) + "\n" for line in (*lines, *more, ("end",)))


def _owner(about: About) -> str:
    return about.transmitter or about.panel or "bridge"


async def serve(
    store: Path,
    hanging: Callable[[], Awaitable[list[str]]],
    problems: Problems,
    state: Callable[[], str] = str,
    counters: Counters | None = None,
) -> None:
    """Answer until cancelled with what hangs, what is wrong, and the node's state in its cluster.

    To a request for details also with `counters` and the last lines of the log.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(ANSWER_S):
                more = await _details(counters) if await reader.read(len(DETAILS)) == DETAILS else ()
                writer.write(described(await found(hanging, ANSWER_S / 2), problems, state(), more).encode())
                await writer.drain()
        except (OSError, TimeoutError):
            pass
        finally:
            writer.close()

    await _listen(socket_path(store), answer)


async def _details(counters: Counters | None) -> list[Line]:
    try:
        values = await counters() if counters else {}
    except StoreError as error:
        values = {"store": error}
    return [*(("counter", name, str(value)) for name, value in values.items()), *(("log", each) for each in kept())]


async def _listen(path: str, answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> None:
    """Answer at the socket `path` until cancelled; where there can be none, log that and return."""
    directory = -1
    try:
        _remove(path)  # left by a crash; we hold the store's lock
        name, directory = address(path)
        server = await asyncio.start_unix_server(answer, sock=_bound(name), start_serving=False)
    except OSError as error:  # a file system without sockets, such as FAT; alarms are sent regardless
        log.error("the health check is not available: %s: %s", path, error.strerror or error)
        return
    try:
        async with server:
            await server.serve_forever()
    finally:
        _remove(path)
        if directory >= 0:
            os.close(directory)


def _remove(path: str) -> None:
    Path(path).unlink(missing_ok=True)


def _bound(path: str) -> socket.socket:
    """Return a socket at `path` that is its owner's alone from the moment it exists."""
    bound = socket.socket(socket.AF_UNIX)
    try:
        os.fchmod(bound.fileno(), 0o600)
        bound.bind(path)
    except OSError:
        bound.close()
        raise
    return bound
