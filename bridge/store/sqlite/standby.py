"""The store in memory while the disk cannot be written, and how its changes get to disk.

The copy has everything but old results and edges. Triggers note which rows change; once the disk takes writes again,
these rows are written there in one transaction.
"""

from __future__ import annotations

import json
import sqlite3

from bridge.store.sqlite.schema import MIGRATIONS, NEEDED

_TABLES = {
    "command": ("id",),
    "history": ("id",),
    "active": ("transmitter", "event_code", "area", "section", "detector"),
    "panel": ("guid",),
    "forwarded": ("key",),
    "fact": ("name",),
    "run": ("id",),
    "edge": ("run", "transmitter", "part", "at"),
}
"""The primary key of each table."""
_NOTE = """
    INSERT INTO changed SELECT '{table}', json_array({key})
    WHERE NOT EXISTS (SELECT 1 FROM changed WHERE name = '{table}' AND key = json_array({key}));
"""
"""In a trigger, the statement that fires it decides on conflicts: OR IGNORE would not be heeded."""
_LEFT_FREE = 1000
"""Numbers of results that are not given in memory."""


def copy(disk: sqlite3.Connection) -> sqlite3.Connection:
    """Return a copy of the store in memory. Raises sqlite3.Error where the disk cannot be read."""
    memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    try:
        memory.row_factory = sqlite3.Row
        memory.executescript(f"BEGIN; {';'.join(MIGRATIONS)}; PRAGMA user_version = {len(MIGRATIONS)}; COMMIT;")
        memory.execute("BEGIN")
        stored = {row["name"] for row in disk.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for table in _TABLES.keys() & stored:
            _copy_table(disk, memory, table)
        _raise_sequences(disk, memory)
        # Another program may write a result to the disk meanwhile: `sosbridge outbox drop`.
        memory.execute("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'history'", (_LEFT_FREE,))
        for table, key in _TABLES.items():
            _note_changes(memory, table, key)
        memory.execute("COMMIT")
    except sqlite3.Error:
        memory.close()
        raise
    return memory


def write_back(memory: sqlite3.Connection, disk: sqlite3.Connection) -> None:
    """Write the changes to disk in one transaction. On sqlite3.Error, nothing is written."""
    disk.execute("BEGIN IMMEDIATE")
    try:
        for change in memory.execute("SELECT name, key FROM changed"):
            _write_row(memory, disk, change["name"], json.loads(change["key"]))
        _raise_sequences(memory, disk)
        disk.execute("COMMIT")
    except sqlite3.Error:
        if disk.in_transaction:
            disk.execute("ROLLBACK")
        raise


def _copy_table(disk: sqlite3.Connection, memory: sqlite3.Connection, table: str) -> None:
    for row in disk.execute(f"SELECT * FROM {table} {NEEDED.get(table, '')}"):  # noqa: S608 - constants
        _insert(memory, table, row)


def _insert(db: sqlite3.Connection, table: str, row: sqlite3.Row) -> None:
    names = row.keys()
    sql = f"INSERT OR REPLACE INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608 - names of columns
    db.execute(sql, tuple(row))


def _raise_sequences(of: sqlite3.Connection, to: sqlite3.Connection) -> None:
    """Give no number twice, also where the row with the highest is gone by now."""
    for row in of.execute("SELECT name, max(seq) AS seq FROM sqlite_sequence GROUP BY name"):
        if not to.execute("SELECT 1 FROM sqlite_sequence WHERE name = ?", (row["name"],)).fetchone():
            to.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, 0)", (row["name"],))
        to.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (row["seq"], row["name"]))


def _note_changes(memory: sqlite3.Connection, table: str, key: tuple[str, ...]) -> None:
    memory.execute("CREATE TEMP TABLE IF NOT EXISTS changed (name TEXT, key TEXT, PRIMARY KEY (name, key))")
    for event, rows in (("INSERT", ("new",)), ("UPDATE", ("old", "new")), ("DELETE", ("old",))):
        keys = [", ".join(f"{row}.{name}" for name in key) for row in rows]
        notes = "".join(_NOTE.format(table=table, key=each) for each in keys)
        memory.execute(f"CREATE TEMP TRIGGER {table}_{event} AFTER {event} ON main.{table} BEGIN {notes} END")


def _write_row(memory: sqlite3.Connection, disk: sqlite3.Connection, table: str, key: list[object]) -> None:
    where = " AND ".join(f"{name} = ?" for name in _TABLES[table])
    row = memory.execute(f"SELECT * FROM {table} WHERE {where}", key).fetchone()  # noqa: S608 - constant names
    if row is None:
        disk.execute(f"DELETE FROM {table} WHERE {where}", key)  # noqa: S608 - constant names
    else:
        _insert(disk, table, row)
