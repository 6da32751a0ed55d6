"""Each store for the tests of what both promise: `pytestmark = pytest.mark.usefixtures("each_store")`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bridge.common.models import Secret
from bridge.store.database import Store
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
