"""What a command does from outside: asks the owner of a shard, removes a node."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

from bridge.common.errors import BusyError, StoreError
from bridge.common.models import Secret
from bridge.store.postgres.nodes import ALIVE_S, Cluster, NodeSession
from bridge.store.postgres.owner import CHANNEL
from bridge.store.postgres.requests import SEND

_NAME: Final = "sosbridge command"
_ANSWERED_WITHIN_S: Final = 10.0
_LOOK_S: Final = 0.1
_ADD: Final = "INSERT INTO request (shard, kind, content) VALUES (%s, %s, %s) RETURNING id"
_ANSWER: Final = "SELECT answer FROM request WHERE id = %s"
_WITHDRAW: Final = "DELETE FROM request WHERE id = %s AND answer IS NULL RETURNING id"
_WAITING: Final = "SELECT shard, count(*) AS n FROM request WHERE kind = %s AND answer IS NULL GROUP BY shard"
_FORGET: Final = """
    DELETE FROM node WHERE name = %s AND (stopped OR seen_at < clock_timestamp() - make_interval(secs => %s))
    RETURNING name
"""


async def ask(url: Secret, shard: int, kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Let the owner of a shard do something, and return its answer.

    Raises BusyError where no node answers: then nothing is done. Raises StoreError, ConfigError.
    """
    async with await NodeSession.open(url, _NAME) as session:
        [row] = await session.rows(_ADD, shard, kind, json.dumps(content))
        number = row["id"]
        await session.rows("SELECT pg_notify(%s, %s)", CHANNEL, f"request {shard}")
        for _ in range(int(_ANSWERED_WITHIN_S / _LOOK_S)):
            if (found := await _answer(session, number)) is not None:
                return found
            await asyncio.sleep(_LOOK_S)
        if await session.rows(_WITHDRAW, number) or (found := await _answer(session, number)) is None:
            raise BusyError("no node answers, and nothing was changed; see sosbridge cluster status")
        return found


async def _answer(session: NodeSession, number: int) -> dict[str, Any] | None:
    [row] = await session.rows(_ANSWER, number)
    if row["answer"] is None:
        return None
    found: dict[str, Any] = json.loads(row["answer"])
    if "error" in found:
        raise StoreError(found["error"])
    return found


async def look(url: Secret) -> tuple[int, Cluster]:
    """Return the number of shards, and the nodes and owners.

    Raises StoreError, ConfigError.
    """
    async with await NodeSession.open(url, _NAME) as session:
        rows = await session.rows("SELECT shards FROM cluster")
        return (rows[0]["shards"] if rows else 0), await session.cluster()


async def waiting(url: Secret) -> dict[int, int]:
    """Return how many alarms that panels raised wait for the owner of a shard, by shard.

    Raises StoreError, ConfigError.
    """
    async with await NodeSession.open(url, _NAME) as session:
        return {row["shard"]: row["n"] for row in await session.rows(_WAITING, SEND)}


async def forget(url: Secret, name: str) -> bool:
    """Remove a node that does not run; return False if it runs, or is not known.

    Raises StoreError, ConfigError.
    """
    async with await NodeSession.open(url, _NAME) as session:
        return bool(await session.rows(_FORGET, name, ALIVE_S))
