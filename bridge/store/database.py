"""One SQLite file, used from a thread of its own.

Writers that wait at the same time share one transaction: on flash, twenty rows cost as much as one. A job gets its
result once the transaction is on disk (WAL, synchronous=FULL).

While the disk takes no writes (full, locked, read-only), the service's store goes on in memory: `failure` says so, and
what has changed is written as soon as the disk takes it.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from bridge.common.errors import DamagedError, StoreError
from bridge.store import standby
from bridge.store.connection import connect, connect_unwritable, fault, is_unwritable

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]


@dataclass(slots=True)
class _Job:
    work: Work[Any]
    write: bool
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[Any]

    def settle(self, result: object, error: BaseException | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: no caller waits
            self.loop.call_soon_threadsafe(self._settle, result, error)

    def _settle(self, result: object, error: BaseException | None) -> None:
        if self.done.done():  # the waiter was cancelled; the transaction stays
            return
        if error is None:
            self.done.set_result(result)
        else:
            self.done.set_exception(error)


_WRITE_BACK_S = 1.0
"""How often the disk is tried while it takes no writes."""
_WRITE_BACK_BUSY_MS = 100
"""How long that waits for a lock of another program; jobs wait meanwhile."""
_BUSY_MS = 5000

_Settled = tuple[_Job, Any, BaseException | None]
"""A job with its result or its error."""


class Store:
    """The open database. `write` and `read` run a function with the connection, in the store's thread."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop | None = None, *, standby: bool = False) -> None:
        """With `standby`, go on in memory while the disk takes no writes; `loop` is where `failure` is kept."""
        self.path = path
        self.failure: StoreError | None = None
        """Why the disk takes no writes; None while it does."""
        self.on_failure: list[Callable[[StoreError | None], None]] = []
        """Called when `failure` changes."""
        self._loop = loop
        self._may_stand_by = standby
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._damage: DamagedError | None = None
        self._damaged = asyncio.Event()
        self._memory: sqlite3.Connection | None = None
        self._write_back_at = 0.0
        self._connection = self._connect()
        """To the disk; None where that could only be read, at the start."""
        self._thread = threading.Thread(target=self._serve, name="store", daemon=True)
        self._thread.start()

    @classmethod
    async def open(cls, path: Path, *, standby: bool = False) -> Self:
        """Open or create the database, check it and bring its schema up to date.

        Raises DamagedError, or StoreError for another reason: of a newer version; read-only or full, but with `standby`
        only where there is no store yet.
        """
        return await asyncio.to_thread(cls, path, asyncio.get_running_loop(), standby=standby)

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
        """Run `work` in a transaction and return once it is on disk. Raises StoreError if nothing was written."""
        return await self._run(work, write=True)

    async def read(self, work: Work[T]) -> T:
        """Run `work`, which must not write. Raises StoreError."""
        return await self._run(work, write=False)

    async def until_damaged(self) -> DamagedError:
        """Wait until a job finds damage, and return its error."""
        await self._damaged.wait()
        assert self._damage  # noqa: S101 - set before
        return self._damage

    async def _run(self, work: Work[T], *, write: bool) -> T:
        if self._closed:  # the thread would never run the job
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
            batch = self._gather()
            self._perform([job for job in batch if job])
            if self._memory is not None and (None in batch or time.monotonic() >= self._write_back_at):
                self._write_back(self._memory)
            if None in batch:
                self._close()
                return

    def _gather(self) -> list[_Job | None]:
        """Return the jobs that wait; none if the disk is to be tried first."""
        try:
            batch = [self._jobs.get(timeout=None if self._memory is None else _WRITE_BACK_S)]
        except queue.Empty:
            return []
        while not self._jobs.empty():
            batch.append(self._jobs.get())
        return batch

    def _close(self) -> None:
        if self._memory is not None:
            log.critical("%s; what has changed since is lost", self.failure)
            self._memory.close()
        if self._connection is not None:
            self._connection.close()

    def _perform(self, jobs: list[_Job]) -> None:
        try:
            settled = self._transact(jobs)
        except Exception as error:  # noqa: BLE001 - each waiter gets it; the thread continues
            if self._stand_by(error):
                self._perform(jobs)
                return
            failure = self._translated(error)
            settled = [(job, None, failure) for job in jobs]
        for job, result, failed in settled:
            job.settle(result, failed)

    def _translated(self, error: Exception) -> Exception:
        return fault(self.path, error) if isinstance(error, sqlite3.Error) else error

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

    def _stand_by(self, error: Exception) -> bool:
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

    def _failed(self, failure: StoreError | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: no caller waits
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._set_failure, failure)

    def _set_failure(self, failure: StoreError | None) -> None:
        if isinstance(failure, DamagedError):
            self._damage = failure
            self._damaged.set()
        before, self.failure = self.failure, failure
        if str(before) != str(failure):
            for call in self.on_failure:
                call(failure)

    def _transact(self, jobs: list[_Job]) -> list[_Settled]:
        """Run `jobs` in one transaction. A job that fails is rolled back alone; if the commit fails, all are."""
        connection, write = self._memory or self._connection, any(job.write for job in jobs)
        assert connection is not None  # noqa: S101 - there is always one of them
        alone = len(jobs) == 1
        try:
            if write:
                connection.execute("BEGIN IMMEDIATE")
            settled = [self._attempt(connection, job, savepoint=write and not alone) for job in jobs]
            if write:
                failed = alone and settled[0][2] is not None
                connection.execute("ROLLBACK" if failed else "COMMIT")
        except Exception:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return settled

    def _attempt(self, connection: sqlite3.Connection, job: _Job, *, savepoint: bool) -> _Settled:
        if savepoint:
            connection.execute("SAVEPOINT job")
        try:
            result = job.work(connection)
        except Exception as error:  # the waiter gets it; the thread continues with the others
            if job.write and not connection.in_transaction:  # SQLite rolled back the whole transaction
                raise
            if job.write and self._may_stand_by and isinstance(error, sqlite3.Error) and is_unwritable(error):
                raise
            if savepoint:
                connection.execute("ROLLBACK TO job")
            return job, None, self._translated(error)
        finally:
            if savepoint and connection.in_transaction:
                connection.execute("RELEASE job")
        return job, result, None
