"""How many files the process may open, and how many of them the panels may use.

Without a free one it cannot connect to a receiver: enough connections to the panels' port would stop every alarm.
"""

from __future__ import annotations

import logging
import resource
from contextlib import suppress

log = logging.getLogger(__name__)

FILES_OF_A_TRANSMITTER = 4
"""Connections of an alarm to two receivers, one of a ping; its passwords while they are written."""
_PARTS = 64
"""Files of the store, the broker, listeners and name lookups, with a reserve."""
_ROUNDS = 4
"""A refused connection is closed this many rounds of the loop after it was accepted."""


def share(connections: int, *, files_each: int, others: int, burst: int) -> tuple[int, int]:
    """Return how many connections panels may hold, and how many may be accepted in one round of the loop.

    These are `connections` and `burst`, or less. Each connection takes `files_each`, everything else `others`. The
    limit of the process is raised as far as the system allows.
    """
    others += _PARTS
    wanted = connections * files_each + others + _ROUNDS * burst
    limit = _raised(wanted)
    if limit >= wanted:
        return connections, burst
    burst = max(1, min(burst, limit // 16))
    left = max(1, min(connections, (limit - others - _ROUNDS * burst) // files_each))
    log.warning("panels: %d connections instead of %d: at most %d files may be open", left, connections, limit)
    return left, burst


def reserve(files: int) -> None:
    """Raise the limit of the process to `files` beside those of its other parts, or as far as possible."""
    _raised(files + _PARTS)


def _raised(wanted: int) -> int:
    """Raise the limit of open files to `wanted` if possible, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted if soft == resource.RLIM_INFINITY else soft
    possible = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
