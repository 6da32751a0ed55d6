"""A damaged store is set aside, never deleted, and a new one begun with what can still be read: better than no service.

An alarm that is lost is a house that burns, and a receiver knows one that comes twice. So every row that can be read
goes over, and an alarm whose texts are lost goes over without them.

The steps, so that the power may fail between any two: the new store is made whole under another name; the damaged one
is renamed, its log with it; the new one gets its name. Where there is no store at all, the last steps are still to do.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bridge.common.errors import BridgeError, DamagedError, StoreError
from bridge.common.models import Alarm, Request
from bridge.sos_access.prepare import prepare
from bridge.store import wal
from bridge.store.database import Store, connect, damage, fault
from bridge.store.records import State, read_active, read_panel, read_pending_result, read_queued

log = logging.getLogger(__name__)

T = TypeVar("T")

_PARTS = ("", "-wal", "-shm")
_AGAIN_S = 60.0
"""Damaged so soon again, a new store begins empty; once more, and the disk cannot be used at all."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What became of a damaged store."""

    file: str
    """The name it has now, beside the store."""
    reason: str
    waiting: int
    """Commands that were rescued and wait."""
    whole: bool
    """Whether nothing was found that could not be read."""


Tables = dict[str, tuple[str, Callable[[sqlite3.Row], object]]]

_TABLES: Tables = {
    "command": ("id", read_queued),
    "active": ("transmitter, event_code, area, section, detector", read_active),
    "panel": ("guid", read_panel),
    "forwarded": ("key", lambda row: float(row["at"])),
    "seen": ("mid", lambda row: b"" + row["digest"]),
    "history": ("id", read_pending_result),
}
"""The tables, the order in which each lies on disk, and what reads a row or fails."""
_UNREADABLE = (DamagedError, TypeError, ValueError)


class Keeper:
    """Opens the store for the service, which holds its lock; `loss` is what was damaged, to be told."""

    def __init__(self, path: Path, check_panel: Callable[[dict[str, Any]], None]) -> None:
        """`check_panel` raises DamagedError for what is stored of a panel and cannot be read back."""
        self._path = path
        self._tables = _TABLES | {"panel": ("guid", lambda row: check_panel(read_panel(row)))}
        self._renewed: list[float] = []
        self.loss: Loss | None = None

    async def open(self) -> Store:
        """Open the store; one that is damaged is set aside first. Raises StoreError where that does not help."""
        try:
            await self._do(lambda: _finish(self._path))
            return await self._proved()
        except DamagedError as error:
            await self.renew(error)
            return await Store.open(self._path)

    async def renew(self, error: DamagedError) -> None:
        """Set the closed store aside for `error`, and begin a new one. Raises StoreError."""
        now = time.monotonic()
        self._renewed = [moment for moment in self._renewed if now - moment < _AGAIN_S]
        if len(self._renewed) > 1:
            raise error
        self.loss = await self._do(lambda: _renew(self._path, str(error), {} if self._renewed else self._tables))
        self._renewed.append(now)
        log.critical(
            "%s. It is kept as %s; %d commands were rescued from it%s",
            self.loss.reason,
            self.loss.file,
            self.loss.waiting,
            "" if self.loss.whole else "; not all of it could be read",
        )

    async def _do(self, work: Callable[[], T]) -> T:
        """Do work on files. Raises StoreError."""
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            raise StoreError(f"the store {self._path}: {error.strerror}") from None
        except sqlite3.Error as error:
            raise fault(self._path, error) from None

    async def _proved(self) -> Store:
        """Open the store and read all that is in it, and what should be."""
        if await asyncio.to_thread(wal.breaks_off, self._path):
            raise damage(self._path, "its log breaks off: what was written last is lost")
        store = await Store.open(self._path)
        try:
            await store.read(self._prove)
        except BaseException:
            await store.close()
            raise
        return store

    def _prove(self, db: sqlite3.Connection) -> None:
        for table, (_, read) in self._tables.items():
            for row in db.execute(f"SELECT * FROM {table}"):  # noqa: S608 - a name of ours
                try:
                    read(row)
                except _UNREADABLE as error:
                    raise damage(self._path, f"table {table}: {error}") from None


def _finish(path: Path) -> None:
    """Do what a power cut left undone: without a store, the one that was made whole takes its place."""
    new = _new(path)
    if path.exists():
        _remove(new)
        return
    if any(_part(path, part).exists() for part in _PARTS):
        _rename(path, _aside(path, "damaged"))
    if new.exists():
        _rename(new, path)
        log.warning("the store %s: a damaged one was set aside before, and this one begun", path)


def replace(path: Path, sound: Path) -> str | None:
    """Put the sound and closed database `sound` in place of the one at `path`; return what that is called now."""
    _remove(_new(path))
    _rename(sound, _new(path))
    aside = _aside(path, "replaced")
    was_there = path.exists()
    _rename(path, aside)
    _rename(_new(path), path)
    return aside.name if was_there else None


def _renew(path: Path, reason: str, tables: Tables) -> Loss:
    """Begin a new store with what can be read of `tables`; with none of them it begins empty."""
    new, aside = _new(path), _aside(path, "damaged")
    _remove(new)
    with closing(connect(new)) as target:
        whole = _rescue(path, target, tables) if tables else False
        waiting = target.execute("SELECT count(*) FROM command WHERE state = 'pending'").fetchone()[0]
    _rename(path, aside)
    _rename(new, path)
    return Loss(aside.name, reason, waiting, whole)


def _rescue(path: Path, target: sqlite3.Connection, tables: Tables) -> bool:
    """Copy what can be read of the store at `path`; return whether that was all. The file is left as it is."""
    if not path.stat().st_size:  # SQLite would delete its log
        return False
    whole = True
    try:
        source = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    except sqlite3.Error:
        return False
    with closing(source):
        source.row_factory = sqlite3.Row
        source.execute("PRAGMA writable_schema = ON")  # a file that was cut off is read as far as it goes
        # A letter lost is better than an alarm lost.
        source.text_factory = lambda raw: raw.decode("utf-8", "replace")
        target.execute("BEGIN IMMEDIATE")
        for table, (order, read) in tables.items():
            whole = _copy(source, target, table, order, read) and whole
        target.execute("COMMIT")
    return whole


def _copy(
    source: sqlite3.Connection,
    target: sqlite3.Connection,
    table: str,
    order: str,
    read: Callable[[sqlite3.Row], object],
) -> bool:
    columns = [row["name"] for row in target.execute(f"PRAGMA table_info({table})")]
    whole = True
    for row in _rows(source, table, order):
        values = _values(table, read, row) if row else {}
        whole = whole and row is not None and values == dict(row)
        _insert(target, table, {name: values[name] for name in columns if name in values})
    return whole


def _rows(source: sqlite3.Connection, table: str, order: str) -> Iterator[sqlite3.Row | None]:
    """Yield the rows from both ends to the damage, which is None."""
    for direction in ("ASC", "DESC"):
        keys = ", ".join(f"{key} {direction}" for key in order.split(", "))
        try:
            yield from source.execute(f"SELECT * FROM {table} ORDER BY {keys}")  # noqa: S608 - names of ours
        except sqlite3.Error:
            yield None
        else:
            return


def _values(table: str, read: Callable[[sqlite3.Row], object], row: sqlite3.Row) -> dict[str, Any]:
    """Return what to insert for `row`: itself, what is left of an alarm, or nothing."""
    try:
        read(row)
    except _UNREADABLE:
        return _bare_alarm(row) if table == "command" else {}
    return dict(row)


def _bare_alarm(row: sqlite3.Row) -> dict[str, Any]:
    """Return an alarm by its code and place alone; nothing where not even these can be read."""
    try:
        if Request(row["request"]) not in (Request.ALARM, Request.RESTORE):
            return {}
        place = {"transmitter_area": row["area"], "section": row["section"], "detector": row["detector"]}
        alarm, _ = prepare(Alarm(row["event_code"], **{key: text or None for key, text in place.items()}))
    except (BridgeError, ValueError, TypeError):
        return {}
    body = {
        "alarm": {"event_code": alarm.event_code} | {key: text for key, text in place.items() if text},
        "reference": None,
        "warnings": ["the store was damaged: the texts of this alarm are lost"],
    }
    names = ("id", "transmitter", "request", "event_code", "area", "section", "detector")
    kept = {name: row[name] for name in names}
    return {**kept, "body": json.dumps(body), "accepted_at": time.time(), "state": State.PENDING}


def _insert(target: sqlite3.Connection, table: str, values: dict[str, Any]) -> None:
    if values:
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        sql = f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 - names of ours
        target.execute(sql, tuple(values.values()))


def _part(path: Path, part: str) -> Path:
    return path.with_name(path.name + part)


def _new(path: Path) -> Path:
    return _part(path, ".new")


def _aside(path: Path, what: str) -> Path:
    """Return a name that nothing has, even where the clock stands still."""
    name = f"{path.name}.{what}-{time.strftime('%Y%m%dT%H%M%S')}"
    names = [path.with_name(name), *(path.with_name(f"{name}-{number}") for number in range(2, 1000))]
    return next(each for each in names if not any(_part(each, part).exists() for part in _PARTS))


def _rename(path: Path, to: Path) -> None:
    """Rename a database, and what belongs to it after it."""
    for part in _PARTS:
        if _part(path, part).exists():
            _part(path, part).rename(_part(to, part))
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _remove(path: Path) -> None:
    for part in _PARTS:
        _part(path, part).unlink(missing_ok=True)
