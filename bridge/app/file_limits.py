"""How many files the process may have open, and how many of them the panels may take.

A process without one left can dial no receiver: whoever opened connections enough to the panels' port would silence
every alarm.
"""

from __future__ import annotations

import logging
import resource
from contextlib import suppress

log = logging.getLogger(__name__)

_PARTS = 64
"""Store, broker, listeners, what looks up names, and to spare."""
_ROUNDS = 4
"""A connection that is turned away is closed so many rounds of the loop after it was accepted."""


def share(connections: int, *, files_each: int, others: int, burst: int) -> tuple[int, int]:
    """Return how many connections panels may hold, and how many may be accepted in one round of the loop.

    `connections` and `burst` are what is wished for; each connection takes `files_each`, everything else `others`. The
    process's own limit is raised as far as the system lets it.
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


def _raised(wanted: int) -> int:
    """Return how many files may be open, `wanted` if that can be had."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted if soft == resource.RLIM_INFINITY else soft
    possible = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
