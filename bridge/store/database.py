"""The store's interface: jobs that read and write, in a thread with one connection.

Writers that wait at the same time share one transaction: on flash, twenty rows cost as much as one. A job gets its
result once the transaction is on disk.

`bridge.store.sqlite` and `bridge.store.postgres` are the two stores. SQL that both understand stands where it is used;
the rest is in `Statements`.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

from bridge.common.errors import DamagedError, InDoubtError, StoreError

T = TypeVar("T")


class Row(Protocol):
    """One row; its columns by name."""

    def __getitem__(self, name: str, /) -> Any: ...  # noqa: ANN401 - of any type

    def keys(self) -> Iterable[str]: ...


class Rows(Protocol):
    """What a statement found. Columns are read by name."""

    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> Any: ...  # noqa: ANN401 - a Row, or None

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class Db(Protocol):
    """The connection, as jobs use it. Parameters are written `?`."""

    @property
    def in_transaction(self) -> bool: ...

    def execute(self, sql: str, values: Sequence[Any] = ..., /) -> Rows: ...

    def executemany(self, sql: str, values: Iterable[Sequence[Any]], /) -> object: ...


Work = Callable[[Any], T]
"""A job, which gets a Db: what it executes is one transaction, or part of one."""


COUNTED = """
    count(*) FILTER (WHERE state = 'pending') AS pending,
    min(accepted_at) FILTER (WHERE state = 'pending') AS oldest,
    count(*) FILTER (WHERE state = 'rejected') AS rejected,
    count(*) FILTER (WHERE state = 'pending' AND unauthorized = 1) AS unauthorized,
    count(*) FILTER (WHERE state = 'pending' AND undelivered > 0) AS undelivered
"""
"""The columns of `Counts`, over the alarms and restores of a transmitter."""


@dataclass(frozen=True, slots=True)
class Statements:
    """SQL that differs between the stores. `list` parameters are lists as JSON."""

    owed_results: str
    """The unpublished results in order, at most 500; parameters: list of those to leave out."""
    owed_undelivered: str
    """The commands whose `undelivered` event is to be published, at most 1000; parameters: list of transmitters."""
    active: str
    """The active alarms in order; parameters: list of transmitters."""
    counts: str
    """The numbers of alarms by transmitter; parameters: list of transmitters. One without alarms may be left out."""
    last_results: str
    """The last published result of each transmitter and request; parameters: lists of transmitters and requests."""
    last_tests: str
    """The results of the last test alarms of each transmitter; parameters: list of transmitters, how many of each."""
    unconfigured: str
    """The number of pending alarms by transmitter; parameters: list of transmitters to leave out."""
    change_mark: str
    """A number that changes when another program writes."""


@dataclass(slots=True)
class Job:
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


Settled = tuple[Job, Any, BaseException | None]
"""A job with its result or its error."""


class Store(ABC):
    """The open database. `write` and `read` run a function with the connection, in the store's thread."""

    statements: Statements
    _BEGIN = "BEGIN"

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop | None) -> None:
        """`name` begins every error; `loop` is where `failure` is kept.

        A subclass connects, then starts the thread.
        """
        self.name = name
        self.failure: StoreError | None = None
        """Why no writes are taken; None while they are."""
        self.on_failure: list[Callable[[StoreError | None], None]] = []
        """Called when `failure` changes."""
        self.lost = asyncio.Event()
        """Set once this store can do nothing any more; each job raises StoreError."""
        self._loop = loop
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._closed = False
        self._damage: DamagedError | None = None
        self._damaged = asyncio.Event()
        self._ended = asyncio.Event()
        """Set by the thread when the connection is closed."""
        self._thread = threading.Thread(target=self._serve, name="store", daemon=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Finish what is queued, then close the connection."""
        self._closed = True
        self._loop = asyncio.get_running_loop()
        self._jobs.put(None)
        await self._ended.wait()  # to join the thread in another would keep the process that gives up waiting

    async def write(self, work: Work[T]) -> T:
        """Run `work` in a transaction and return once it is on disk.

        Raises StoreError if nothing was written, InDoubtError if that is not known.
        """
        return await self._run(work, write=True)

    async def write_surely(self, work: Work[T], again: Work[T] | None = None) -> T:
        """Run `work` until it is certainly on disk; `again` in its place once it may have been written.

        Raises StoreError if nothing was written, InDoubtError if the store is lost meanwhile.
        """
        while True:
            try:
                return await self.write(work)
            except InDoubtError:
                if self.lost.is_set():
                    raise
                work = again or work

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
            raise StoreError(f"{self.name}: it is closed")
        loop = asyncio.get_running_loop()
        job = Job(work, write, loop, loop.create_future())
        self._jobs.put(job)
        try:
            result: T = await job.done
        except DamagedError as error:
            self._damage = error
            self._damaged.set()
            raise
        return result

    # What the stores do differently, in the store's thread

    @property
    @abstractmethod
    def _db(self) -> Db:
        """The connection that jobs get."""

    @abstractmethod
    def _disconnect(self) -> None:
        """Close the connection: no job follows."""

    @abstractmethod
    def _translated(self, error: Exception) -> Exception:
        """Return what a waiter gets for `error`."""

    def _commit(self, db: Db) -> None:
        db.execute("COMMIT")

    def _recovered(self, error: Exception) -> bool:
        """Whether the jobs that failed with `error` can be run again now."""
        del error
        return False

    def _ends_batch(self, error: Exception) -> bool:
        """Whether `error` of one job concerns the others as well."""
        del error
        return False

    def _between(self, *, last: bool) -> None:  # noqa: B027 - most stores have nothing to do then
        """Called after each batch; `last`: before the connection is closed."""

    def _patience(self) -> float | None:
        """How long to wait for a job; None: until there is one."""
        return None

    def _serve(self) -> None:
        while True:
            batch = self._gather()
            self._perform([job for job in batch if job])
            self._between(last=None in batch)
            if None in batch:
                try:
                    self._disconnect()
                finally:
                    self._in_loop(self._ended.set)
                return

    def _gather(self) -> list[Job | None]:
        """Return the jobs that wait; none if `_between` is to be called first."""
        try:
            batch = [self._jobs.get(timeout=self._patience())]
        except queue.Empty:
            return []
        while not self._jobs.empty():
            batch.append(self._jobs.get())
        return batch

    def _perform(self, jobs: list[Job]) -> None:
        try:
            settled = self._transact(jobs)
        except Exception as error:  # noqa: BLE001 - each waiter gets it; the thread continues
            if self._recovered(error):
                self._perform(jobs)
                return
            failure = self._translated(error)
            settled = [(job, None, failure) for job in jobs]
        for job, result, failed in settled:
            job.settle(result, failed)

    def _failed(self, failure: StoreError | None) -> None:
        self._in_loop(self._set_failure, failure)

    def _in_loop(self, call: Callable[..., object], *args: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: no caller waits
            if self._loop is not None:
                self._loop.call_soon_threadsafe(call, *args)

    def _set_failure(self, failure: StoreError | None) -> None:
        if isinstance(failure, DamagedError):
            self._damage = failure
            self._damaged.set()
        before, self.failure = self.failure, failure
        if str(before) != str(failure):
            for call in self.on_failure:
                call(failure)

    def _transact(self, jobs: list[Job]) -> list[Settled]:
        """Run `jobs` in one transaction. A job that fails is rolled back alone; if the commit fails, all are."""
        db, write = self._db, any(job.write for job in jobs)
        alone = len(jobs) == 1
        try:
            if write:
                db.execute(self._BEGIN)
            settled = [self._attempt(db, job, savepoint=write and not alone) for job in jobs]
            if write:
                if alone and settled[0][2] is not None:
                    db.execute("ROLLBACK")
                else:
                    self._commit(db)
        except Exception:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        return settled

    def _attempt(self, db: Db, job: Job, *, savepoint: bool) -> Settled:
        if savepoint:
            db.execute("SAVEPOINT job")
        try:
            result = job.work(db)
        except Exception as error:  # the waiter gets it; the thread continues with the others
            if job.write and (not db.in_transaction or self._ends_batch(error)):  # the whole transaction is rolled back
                raise
            if savepoint:
                db.execute("ROLLBACK TO job")
            return job, None, self._translated(error)
        finally:
            if savepoint and db.in_transaction:
                db.execute("RELEASE job")
        return job, result, None
