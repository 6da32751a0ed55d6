"""One SQLite file, with synchronous=FULL: a commit returns once it is on disk.

While the disk takes no writes (full, locked, read-only), the service's store goes on in memory: `failure` says so, and
what has changed is written as soon as the disk takes it.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Self

from bridge.common.errors import DamagedError, StoreError
from bridge.store.database import Store
from bridge.store.sqlite import standby
from bridge.store.sqlite.connection import connect, connect_unwritable, fault, is_unwritable
from bridge.store.sqlite.statements import STATEMENTS

log = logging.getLogger(__name__)

_WRITE_BACK_S = 1.0
"""How often the disk is tried while it takes no writes."""
_WRITE_BACK_BUSY_MS = 100
"""How long that waits for a lock of another program; jobs wait meanwhile."""
_BUSY_MS = 5000


class SqliteStore(Store):
    """The open file."""

    statements = STATEMENTS
    _BEGIN = "BEGIN IMMEDIATE"

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop | None = None, *, standby: bool = False) -> None:
        """With `standby`, go on in memory while the disk takes no writes; `loop` is where `failure` is kept."""
        super().__init__(f"the store {path}", loop)
        self.path = path
        self._may_stand_by = standby
        self._memory: sqlite3.Connection | None = None
        self._write_back_at = 0.0
        self._connection = self._connect()
        """To the disk; None where that could only be read, at the start."""
        self._thread.start()

    @classmethod
    async def open(cls, path: Path, *, standby: bool = False) -> Self:
        """Open or create the database, check it and bring its schema up to date.

        Raises DamagedError, or StoreError for another reason: of a newer version; read-only or full, but with `standby`
        only where there is no store yet.
        """
        return await asyncio.to_thread(cls, path, asyncio.get_running_loop(), standby=standby)

    @property
    def _db(self) -> sqlite3.Connection:
        connection = self._memory or self._connection
        assert connection is not None  # noqa: S101 - there is always one of them
        return connection

    def _between(self, *, last: bool) -> None:
        if self._memory is not None and (last or time.monotonic() >= self._write_back_at):
            self._write_back(self._memory)

    def _patience(self) -> float | None:
        return None if self._memory is None else _WRITE_BACK_S

    def _disconnect(self) -> None:
        if self._memory is not None:
            log.critical("%s; what has changed since is lost", self.failure)
            self._memory.close()
        if self._connection is not None:
            self._connection.close()

    def _translated(self, error: Exception) -> Exception:
        return fault(self.path, error) if isinstance(error, sqlite3.Error) else error

    def _ends_batch(self, error: Exception) -> bool:
        return self._may_stand_by and isinstance(error, sqlite3.Error) and is_unwritable(error)

    def _connect(self) -> sqlite3.Connection | None:
        try:
            return connect(self.path, owned=self._may_stand_by)
        except DamagedError:
            raise
        except StoreError as error:
            if not (self._may_stand_by and self.path.is_file() and self.path.stat().st_size):
                raise
            with closing(connect_unwritable(self.path)) as connection:
                try:
                    self._memory = standby.copy(connection)
                except sqlite3.Error:
                    raise error from None
            self.failure = error
            return None

    def _recovered(self, error: Exception) -> bool:
        """Go on in memory because of `error`; return whether that is so now."""
        if self._connection is None or self._memory is not None or not self._may_stand_by:
            return False
        if not (isinstance(error, sqlite3.Error) and is_unwritable(error)):
            return False
        try:
            self._memory = standby.copy(self._connection)
        except sqlite3.Error:
            return False
        self._write_back_at = time.monotonic() + _WRITE_BACK_S
        self._failed(fault(self.path, error))
        return True

    def _write_back(self, memory: sqlite3.Connection) -> None:
        """Write what has changed in memory to the disk, if that takes it."""
        self._write_back_at = time.monotonic() + _WRITE_BACK_S
        try:
            self._connection = connection = self._connection or connect(self.path)
            connection.execute(f"PRAGMA busy_timeout = {_WRITE_BACK_BUSY_MS}")
            standby.write_back(memory, connection)
            connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        except sqlite3.Error as error:
            self._failed(fault(self.path, error))
        except StoreError as error:
            self._failed(error)
        else:
            self._memory = None
            memory.close()
            self._failed(None)
