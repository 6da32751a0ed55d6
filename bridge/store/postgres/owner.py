"""Who owns a shard: the session that holds its lock, over which every write of the shard goes.

The server ends a session that is dead or paused, and with it the lock and the right to write. Proof of life is a
commit: with a synchronous standby, the old side of a promotion can commit nothing.
"""

from __future__ import annotations

import time
from typing import Final

LOCK_CLASS: Final = 0x505B
"""First key of the advisory locks of shards; the second is the shard."""
NODE_CLASS: Final = 0x505D
"""First key of the advisory locks of nodes' names."""
NUMBERS_OF_A_SHARD: Final = 10**12
"""Commands of shard K have numbers from K times this one on."""
CHANNEL: Final = "sosbridge"
"""Of notifications."""
PROOF: Final = """
    INSERT INTO shard (shard, node, since, seen_at) VALUES (?, ?, now(), now())
    ON CONFLICT (shard) DO UPDATE SET seen_at = now(), node = excluded.node,
        since = CASE WHEN shard.node = excluded.node THEN shard.since ELSE now() END
"""
MARGIN_S: Final = 1.0
"""A commit this much younger than the lease permits an exchange: the document goes out within it."""


def session_name(node: str, shard: int) -> str:
    """Return the `application_name` of an owner's session."""
    return f"sosbridge {node} shard {shard}"


def node_of(session: str) -> str:
    """Return the node that `session_name` was called with."""
    return session.removeprefix("sosbridge ").rpartition(" shard ")[0]


def boot_clock() -> float:
    """Return the seconds since the boot; they go on while the process or the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def permits(last_commit: float, lease_s: float, now: float) -> bool:
    """Whether the commit that was asked for at `last_commit` permits an exchange now."""
    return now - last_commit < lease_s - MARGIN_S
