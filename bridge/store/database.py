"""One SQLite file on disk, used from one thread of its own.

Writers that wait at the same moment share one transaction: a flash card costs the same for twenty rows as for one.
A job's result is given back only once the transaction is on disk (WAL, synchronous=FULL).
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from bridge.common.errors import DamagedError, StoreError

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

# Each entry takes the schema one version up; what was released is never edited, only followed by the next.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE command (
        id INTEGER PRIMARY KEY AUTOINCREMENT,   -- the order in which commands were accepted
        transmitter TEXT NOT NULL,
        request TEXT NOT NULL,                  -- alarm, restore, ping, auth
        event_code TEXT NOT NULL DEFAULT '',    -- these four: which alarm it is about ('' where not given)
        area TEXT NOT NULL DEFAULT '',
        section TEXT NOT NULL DEFAULT '',
        detector TEXT NOT NULL DEFAULT '',
        body TEXT NOT NULL,                     -- JSON: the message's fields, the warnings
        accepted_at REAL NOT NULL,              -- Unix time, s
        state TEXT NOT NULL DEFAULT 'pending',  -- pending, rejected (set aside for a person)
        unauthorized INTEGER NOT NULL DEFAULT 0,
        undelivered INTEGER NOT NULL DEFAULT 0, -- 1: the event is owed, 2: it was published
        attempts INTEGER NOT NULL DEFAULT 0,
        error TEXT NOT NULL DEFAULT '',
        reply_topic TEXT,
        correlation BLOB
    );
    CREATE INDEX command_order ON command (transmitter, state, id);
    CREATE TABLE history (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        command_id INTEGER,
        transmitter TEXT NOT NULL,
        request TEXT NOT NULL,
        completed_at REAL NOT NULL,
        result TEXT NOT NULL,                   -- JSON, as published
        reply_topic TEXT,
        correlation BLOB,
        published INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX history_owed ON history (id) WHERE published = 0;
    CREATE INDEX history_last ON history (transmitter, request, id);
    CREATE TABLE active (
        transmitter TEXT NOT NULL, event_code TEXT NOT NULL,
        area TEXT NOT NULL, section TEXT NOT NULL, detector TEXT NOT NULL,
        since REAL NOT NULL, reference TEXT,
        PRIMARY KEY (transmitter, event_code, area, section, detector)
    ) WITHOUT ROWID;
    CREATE TABLE seen (mid INTEGER PRIMARY KEY, digest BLOB NOT NULL);
    """,
    """
    CREATE TABLE panel (guid TEXT PRIMARY KEY, content TEXT NOT NULL) WITHOUT ROWID;  -- JSON: state, alarms to restore
    CREATE TABLE forwarded (key TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;    -- physical events told already
    """,
    """
    -- when a command was accepted by the clock that counts from a boot, and whether the wall clock was sure (Moment)
    ALTER TABLE command ADD COLUMN boot TEXT NOT NULL DEFAULT '';
    ALTER TABLE command ADD COLUMN steady REAL NOT NULL DEFAULT 0;
    ALTER TABLE command ADD COLUMN sure INTEGER NOT NULL DEFAULT 0;
    """,
)

_PRAGMAS = (
    # A commit is one append and one sync; a rollback journal needs three syncs and writes pages twice.
    "journal_mode = WAL",
    # What is acknowledged is on disk, and not in a cache that the power cut empties.
    "synchronous = FULL",
    # A log that is kept and reused lets small changes still be written when the disk has filled up.
    "journal_size_limit = 8388608",
    # A page is copied from the log into the database once for many changes of it: flash wears by what is written.
    "wal_autocheckpoint = 1000",
    # Sorting needs no file: nothing is written to the card in order to read.
    "temp_store = MEMORY",
    # Pages are checked as they are read: what is damaged is an error, and not a wrong row.
    "cell_size_check = ON",
    # With memory-mapped pages an unreadable block of the card would end the process, and not be an error.
    "mmap_size = 0",
)
_LARGEST_CHECKED = 64 * 1024 * 1024
"""Bytes. An alarm does not wait at start until a card, at 20 MB/s, has read more than that."""
_BUSY_S = 5.0
_DAMAGE = {
    sqlite3.SQLITE_CORRUPT: "its pages contradict each other",
    sqlite3.SQLITE_NOTADB: "it is no SQLite file",
    sqlite3.SQLITE_IOERR_READ: "the disk cannot read it",
    sqlite3.SQLITE_IOERR_SHORT_READ: "the disk cannot read it",
    sqlite3.SQLITE_IOERR_CORRUPTFS: "the file system is damaged",
}
_PRIMARY = 0xFF
"""The bits of an error code that tell the kind, whatever the circumstance."""
_NO_TEXT = "Could not decode"
"""How Python's module begins to tell of a text that is no UTF-8."""
_FAULTS = (
    ("disk is full", "the disk is full"),
    ("readonly", "it is read-only"),
    ("read-only", "it is read-only"),
    ("unable to open", "it cannot be opened; see that its directory exists and may be written"),
    ("locked", "another program holds it locked"),
)


@dataclass(slots=True)
class _Job:
    work: Work[Any]
    write: bool
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[Any]

    def settle(self, result: object, error: BaseException | None) -> None:
        with suppress(RuntimeError):  # the loop is gone: nobody waits any more
            self.loop.call_soon_threadsafe(self._settle, result, error)

    def _settle(self, result: object, error: BaseException | None) -> None:
        if self.done.done():  # its waiter was cancelled; what was written stays written
            return
        if error is None:
            self.done.set_result(result)
        else:
            self.done.set_exception(error)


_Settled = tuple[_Job, Any, BaseException | None]
"""A job with its result or its error."""


class Store:
    """The open database. `write` and `read` run a function with the connection, in the store's thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._damage: DamagedError | None = None
        self._damaged = asyncio.Event()
        self._connection = connect(path)
        self._thread = threading.Thread(target=self._serve, name="store", daemon=True)
        self._thread.start()

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Open or create the database, check it and bring its schema up to date.

        Raises DamagedError, or StoreError with another reason in words: read-only, full, of a newer version.
        """
        return await asyncio.to_thread(cls, path)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Finish what is queued, then close the file."""
        self._closed = True
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    async def write(self, work: Work[T]) -> T:
        """Run `work` in a transaction; on return it is on disk. Raises StoreError: then nothing of it was written."""
        return await self._run(work, write=True)

    async def read(self, work: Work[T]) -> T:
        """Run `work`, which only reads. Raises StoreError."""
        return await self._run(work, write=False)

    async def until_damaged(self) -> DamagedError:
        """Wait until a job meets damage, and return it."""
        await self._damaged.wait()
        assert self._damage  # noqa: S101 - set before
        return self._damage

    async def _run(self, work: Work[T], *, write: bool) -> T:
        if self._closed:  # nobody would ever take the job
            raise StoreError(f"the store {self.path}: it is closed")
        loop = asyncio.get_running_loop()
        job = _Job(work, write, loop, loop.create_future())
        self._jobs.put(job)
        try:
            result: T = await job.done
        except DamagedError as error:
            self._damage = error
            self._damaged.set()
            raise
        return result

    def _serve(self) -> None:
        while True:
            batch = [self._jobs.get()]
            while not self._jobs.empty():
                batch.append(self._jobs.get())
            self._perform([job for job in batch if job])
            if None in batch:
                self._connection.close()
                return

    def _perform(self, jobs: list[_Job]) -> None:
        try:
            settled = self._transact(jobs)
        except Exception as error:  # noqa: BLE001 - told to each waiter; the thread goes on
            told = fault(self.path, error) if isinstance(error, sqlite3.Error) else error
            settled = [(job, None, told) for job in jobs]
        for job, result, failure in settled:
            job.settle(result, failure)

    def _transact(self, jobs: list[_Job]) -> list[_Settled]:
        """Run `jobs` in one transaction, each undone alone if it fails, all undone if the commit fails."""
        connection, write = self._connection, any(job.write for job in jobs)
        alone = len(jobs) == 1
        try:
            if write:
                connection.execute("BEGIN IMMEDIATE")
            settled = [self._attempt(job, savepoint=write and not alone) for job in jobs]
            if write:
                failed = alone and settled[0][2] is not None
                connection.execute("ROLLBACK" if failed else "COMMIT")
        except Exception:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return settled

    def _attempt(self, job: _Job, *, savepoint: bool) -> _Settled:
        connection = self._connection
        if savepoint:
            connection.execute("SAVEPOINT job")
        try:
            result = job.work(connection)
        except Exception as error:  # whatever it is, it is its waiter's: the thread goes on for the others
            if job.write and not connection.in_transaction:  # SQLite itself rolled the whole transaction back
                raise
            if savepoint:
                connection.execute("ROLLBACK TO job")
            return job, None, fault(self.path, error) if isinstance(error, sqlite3.Error) else error
        finally:
            if savepoint and connection.in_transaction:
                connection.execute("RELEASE job")
        return job, result, None


def fault(path: Path, error: sqlite3.Error) -> StoreError:
    """Return SQLite's error in words that tell what to do."""
    text = str(error)
    if text.startswith(_NO_TEXT):
        return damage(path, "a text in it is none")
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    if words := _DAMAGE.get(code) or _DAMAGE.get(code & _PRIMARY):
        return damage(path, words)
    reason = next((words for sign, words in _FAULTS if sign in text), text)
    return StoreError(f"the store {path}: {reason}")


def damage(path: Path, found: str) -> DamagedError:
    return DamagedError(f"the store {path}: it is damaged ({found}); the service sets it aside when it starts")


def connect(path: Path) -> sqlite3.Connection:
    """Open or create the database at `path`, as `Store.open` does, which serves it to others."""
    try:
        # Made here and not by SQLite, so that nobody else can ever read it.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    except OSError as error:
        raise StoreError(
            f"the store {path}: {error.strerror}; see that its directory exists and may be written"
        ) from None
    except sqlite3.Error as error:
        raise fault(path, error) from None
    try:
        _prepare(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise fault(path, error) from None
    except StoreError:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.row_factory = sqlite3.Row
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):  # asked first: what a newer version knows could look like damage
        raise StoreError(
            f"the store {path}: a newer sosbridge wrote it (schema {version}, this one knows {len(MIGRATIONS)})"
        )
    _check(connection, path)
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT;")
    # Proves at start, not at the first alarm, that the file can be written.
    connection.executescript(f"BEGIN IMMEDIATE; PRAGMA user_version = {len(MIGRATIONS)}; COMMIT;")


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Prove pages and indexes; damage of a store too large for it shows once it is met."""
    if path.stat().st_size > _LARGEST_CHECKED:
        return
    found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise damage(path, " ".join(found.split()))  # SQLite's words go over two lines
