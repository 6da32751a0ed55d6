"""Replaces a damaged store by a new one with all readable rows; the old one is renamed, never deleted.

A duplicate alarm beats a lost one: every readable row is copied, and an alarm whose texts are lost is copied without
them.

The order of steps survives a power cut between any two: the new store is completed under another name; the damaged one
and its log are renamed; the new one gets its name. If there is no store at start, the last steps are still to do.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bridge.common.errors import BridgeError, DamagedError, StoreError
from bridge.common.files import sync_directory
from bridge.common.kernel import steady_clock
from bridge.common.models import Alarm, Request
from bridge.common.text import counted
from bridge.sos_access.prepare import prepare_leniently
from bridge.store.database import Store
from bridge.store.edges import read_edge, read_run
from bridge.store.records import State, count_pending, read_active, read_panel, read_pending_result, read_queued
from bridge.store.sqlite import wal
from bridge.store.sqlite.connection import connect, damage, fault
from bridge.store.sqlite.database import SqliteStore
from bridge.store.sqlite.schema import NEEDED

log = logging.getLogger(__name__)

T = TypeVar("T")

_PARTS = ("", "-wal", "-shm")
"""Suffixes of the files of a database."""
_AGAIN_S = 60.0
"""Damaged again within this time, the new store begins empty; a third time ends the service: the disk is unusable."""


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """How a damaged store was replaced: the fields of `store_damaged` (TOPICS.md, Bridge events)."""

    file: str
    """New name of the damaged store, in the same directory."""
    reason: str
    waiting: int
    """Recovered commands that are pending."""
    whole: bool
    """Whether all rows could be read."""


Tables = dict[str, tuple[str, Callable[[sqlite3.Row], object]]]

_TABLES: Tables = {
    "command": ("id", read_queued),
    "active": ("transmitter, event_code, area, section, detector", read_active),
    "panel": ("guid", read_panel),
    "forwarded": ("key", lambda row: float(row["at"])),
    "fact": ("name", lambda row: str(row["value"])),
    "history": ("id", read_pending_result),
    "run": ("id", read_run),
    "edge": ("run, transmitter, part, at", read_edge),
}
"""By table: its order on disk, and a function that reads a row or raises."""
_UNREADABLE = (DamagedError, TypeError, ValueError)


class Recovery:
    """Opens the store for the service, which holds its lock; `report` is that of the last replacement."""

    def __init__(self, path: Path, check_panel: Callable[[dict[str, Any]], None]) -> None:
        """`check_panel` raises DamagedError for a panel's content that cannot be read."""
        self._path = path
        self._tables = _TABLES | {"panel": ("guid", lambda row: check_panel(read_panel(row)))}
        self._renewed: list[float] = []
        self.report: RecoveryReport | None = None

    async def open(self) -> Store:
        """Open the store, replacing a damaged one first. Raises StoreError if that does not help."""
        try:
            await self._do(lambda: _finish(self._path))
            return await self._checked()
        except DamagedError as error:
            await self.renew(error)
            return await SqliteStore.open(self._path, standby=True)

    async def renew(self, error: DamagedError) -> None:
        """Replace the closed store because of `error`. Raises StoreError, or `error` if it happens too often."""
        now = time.monotonic()
        self._renewed = [moment for moment in self._renewed if now - moment < _AGAIN_S]
        if len(self._renewed) > 1:
            raise error
        self.report = await self._do(lambda: _renew(self._path, str(error), {} if self._renewed else self._tables))
        self._renewed.append(now)
        log.critical(
            "%s. It is kept as %s; recovered: %s%s",
            self.report.reason,
            self.report.file,
            counted(self.report.waiting, "pending command"),
            "" if self.report.whole else "; parts of it could not be read",
        )

    async def _do(self, work: Callable[[], T]) -> T:
        """Run work on files in a thread. Raises StoreError."""
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            raise StoreError(f"the store {self._path}: {error.strerror}") from None
        except sqlite3.Error as error:
            raise fault(self._path, error) from None

    async def _checked(self) -> Store:
        """Open the store and read all that is needed of it. Raises DamagedError."""
        if await asyncio.to_thread(wal.breaks_off, self._path):
            raise damage(self._path, "its log is truncated: the last commands are lost")
        store = await SqliteStore.open(self._path, standby=True)
        try:
            await store.read(self._read_needed)
        except BaseException:
            await store.close()
            raise
        return store

    def _read_needed(self, db: sqlite3.Connection) -> None:
        for table, (_, read) in self._tables.items():
            for row in db.execute(f"SELECT * FROM {table} {NEEDED.get(table, '')}"):  # noqa: S608 - constants
                try:
                    read(row)
                except _UNREADABLE as error:
                    raise damage(self._path, f"table {table}: {error}") from None


def _finish(path: Path) -> None:
    """Complete a replacement that a power cut interrupted."""
    new = _new(path)
    if path.exists():
        _remove(new)
        return
    if any(_part(path, part).exists() for part in _PARTS):
        _rename(path, _free_name(path, "damaged"))
    if new.exists():
        _rename(new, path)
        log.warning("the store %s: completed the interrupted replacement of a damaged store", path)


def replace(path: Path, sound: Path) -> str | None:
    """Replace the database at `path` by the closed database `sound`; return the old one's new name.

    None: there was no old one.
    """
    _remove(_new(path))
    _rename(sound, _new(path))
    kept = _free_name(path, "replaced")
    existed = path.exists()
    _rename(path, kept)
    _rename(_new(path), path)
    return kept.name if existed else None


def _renew(path: Path, reason: str, tables: Tables) -> RecoveryReport:
    """Replace the store by a new one with what can be read of `tables`, which may be empty."""
    new, kept = _new(path), _free_name(path, "damaged")
    _remove(new)
    with closing(connect(new)) as target:
        whole = _recover(path, target, tables) if tables else False
        pending = count_pending(target)
    _rename(path, kept)
    _rename(new, path)
    return RecoveryReport(kept.name, reason, pending, whole)


def _recover(path: Path, target: sqlite3.Connection, tables: Tables) -> bool:
    """Copy what can be read of the store at `path`; return whether that was all. The file does not change."""
    if not path.stat().st_size:  # SQLite would delete its log
        return False
    whole = True
    try:
        source = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    except sqlite3.Error:
        return False
    with closing(source):
        source.row_factory = sqlite3.Row
        source.execute("PRAGMA writable_schema = ON")  # reads a truncated file as far as it goes
        # Losing a character beats losing an alarm.
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
    """Copy what can be read of a table; return whether that was all."""
    columns = [row["name"] for row in target.execute(f"PRAGMA table_info({table})")]
    whole = True
    for row in _rows(source, table, order):
        found = _readable(table, read, row) if row else {}
        whole = whole and row is not None and found == dict(row)
        if names := [name for name in columns if name in found]:
            sql = f"INSERT OR IGNORE INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608 - constant names
            target.execute(sql, [found[name] for name in names])
    return whole


def _rows(source: sqlite3.Connection, table: str, order: str) -> Iterator[sqlite3.Row | None]:
    """Yield the rows from both ends up to the damage, which yields None."""
    for direction in ("ASC", "DESC"):
        keys = ", ".join(f"{key} {direction}" for key in order.split(", "))
        try:
            yield from source.execute(f"SELECT * FROM {table} ORDER BY {keys}")  # noqa: S608 - constant names
        except sqlite3.Error:
            yield None
        else:
            return


def _readable(table: str, read: Callable[[sqlite3.Row], object], row: sqlite3.Row) -> dict[str, Any]:
    """Return what to insert for `row`: all of it, the readable part of an alarm, or nothing."""
    try:
        read(row)
    except _UNREADABLE:
        return _bare_alarm(row) if table == "command" else {}
    return dict(row)


def _bare_alarm(row: sqlite3.Row) -> dict[str, Any]:
    """Return an alarm with its code and place only; nothing if these cannot be read."""
    try:
        if Request(row["request"]) not in (Request.ALARM, Request.RESTORE):
            return {}
        place = {"transmitter_area": row["area"], "section": row["section"], "detector": row["detector"]}
        alarm, _ = prepare_leniently(Alarm(row["event_code"], **place))
    except (BridgeError, ValueError, TypeError):
        return {}
    body = {
        "alarm": alarm.given(),
        "reference": None,
        "warnings": ["the store was damaged; the texts of this alarm are lost"],
    }
    names = ("id", "transmitter", "request", "event_code", "area", "section", "detector")
    kept = {name: row[name] for name in names}
    boot, steady = steady_clock()
    accepted = {"accepted_at": time.time(), "boot": boot, "steady": steady()}  # now: else it may count as expired
    return {**kept, **accepted, "body": json.dumps(body), "state": State.PENDING}


def _part(path: Path, part: str) -> Path:
    return path.with_name(path.name + part)


def _new(path: Path) -> Path:
    return _part(path, ".new")


def _free_name(path: Path, what: str) -> Path:
    """Return an unused name, even if the clock stands still."""
    name = f"{path.name}.{what}-{time.strftime('%Y%m%dT%H%M%S')}"
    names = [path.with_name(name), *(path.with_name(f"{name}-{number}") for number in range(2, 1000))]
    return next(each for each in names if not any(_part(each, part).exists() for part in _PARTS))


def _rename(path: Path, to: Path) -> None:
    """Rename a database and then its log."""
    for part in _PARTS:
        if _part(path, part).exists():
            _part(path, part).rename(_part(to, part))
    sync_directory(path.parent)


def _remove(path: Path) -> None:
    for part in _PARTS:
        _part(path, part).unlink(missing_ok=True)
