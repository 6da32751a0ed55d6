"""A SQLite connection as the store needs it: pragmas, schema, integrity check, errors in words."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from bridge.common.errors import BusyError, DamagedError, StoreError
from bridge.store.sqlite.lock import hold
from bridge.store.sqlite.schema import MIGRATIONS

_PRAGMAS = (
    # A commit is one append and one sync; a rollback journal needs three syncs and writes pages twice.
    "journal_mode = WAL",
    # A commit returns once it is on disk: a power cut loses nothing that was acknowledged.
    "synchronous = FULL",
    # A log that is kept and reused takes small changes even when the disk is full.
    "journal_size_limit = 8388608",
    # Many changes of a page are copied into the database as one, which spares flash.
    "wal_autocheckpoint = 1000",
    # Reading never writes to the disk.
    "temp_store = MEMORY",
    # Pages are checked as they are read: damage is an error, not a wrong row.
    "cell_size_check = ON",
    # With memory-mapped pages an unreadable block would kill the process (SIGBUS) instead of being an error.
    "mmap_size = 0",
)
_OLDEST = (3, 35)
"""Older SQLite knows no RETURNING: it would fail at the first alarm."""
_LARGEST_CHECKED = 64 * 1024 * 1024
"""Bytes checked at start. A slow card (20 MB/s) reads them in about 3 s, for which alarms wait."""
_BUSY_S = 5.0
"""How long to wait for a lock of another program, such as `sosbridge outbox`."""
_DAMAGE = {
    sqlite3.SQLITE_CORRUPT: "inconsistent pages",
    sqlite3.SQLITE_NOTADB: "not a SQLite file",
    sqlite3.SQLITE_IOERR_READ: "read error of the disk",
    sqlite3.SQLITE_IOERR_SHORT_READ: "read error of the disk",
    sqlite3.SQLITE_IOERR_CORRUPTFS: "damaged file system",
}
_UNWRITABLE = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
)
_PRIMARY = 0xFF
"""Mask for the primary code of an extended SQLite error code."""
_INVALID_TEXT = "Could not decode"
"""How the message of Python's sqlite3 module begins for a text that is not UTF-8."""
_REASONS = (
    # part of SQLite's message, the reason given instead
    ("disk is full", "the disk is full"),
    ("readonly", "it is read-only"),
    ("read-only", "it is read-only"),
    ("unable to open", "it cannot be opened; its directory must exist and be writable"),
    ("locked", "it is locked by another program"),
)


def fault(path: Path, error: sqlite3.Error) -> StoreError:
    """Return the error to raise for SQLite's `error`: DamagedError, or StoreError with the reason."""
    text = str(error)
    if text.startswith(_INVALID_TEXT):
        return damage(path, "invalid UTF-8 in a text column")
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    if words := _DAMAGE.get(code) or _DAMAGE.get(code & _PRIMARY):
        return damage(path, words)
    reason = next((words for sign, words in _REASONS if sign in text), text)
    return StoreError(f"the store {path}: {reason}")


def is_unwritable(error: sqlite3.Error) -> bool:
    """Whether the disk does not take writes now, but may later: full, locked, read-only."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code not in _DAMAGE and code & _PRIMARY in _UNWRITABLE


def damage(path: Path, found: str) -> DamagedError:
    return DamagedError(f"the store {path}: it is damaged ({found}); the service replaces it when it starts")


def connect_unwritable(path: Path) -> sqlite3.Connection:
    """Open a database on a disk that takes no writes, to read it. Raises as `Store.open`.

    Its log is read without the index file beside it, which could not be made: that needs the database for itself. A
    read-only disk refuses the lock for that, so there it is a copy elsewhere that is opened.
    """
    try:
        return _open_exclusively(path)
    except DamagedError:
        raise
    except StoreError:
        if not os.statvfs(path).f_flag & os.ST_RDONLY:
            raise
    try:
        with tempfile.TemporaryDirectory() as folder:
            for each in (path, path.with_name(f"{path.name}-wal")):
                if each.exists():
                    shutil.copyfile(each, Path(folder) / each.name)
            return _open_exclusively(Path(folder) / path.name)  # the files live as long as they are open
    except OSError as error:
        raise StoreError(f"the store {path}: {error.strerror}") from None


def _open_exclusively(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, check_same_thread=False
        )
    except sqlite3.Error as error:
        raise fault(path, error) from None
    with _opening(connection, path):
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # before the first access
        for pragma in _PRAGMAS[1:]:
            connection.execute(f"PRAGMA {pragma}")
        _refuse_newer(connection, path)
        _check(connection, path)
    return connection


@contextmanager
def _opening(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    """Close `connection` where that fails; the error is a StoreError."""
    try:
        yield
    except sqlite3.Error as error:
        connection.close()
        raise fault(path, error) from None
    except StoreError:
        connection.close()
        raise


def connect(path: Path, *, owned: bool = True) -> sqlite3.Connection:
    """Open or create the database at `path`, check it and upgrade its schema. Raises as `Store.open`.

    Unless it is `owned`, an older service may run on it, which would not find its tables any more: the schema is
    upgraded only while no service does.
    """
    if sqlite3.sqlite_version_info < _OLDEST:
        raise StoreError(f"the store {path}: SQLite {sqlite3.sqlite_version} is too old; 3.35 is the oldest")
    try:
        # Created here, not by SQLite, so that it is never readable by others.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    except OSError as error:
        raise StoreError(f"the store {path}: {error.strerror}; its directory must exist and be writable") from None
    except sqlite3.Error as error:
        raise fault(path, error) from None
    with _opening(connection, path):
        _prepare(connection, path, owned=owned)
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, *, owned: bool) -> None:
    connection.row_factory = sqlite3.Row
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    version = _refuse_newer(connection, path)
    _check(connection, path)
    with nullcontext() if owned or version in (0, len(MIGRATIONS)) else _no_service(path):
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            connection.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT;")
    # A file that cannot be written fails here, at start, not at the first alarm.
    connection.executescript(f"BEGIN IMMEDIATE; PRAGMA user_version = {len(MIGRATIONS)}; COMMIT;")


@contextmanager
def _no_service(path: Path) -> Iterator[None]:
    """Keep services from the store. Raises StoreError while one runs."""
    try:
        with hold(path):
            yield
    except BusyError:
        raise StoreError(f"the store {path}: an older sosbridge is running on it; restart the service") from None


def _refuse_newer(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of the schema. Checked first: a newer schema could look like damage."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(MIGRATIONS):
        raise StoreError(
            f"the store {path}: a newer sosbridge wrote it (schema {version}, this one knows {len(MIGRATIONS)});"
            " upgrade sosbridge"
        )
    return version


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Check pages and indexes. In a store too large for it, damage shows when it is read."""
    if path.stat().st_size > _LARGEST_CHECKED:
        return
    found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise damage(path, " ".join(found.split()))  # the message has two lines
