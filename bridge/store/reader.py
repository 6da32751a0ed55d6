"""What the outbox holds: the queries, for lines, the publisher and the command line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from bridge.common.clock import Cutoff
from bridge.common.models import ActiveAlarm, Request
from bridge.store.database import Db, Statements, Store
from bridge.store.records import (
    Counts,
    LastKnown,
    LineStatus,
    Queued,
    ToPublish,
    read_active,
    read_counts,
    read_panel,
    read_pending_result,
    read_queued,
)


class OutboxReader:
    """Reads the outbox of a Store. Every method may raise StoreError."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def _queued(self, sql: str, values: Sequence[Any] = ()) -> list[Queued]:
        return await self._store.read(lambda db: [read_queued(row) for row in db.execute(sql, values)])

    async def older_than(self, transmitter: str, cutoff: Cutoff) -> list[Queued]:
        """Return the pending alarms that are certainly older than `cutoff`, oldest first, at most 1000."""
        sql = (
            "SELECT * FROM command WHERE transmitter = ? AND state = 'pending'"
            " AND request IN ('alarm', 'restore') AND CASE WHEN boot = ? THEN steady < ?"
            " ELSE (boot <> '' AND ? = 1) OR (sure = 1 AND accepted_at < ?) END ORDER BY id LIMIT 1000"
        )
        values = (transmitter, cutoff.boot, cutoff.steady, int(cutoff.earlier), cutoff.wall)
        return await self._queued(sql, values)

    async def first(self, transmitter: str) -> Queued | None:
        sql = (
            "SELECT * FROM command WHERE transmitter = ? AND state = 'pending' AND request IN ('alarm', 'restore')"
            " ORDER BY id LIMIT 1"
        )
        found = await self._queued(sql, (transmitter,))
        return found[0] if found else None

    async def fact(self, name: str) -> str | None:
        """Return what `keep_fact` stored under this name."""
        row = await self._store.read(lambda db: db.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone())
        return str(row["value"]) if row else None

    async def status(self, transmitter: str) -> LineStatus:
        return (await self.to_publish([transmitter], None)).lines[transmitter]

    async def totals(self, transmitters: Collection[str]) -> Counter[str]:
        """Return how many alarms of these transmitters there are, by state."""
        sql = (
            "SELECT transmitter, state, count(*) AS n FROM command WHERE request IN ('alarm', 'restore')"
            " GROUP BY transmitter, state"
        )
        found: Counter[str] = Counter()
        for row in await self._store.read(lambda db: db.execute(sql).fetchall()):
            found[row["state"]] += row["n"] if row["transmitter"] in transmitters else 0
        return found

    async def to_publish(self, transmitters: Iterable[str] = (), but: Collection[int] | None = ()) -> ToPublish:
        """Return the unpublished results and the status of these transmitters, in one read.

        The results are in order, at most 500, without those numbered `but`; None: no results.
        """
        statements, sent, names = self._store.statements, json.dumps(list(but or ())), list(transmitters)

        def work(db: Db) -> ToPublish:
            found = db.execute(statements.owed_results, (sent,)) if but is not None else ()
            return ToPublish([read_pending_result(row) for row in found], _lines(db, statements, names))

        return await self._store.read(work)

    async def last_known(self, transmitters: Collection[str], most_tests: int) -> dict[str, LastKnown]:
        """Return what was published last of these transmitters, in one read, with so many test alarms of each."""
        statements, names, requests = self._store.statements, json.dumps(list(transmitters)), json.dumps(list(Request))

        def work(db: Db) -> dict[str, LastKnown]:
            lines = _lines(db, statements, transmitters)
            known = {name: LastKnown({}, [], lines[name]) for name in transmitters}
            for row in db.execute(statements.last_results, (names, requests)):
                known[row["transmitter"]].results[Request(row["request"])] = str(row["result"])
            for row in db.execute(statements.last_tests, (names, most_tests)):
                known[row["transmitter"]].tests.append(read_pending_result(row).fields)
            return known

        return await self._store.read(work)

    async def test_result(self, transmitter: str, number: int) -> dict[str, Any] | None:
        """Return the fields of the result of a test alarm; None until it has ended."""
        sql = "SELECT * FROM history WHERE transmitter = ? AND request = 'test' AND command_id = ?"
        row = await self._store.read(lambda db: db.execute(sql, (transmitter, number)).fetchone())
        return read_pending_result(row).fields if row else None

    async def owed_undelivered(self, transmitters: Iterable[str]) -> list[Queued]:
        """Return commands whose `undelivered` event is not published, oldest first, at most 1000."""
        return await self._queued(self._store.statements.owed_undelivered, [json.dumps(list(transmitters))])

    async def unconfigured(self, transmitters: Iterable[str]) -> dict[str, int]:
        """Return how many alarms are pending for transmitters other than these, by name."""
        sql, values = self._store.statements.unconfigured, (json.dumps(list(transmitters)),)
        return await self._store.read(lambda db: {row["transmitter"]: row["n"] for row in db.execute(sql, values)})

    async def list(self, transmitter: str | None = None) -> list[Queued]:
        """Return all pending and rejected commands, in order."""
        sql = "SELECT * FROM command WHERE CAST(? AS TEXT) IS NULL OR transmitter = ? ORDER BY id"
        return await self._queued(sql, (transmitter, transmitter))

    async def get(self, number: int) -> Queued | None:
        found = await self._queued("SELECT * FROM command WHERE id = ?", (number,))
        return found[0] if found else None

    async def panels(self) -> dict[str, Any]:
        sql = "SELECT guid, content FROM panel"
        return await self._store.read(lambda db: {row["guid"]: read_panel(row) for row in db.execute(sql)})

    async def change_mark(self) -> int:
        """Return a number that changes when another program writes to the store."""
        sql = self._store.statements.change_mark
        row = await self._store.read(lambda db: db.execute(sql).fetchone())
        return int(row["data_version"])


def _lines(db: Db, statements: Statements, transmitters: Collection[str]) -> dict[str, LineStatus]:
    if not transmitters:
        return {}
    names = json.dumps(list(transmitters))
    active: dict[str, list[ActiveAlarm]] = {name: [] for name in transmitters}
    for row in db.execute(statements.active, (names,)):
        active[row["transmitter"]].append(read_active(row))
    counts = {row["transmitter"]: read_counts(row) for row in db.execute(statements.counts, (names,))}
    return {name: LineStatus(active[name], counts.get(name, Counts())) for name in transmitters}
