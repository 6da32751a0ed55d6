"""What the owner of a shard is asked to do by others: the command line, the panels of shard 0.

Whoever asks adds a row and notifies (`asking`); the owner carries it out over its own session and writes the answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bridge.store.database import Db, Store

_KEPT: Final = "DELETE FROM request WHERE answer IS NOT NULL AND at < now() - interval '1 hour'"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that is not done yet."""

    id: int
    kind: str
    content: Mapping[str, Any]


class Requests:
    """The requests of one shard, for its owner. Every method may raise StoreError."""

    def __init__(self, store: Store, shard: int) -> None:
        self._store = store
        self._shard = shard

    async def open(self) -> list[Asked]:
        """Return what is to be done, in order."""
        sql = "SELECT id, kind, content FROM request WHERE shard = ? AND answer IS NULL ORDER BY id LIMIT 100"

        def work(db: Db) -> list[Asked]:
            rows = db.execute(sql, (self._shard,)).fetchall()
            return [Asked(row["id"], row["kind"], json.loads(row["content"])) for row in rows]

        return await self._store.read(work)

    async def answer(self, asked: Asked, answer: Mapping[str, Any]) -> None:
        """Store that a request is done."""

        def work(db: Db) -> None:
            db.execute("UPDATE request SET answer = ? WHERE id = ?", (json.dumps(answer), asked.id))
            db.execute(_KEPT)

        await self._store.write(work)
