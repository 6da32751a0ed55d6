"""The health check: the bridge answers `sosbridge healthcheck` on a Unix socket beside the store."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import socket
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from bridge.common.errors import BridgeError

log = logging.getLogger(__name__)

STUCK_AFTER_S = 300.0
"""An alarm that waits longer than this makes the bridge unhealthy, whatever keeps it waiting."""

_ANSWER_S = 5.0
_LONGEST_PATH = 100
"""A socket's path has 108 bytes at most."""
_LARGEST_ANSWER = 65536


class UnhealthyError(BridgeError):
    """The bridge does not run, does not answer, or reports problems."""


def socket_path(store: Path) -> Path:
    path = store.absolute().with_name(f"{store.name}.sock")
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        return path
    return Path(tempfile.gettempdir()) / f"sosbridge-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.sock"


def _bound(path: Path) -> socket.socket:
    """Return a socket at `path` that is its owner's alone from the moment it exists."""
    bound = socket.socket(socket.AF_UNIX)
    try:
        os.fchmod(bound.fileno(), 0o600)
        bound.bind(os.fspath(path))
    except OSError:
        bound.close()
        raise
    return bound


async def serve(store: Path, problems: Callable[[], Awaitable[list[str]]]) -> None:
    """Answer until cancelled with what `problems` returns; an empty list means healthy."""
    path = socket_path(store)

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_ANSWER_S):
                writer.write(json.dumps(await problems()).encode())
                await writer.drain()
        except (OSError, TimeoutError):
            pass
        finally:
            writer.close()

    try:
        path.unlink(missing_ok=True)  # left by a crash; we hold the store's lock
        server = await asyncio.start_unix_server(answer, sock=_bound(path), start_serving=False)
    except OSError as error:  # a file system without sockets, such as FAT; alarms are sent regardless
        log.error("the health check is not available: %s: %s", path, error.strerror or error)
        return
    try:
        async with server:
            await server.serve_forever()
    finally:
        path.unlink(missing_ok=True)


async def ask(store: Path) -> None:
    """Ask the bridge that runs on `store`. Raises UnhealthyError with what is wrong."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            reader, writer = await asyncio.open_unix_connection(socket_path(store))
            answer = b""
            try:
                while len(answer) < _LARGEST_ANSWER and (piece := await reader.read(_LARGEST_ANSWER)):
                    answer += piece
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
        problems = json.loads(answer)
    except TimeoutError:
        raise UnhealthyError(f"the bridge does not answer within {_ANSWER_S:.0f} s: it hangs") from None
    except OSError:
        raise UnhealthyError(f"no bridge runs on {store}") from None
    except ValueError:
        raise UnhealthyError("the bridge sent an incomplete answer") from None
    if problems:
        raise UnhealthyError("; ".join(map(str, problems)))
