"""When the bridge ran and when parts of its lines changed, for 13 months; results in portions.

Runs and edges are only added. A run's last write is its end where the bridge was killed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from bridge.common.errors import DamagedError
from bridge.common.runs import Edge, Run
from bridge.store.database import Db, Row, Store

KEPT_S = 396 * 86400.0
"""13 months: the same month of the last year is there to compare."""
_MOST_EDGES = 300_000
"""Bounds disk and start; a receiver that flaps for months costs the oldest runs."""
_MOST_RUNS = 10_000
"""A service that restarts in a loop is no history."""
_RESULT = ("id", "command_id", "transmitter", "request", "result")
"""The columns of a StoredResult."""
_SCANNED = 2000
"""Results looked at in one job of the store: alarms wait for it."""


@dataclass(slots=True)
class OpenRun:
    """A run that is not over; `edges` are those that are not stored yet."""

    start: float
    end: float
    edges: list[Edge] = field(default_factory=list)
    id: int | None = None


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs in order: start, end, and edges by transmitter."""

    found: Sequence[tuple[float, float, Mapping[str, Sequence[Edge]]]]

    def of(self, transmitter: str) -> list[Run]:
        """Return all of them, with the edges of one transmitter."""
        return [Run(start, end, tuple(edges.get(transmitter, ()))) for start, end, edges in self.found]


class StoredResult(NamedTuple):
    """A row of the history; `payload` is the result as published."""

    id: int
    command_id: int | None
    transmitter: str
    request: str
    payload: str


class Edges:
    """The runs in a Store. Every method may raise StoreError."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def is_partial(self) -> bool:
        """Whether old runs cannot be read now: the store is in memory."""
        return self._store.failure is not None

    async def save(self, run: OpenRun) -> None:
        """Store what is new of a run. With a new one, those that are too old or too many are deleted."""
        edges = tuple(run.edges)
        run.id = await self._store.write(partial(_save, number=run.id, start=run.start, end=run.end, edges=edges))
        del run.edges[: len(edges)]

    async def runs(self, start: float, end: float) -> Runs:
        """Return all runs, with edges where they touch `start` to `end`."""
        found = []
        for number, began, last in await self._store.read(_runs):
            touches = began < end and last >= start
            edges = await self._store.read(partial(_edges, run=number)) if touches else {}
            found.append((began, last, edges))
        return Runs(found)

    async def results(self, since: float = 0.0, transmitter: str | None = None) -> AsyncIterator[list[StoredResult]]:
        """Yield the results that were completed at `since` or later, in order, a portion at a time."""
        sql = "SELECT coalesce(min(id), 0) AS first, coalesce(max(id), -1) AS last FROM history"
        bounds = await self._store.read(lambda db: db.execute(sql).fetchone())
        for number in range(bounds["first"], bounds["last"] + 1, _SCANNED):
            yield await self._store.read(partial(_results, first=number, since=since, transmitter=transmitter))


def read_run(row: Row) -> tuple[float, float]:
    """Raises DamagedError."""
    try:
        return float(row["start"]), float(row["last"])
    except (ValueError, TypeError) as error:
        raise DamagedError(f"the store: run {row['id']} cannot be read ({type(error).__name__})") from None


def read_edge(row: Row) -> Edge:
    """Raises DamagedError."""
    try:
        return Edge(str(row["transmitter"]), str(row["part"]), float(row["at"]), bool(int(row["up"])))
    except (ValueError, TypeError) as error:
        raise DamagedError(f"the store: an edge cannot be read ({type(error).__name__})") from None


def _save(db: Db, number: int | None, start: float, end: float, edges: Sequence[Edge]) -> int:
    if number is None:  # unless an earlier attempt did store it
        row = db.execute("SELECT id FROM run WHERE start = ?", (start,)).fetchone()
        number = row["id"] if row else None
    if number is None:
        _prune(db, end)
        number = int(
            db.execute("INSERT INTO run (start, last) VALUES (?, ?) RETURNING id", (start, end)).fetchone()["id"]
        )
    else:
        db.execute("UPDATE run SET last = ? WHERE id = ?", (end, number))
    values = [(number, each.transmitter, each.part, each.at, int(each.up)) for each in edges]
    sql = (
        "INSERT INTO edge (run, transmitter, part, at, up) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (run, transmitter, part, at) DO UPDATE SET up = excluded.up"
    )
    db.executemany(sql, values)
    return number


def _prune(db: Db, now: float) -> None:
    """Delete whole runs, so that a part is never without the edge that it began a run with."""
    db.execute("DELETE FROM run WHERE last < ?", (now - KEPT_S,))
    db.execute("DELETE FROM run WHERE id <= (SELECT max(id) FROM run) - ?", (_MOST_RUNS,))
    count = 0
    for row in db.execute("SELECT run, count(*) AS n FROM edge GROUP BY run ORDER BY run DESC").fetchall():
        count += row["n"]
        if count > _MOST_EDGES:
            db.execute("DELETE FROM run WHERE id <= ?", (row["run"],))
            break
    db.execute("DELETE FROM edge WHERE run NOT IN (SELECT id FROM run)")


def _runs(db: Db) -> list[tuple[int, float, float]]:
    return [(row["id"], *read_run(row)) for row in db.execute("SELECT * FROM run ORDER BY id")]


def _edges(db: Db, run: int) -> dict[str, list[Edge]]:
    found: dict[str, list[Edge]] = defaultdict(list)
    for row in db.execute("SELECT * FROM edge WHERE run = ? ORDER BY transmitter, part, at", (run,)):
        edge = read_edge(row)
        found[edge.transmitter].append(edge)
    return found


def _results(db: Db, first: int, since: float, transmitter: str | None) -> list[StoredResult]:
    sql = (
        f"SELECT {', '.join(_RESULT)} FROM history WHERE id >= ? AND id < ?"  # noqa: S608 - constants
        " AND completed_at >= ? AND (CAST(? AS TEXT) IS NULL OR transmitter = ?) ORDER BY id"
    )
    values = (first, first + _SCANNED, since, transmitter, transmitter)
    return [StoredResult(*(row[name] for name in _RESULT)) for row in db.execute(sql, values)]
