"""What a log of SQLite's proves. SQLite ends it at the first page that is damaged, and says nothing of those behind.

A transaction is written only once the one before is on disk. So where pages of this log follow a transaction, that one
was whole: if SQLite reads less, acknowledged rows are lost. What a power cut leaves of the last one proves nothing.
(The formats: sqlite.org/walformat.html.)
"""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

_HEADER = struct.Struct(">8xI4x8s8x")
"""Of the log: the size of its pages, the two salts that all of them carry."""
_PAGE = struct.Struct(">2I8s2I")
"""Page number, size of the database after a commit, else 0; salts, checksum."""
_BIG_ENDIAN = 0x377F0683
"""The magic of a log whose checksums are made of big-endian words."""
_INDEX = struct.Struct("=16xI")
"""Of the shared index: how many pages SQLite reads."""


def breaks_off(database: Path) -> bool:
    """Tell whether SQLite reads less of the log of `database` than was on disk for certain. Nothing is changed."""
    try:
        promised = _promised(database)
        if promised and not database.stat().st_size:
            return True  # SQLite would delete the log of an empty database
        return promised > 0 and _read(database) < promised
    except (OSError, sqlite3.Error):  # there is no log, or whoever opens the store is told
        return False


def _read(database: Path) -> int:
    """Return how many pages of the log SQLite reads."""
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as db:
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (pages,) = _INDEX.unpack_from(database.with_name(f"{database.name}-shm").read_bytes())
    return int(pages)


def _promised(database: Path) -> int:
    """Return how many pages were certainly on disk."""
    with database.with_name(f"{database.name}-wal").open("rb") as log:
        head = log.read(_HEADER.size)
        if len(head) < _HEADER.size or not log.read(1):
            return 0  # a log that was just begun
        if not _is_sound(head):
            return 1  # it is on disk before the first page
        log.seek(_HEADER.size)
        size, salts = _HEADER.unpack(head)
        return _followed(log, size, salts)


def _is_sound(head: bytes) -> bool:
    (magic,) = struct.unpack_from(">I", head)
    words = struct.unpack_from(">6I" if magic == _BIG_ENDIAN else "<6I", head)
    one = two = 0
    for left, right in zip(words[::2], words[1::2], strict=True):
        one = (one + left + two) & 0xFFFFFFFF
        two = (two + right + one) & 0xFFFFFFFF
    return struct.pack(">2I", one, two) == head[24:]


def _followed(log: BinaryIO, size: int, salts: bytes) -> int:
    """Return the number of the last page that ends a transaction and has another page of this log behind it."""
    found = committed = number = 0
    while len(head := log.read(_PAGE.size)) == _PAGE.size:
        number += 1
        _, commits, own, *_ = _PAGE.unpack(head)
        if own == salts:
            found = committed
            committed = number if commits else committed
        log.seek(size, 1)
    return found
