"""Detect a write-ahead log that lost acknowledged transactions.

SQLite silently ends the log at the first damaged page. A transaction is written only after the one before is on disk,
so a transaction that is followed by pages of the same log was complete: if SQLite reads less, acknowledged rows are
lost. The last transaction may be torn by a power cut and proves nothing. Formats: sqlite.org/walformat.html.
"""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

_HEADER = struct.Struct(">8xI4x8s8x")
"""Log header: page size, and the two salts that each page carries."""
_PAGE = struct.Struct(">2I8s2I")
"""Frame header: page number; database size if it ends a transaction, else 0; salts; checksum."""
_BIG_ENDIAN = 0x377F0683
"""Magic number of a log with big-endian checksums."""
_INDEX = struct.Struct("=16xI")
"""Shared index header: number of pages that SQLite reads."""


def breaks_off(database: Path) -> bool:
    """Whether SQLite reads less of the log of `database` than certainly was on disk. Changes nothing."""
    try:
        promised = _promised(database)
        if promised and not database.stat().st_size:
            return True  # SQLite would delete the log of an empty database
        return promised > 0 and _read(database) < promised
    except (OSError, sqlite3.Error):  # no log, or opening the store raises the same error
        return False


def _read(database: Path) -> int:
    """Return the number of log pages that SQLite reads."""
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as db:
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (pages,) = _INDEX.unpack_from(database.with_name(f"{database.name}-shm").read_bytes())
    return int(pages)


def _promised(database: Path) -> int:
    """Return the number of pages that certainly were on disk."""
    with database.with_name(f"{database.name}-wal").open("rb") as log:
        head = log.read(_HEADER.size)
        if len(head) < _HEADER.size or not log.read(1):
            return 0  # just created
        if not _is_sound(head):
            return 1  # the header is on disk before the first page
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
    """Return the number of the last page that ends a transaction and is followed by a page of this log."""
    found = committed = number = 0
    while len(head := log.read(_PAGE.size)) == _PAGE.size:
        number += 1
        _, commits, own, *_ = _PAGE.unpack(head)
        if own == salts:
            found = committed
            committed = number if commits else committed
        log.seek(size, 1)
    return found
