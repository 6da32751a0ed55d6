"""Copies a SQLite store with its passwords into an empty database, in one transaction."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from bridge.common.errors import StoreError
from bridge.common.models import Secret
from bridge.store.database import Db
from bridge.store.passwords import directory
from bridge.store.postgres.database import PostgresStore
from bridge.store.sqlite.connection import connect, fault
from bridge.store.sqlite.lock import hold

_TABLES = ("command", "history", "active", "panel", "forwarded", "fact", "run", "edge")
_ACCOUNT = re.compile(r"[0-9a-f]{32}")
"""The name of a password file, unless it is one of 0.1.0."""
_PORTION = 1000
"""Rows of one statement, which has to end within its timeout."""


async def copy(source: Path, target: Secret) -> dict[str, int]:
    """Copy the store at `source`, which no service uses; return the number of rows by table.

    Raises BusyError, ConfigError, StoreError: then nothing was copied, or the error says that it is not known.
    """
    with _opened(source) as db:
        passwords = _read_passwords(directory(source))
        async with await PostgresStore.open(target, node="store copy") as store:
            return await store.write(lambda to: _copy(source, db, passwords, to, store.name))


@contextmanager
def _opened(source: Path) -> Iterator[sqlite3.Connection]:
    if not source.is_file():
        raise StoreError(f"no store at {source}")
    with hold(source), closing(connect(source)) as db:
        yield db


def _read_passwords(folder: Path) -> dict[str, str]:
    """Return the content of the password files by account."""
    found = {}
    for file in sorted(folder.glob("*.json")):
        if not _ACCOUNT.fullmatch(file.stem):
            raise StoreError(f"{file}: sosbridge 0.1.0 wrote it; start the service once on the old store, then copy")
        try:
            found[file.stem] = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(f"{file}: it cannot be read ({type(error).__name__})") from None
    return found


def _copy(source: Path, db: sqlite3.Connection, passwords: Mapping[str, str], to: Db, name: str) -> dict[str, int]:
    to.execute("INSERT INTO cluster (shards) VALUES (1) ON CONFLICT DO NOTHING")  # no node may begin with more
    if (row := to.execute("SELECT shards FROM cluster").fetchone()) and row["shards"] != 1:
        raise StoreError(f"{name}: it has {row['shards']} shards; a store is copied into a database with one")
    for table in (*_TABLES, "password"):
        if found := _count(to, table):
            raise StoreError(f"{name}: it is not empty ({found} rows in {table}); copy into a new database")
    try:
        expected = {table: _copy_table(db, to, table) for table in _TABLES}
        for row in db.execute("SELECT name, max(seq) AS seq FROM sqlite_sequence GROUP BY name"):
            if row["seq"]:  # no number is given twice, also where the row that had it is gone
                to.execute("SELECT setval(pg_get_serial_sequence(?, 'id'), ?)", (row["name"], row["seq"]))
    except sqlite3.Error as error:
        raise fault(source, error) from None
    values = list(passwords.items())
    to.executemany("INSERT INTO password (account, content) VALUES (?, ?)", values)
    expected["password"] = len(values)
    for table, count in expected.items():
        if (found := _count(to, table)) != count:
            raise StoreError(f"{name}: {found} of {count} rows arrived in {table}; nothing was copied")
    return expected


def _count(db: Db, table: str) -> int:
    return int(db.execute(f"SELECT count(*) AS n FROM {table}").fetchone()["n"])  # noqa: S608 - constant


def _copy_table(db: sqlite3.Connection, to: Db, table: str) -> int:
    """Copy a table; return how many rows it has."""
    rows = db.execute(f"SELECT * FROM {table}")  # noqa: S608 - constant
    names = [column[0] for column in rows.description]
    sql = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608 - constants
    while portion := rows.fetchmany(_PORTION):
        to.executemany(sql, [tuple(row) for row in portion])
    return _count(db, table)
