"""Each store for the tests of what both promise: `pytestmark = pytest.mark.usefixtures("each_store")`."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bridge.common.models import Secret
from bridge.store.database import Db, Store
from bridge.store.sqlite.database import SqliteStore

if TYPE_CHECKING:
    from support.postgres import PostgresServer

sqlite_only = pytest.mark.parametrize("each_store", ["sqlite"], indirect=True)
"""Of a file: damage, a full disk, other programs that write."""


class _Databases:
    """The databases of one test, by the path that a file would have."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._names: set[str] = set()

    def url(self, path: Path) -> Secret:
        name = f"t{hashlib.sha256(str(path).encode()).hexdigest()[:20]}"
        if name not in self._names:
            self._names.add(name)
            self._server.create(name)
        return Secret(self._server.url(name))

    def drop(self) -> None:
        for name in self._names:
            self._server.drop(name)


_databases: list[_Databases] = []
"""Of the test that runs, if it is one on PostgreSQL."""


async def open_store(path: Path) -> Store:
    """Open the store that a test knows by `path`: a file, or a database."""
    if not _databases:
        return await SqliteStore.open(path)
    from bridge.store.postgres.database import PostgresStore  # noqa: PLC0415 - most tests need no psycopg

    return await PostgresStore.open(_databases[-1].url(path))


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The server of all tests of a process that leave it running."""
    from support.postgres import PostgresServer  # noqa: PLC0415 - most tests need no psycopg

    with PostgresServer() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def each_store(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run the test on each store: `open_store` opens it."""
    if request.param == "sqlite":
        yield
        return
    _databases.append(_Databases(request.getfixturevalue("postgres")))
    yield
    _databases.pop().drop()


@asynccontextmanager
async def held(store: Store) -> AsyncIterator[None]:
    """Let the store carry nothing out meanwhile: what is given to it is one batch."""
    begun: Future[None] = Future()
    gate: Future[None] = Future()

    def wait(_: Db) -> None:
        begun.set_result(None)
        gate.result()

    waiting = asyncio.create_task(store.read(wait))
    await asyncio.wrap_future(begun)
    try:
        yield
    finally:
        gate.set_result(None)
        await waiting


async def together(store: Store, *jobs: Callable[[Any], object]) -> list[object]:
    """Let `jobs` wait until all of them are queued, and return what becomes of each."""
    async with held(store):
        tasks = [asyncio.create_task(store.write(job)) for job in jobs]
        await asyncio.sleep(0)
    return list(await asyncio.gather(*tasks, return_exceptions=True))
