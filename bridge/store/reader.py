"""What the outbox holds: the queries, for lines, the publisher and the command line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from typing import Any

from bridge.common.clock import Cutoff
from bridge.common.models import Request
from bridge.store.database import Db, Store
from bridge.store.records import (
    Counts,
    LineStatus,
    Queued,
    ToPublish,
    read_active,
    read_panel,
    read_pending_result,
    read_queued,
    read_time,
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
            " ELSE ? > 0 OR (sure = 1 AND accepted_at < ?) END ORDER BY id LIMIT 1000"
        )
        values = (transmitter, cutoff.boot, cutoff.steady, cutoff.steady, cutoff.wall)
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
        return await self._store.read(partial(_status, transmitter=transmitter))

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
        sql, sent = self._store.statements.owed_results, json.dumps(list(but or ()))

        def work(db: Db) -> ToPublish:
            found = db.execute(sql, (sent,)) if but is not None else ()
            return ToPublish(
                [read_pending_result(row) for row in found], {name: _status(db, name) for name in transmitters}
            )

        return await self._store.read(work)

    async def last_result(self, transmitter: str, requests: Collection[Request]) -> str | None:
        """Return the payload of the last published result of these requests."""
        sql, values = self._store.statements.last_result, (transmitter, json.dumps(list(requests)))
        row = await self._store.read(lambda db: db.execute(sql, values).fetchone())
        return str(row["result"]) if row else None

    async def last_results(self, transmitter: str, request: Request, most: int) -> list[dict[str, Any]]:
        """Return the fields of the last results of a request, oldest first."""
        sql = "SELECT * FROM history WHERE transmitter = ? AND request = ? ORDER BY id DESC LIMIT ?"
        rows = await self._store.read(lambda db: db.execute(sql, (transmitter, request, most)).fetchall())
        return [read_pending_result(row).fields for row in reversed(rows)]

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


def _status(db: Db, transmitter: str) -> LineStatus:
    sql = "SELECT * FROM active WHERE transmitter = ? ORDER BY since, event_code, section, detector, area"
    active = [read_active(row) for row in db.execute(sql, (transmitter,))]
    sql = (
        "SELECT count(*) FILTER (WHERE state = 'pending') AS pending,"
        " min(accepted_at) FILTER (WHERE state = 'pending') AS oldest,"
        " count(*) FILTER (WHERE state = 'rejected') AS rejected,"
        " count(*) FILTER (WHERE state = 'pending' AND unauthorized = 1) AS unauthorized,"
        " count(*) FILTER (WHERE state = 'pending' AND undelivered > 0) AS undelivered"
        " FROM command WHERE transmitter = ? AND request IN ('alarm', 'restore')"
    )
    found = dict(db.execute(sql, (transmitter,)).fetchone())
    oldest = found.pop("oldest")
    return LineStatus(active, Counts(**found, oldest_at=None if oldest is None else read_time(oldest)))
