"""What the owner of a shard is asked to do by others: the command line, the panels of shard 0.

Whoever asks adds a row and notifies (`asking`); the owner carries it out over its own session and writes the answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bridge.common.models import Command
from bridge.store.database import Db, Store
from bridge.store.postgres.owner import CHANNEL
from bridge.store.records import columns

SEND: Final = "send"
"""The kind of a request to send a command; its content is that of the command's row."""
_OPEN: Final = (
    "SELECT id, kind, content FROM request WHERE shard = ? AND id > ? AND answer IS NULL ORDER BY id LIMIT 100"
)
_CLAIM: Final = "SELECT id FROM request WHERE id = ? AND answer IS NULL FOR UPDATE"
_KEPT: Final = "DELETE FROM request WHERE answer IS NOT NULL AND at < now() - interval '1 hour'"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that is not done yet."""

    id: int
    kind: str
    content: Mapping[str, Any]


class OtherShards:
    """The transmitters of other shards, for the outbox of one: their owners get a request (`Elsewhere`)."""

    def __init__(self, shards: Mapping[str, int]) -> None:
        """`shards`: of each transmitter that is not this owner's."""
        self._shards = shards

    def __contains__(self, transmitter: object, /) -> bool:
        return transmitter in self._shards

    def put(self, db: Db, command: Command) -> None:
        shard = self._shards[command.transmitter]
        db.execute(
            "INSERT INTO request (shard, kind, content) VALUES (?, ?, ?)", (shard, SEND, json.dumps(columns(command)))
        )
        db.execute("SELECT pg_notify(?, ?)", (CHANNEL, f"request {shard}"))


class Requests:
    """The requests of one shard, for its owner. Every method may raise StoreError."""

    def __init__(self, store: Store, shard: int) -> None:
        self._store = store
        self._shard = shard

    async def open(self, after: int = 0) -> list[Asked]:
        """Return what is to be done, in order: the first hundred after that number."""

        def work(db: Db) -> list[Asked]:
            rows = db.execute(_OPEN, (self._shard, after)).fetchall()
            return [Asked(row["id"], row["kind"], json.loads(row["content"])) for row in rows]

        return await self._store.read(work)

    def claim(self, asked: Asked) -> Callable[[Db], bool]:
        """Return what removes a request; it returns False where that was done before."""
        return lambda db: db.execute("DELETE FROM request WHERE id = ?", (asked.id,)).rowcount > 0

    async def answer(self, asked: Asked, answer: Mapping[str, Any]) -> None:
        """Store that a request is done."""
        await self.do(asked, lambda _: answer)

    async def do(self, asked: Asked, work: Callable[[Db], Mapping[str, Any]]) -> None:
        """Do a request and store its answer, which `work` returns, in one transaction.

        Nothing is done where it was done before, or is withdrawn.
        """

        def done(db: Db) -> None:
            if db.execute(_CLAIM, (asked.id,)).fetchone():
                db.execute("UPDATE request SET answer = ? WHERE id = ?", (json.dumps(work(db)), asked.id))
                db.execute(_KEPT)

        await self._store.write(done)
