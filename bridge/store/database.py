"""One SQLite file, used from a thread of its own.

Writers that wait at the same time share one transaction: on flash, twenty rows cost as much as one. A job gets its
result once the transaction is on disk (WAL, synchronous=FULL).
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from bridge.common.errors import DamagedError, StoreError
from bridge.store.connection import connect, fault

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]


@dataclass(slots=True)
class _Job:
    work: Work[Any]
    write: bool
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[Any]

    def settle(self, result: object, error: BaseException | None) -> None:
        with suppress(RuntimeError):  # the loop is closed, so nobody waits
            self.loop.call_soon_threadsafe(self._settle, result, error)

    def _settle(self, result: object, error: BaseException | None) -> None:
        if self.done.done():  # the waiter was cancelled; the transaction stays
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

        Raises DamagedError, or StoreError for another reason: read-only, full, of a newer version.
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
        except Exception as error:  # noqa: BLE001 - each waiter gets it; the thread continues
            failure = self._translated(error)
            settled = [(job, None, failure) for job in jobs]
        for job, result, failed in settled:
            job.settle(result, failed)

    def _translated(self, error: Exception) -> Exception:
        return fault(self.path, error) if isinstance(error, sqlite3.Error) else error

    def _transact(self, jobs: list[_Job]) -> list[_Settled]:
        """Run `jobs` in one transaction. A job that fails is rolled back alone; if the commit fails, all are."""
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
        except Exception as error:  # the waiter gets it; the thread continues with the others
            if job.write and not connection.in_transaction:  # SQLite rolled back the whole transaction
                raise
            if savepoint:
                connection.execute("ROLLBACK TO job")
            return job, None, self._translated(error)
        finally:
            if savepoint and connection.in_transaction:
                connection.execute("RELEASE job")
        return job, result, None
