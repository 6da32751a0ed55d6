"""Runs and edges in a store that is damaged, and in one whose disk takes no writes for a while."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support.stores import open_store, sqlite_only

from bridge.common.errors import DamagedError
from bridge.common.runs import Edge, Run
from bridge.store.database import Store
from bridge.store.edges import Edges, OpenRun
from bridge.store.sqlite.database import SqliteStore
from bridge.store.sqlite.recovery import Recovery

pytestmark = pytest.mark.usefixtures("each_store")

EDGES = (Edge("home", "link", 100.0, up=True), Edge("home", "receiver/primary", 150.0, up=False))


def open_run() -> OpenRun:
    return OpenRun(100.0, 200.0, list(EDGES))


async def runs_of(store: Store) -> list[Run]:
    return (await Edges(store).runs(0.0, 1000.0)).of("home")


@sqlite_only
def test_they_are_kept_when_a_damaged_store_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"

    async def body() -> None:
        async with await open_store(path) as store:
            await Edges(store).save(open_run())
        recovery = Recovery(path, lambda _: None)
        await recovery.renew(DamagedError("for this test"))
        assert recovery.report is not None
        assert recovery.report.whole
        async with await recovery.open() as store:
            assert await runs_of(store) == [Run(100.0, 200.0, EDGES)]

    asyncio.run(body())


@sqlite_only
def test_values_that_were_never_written_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"

    async def body() -> None:
        async with await open_store(path) as store:
            await Edges(store).save(open_run())
        with closing(sqlite3.connect(path)) as db:
            db.execute("UPDATE edge SET at = 'soon' WHERE part = 'link'")
            db.commit()
        recovery = Recovery(path, lambda _: None)
        async with await recovery.open() as store:
            with pytest.raises(DamagedError, match="an edge cannot be read") as caught:
                await runs_of(store)
            await store.until_damaged()
        await recovery.renew(caught.value)
        assert recovery.report is not None
        assert not recovery.report.whole
        async with await recovery.open() as store:
            assert await runs_of(store) == [Run(100.0, 200.0, EDGES[1:])]

    asyncio.run(body())


@sqlite_only
def test_what_changes_while_the_disk_is_full_is_written_later(tmp_path: Path) -> None:
    async def limit(store: SqliteStore, pages: int) -> None:
        pragma = f"PRAGMA max_page_count = {pages}"
        await store.read(lambda _: store._connection and store._connection.execute(pragma).fetchone())

    async def body() -> None:
        async with await SqliteStore.open(tmp_path / "store.sqlite", standby=True) as store:
            edges, run = Edges(store), open_run()
            await edges.save(run)
            await limit(store, 1)
            run.end = 900.0
            run.edges += [Edge("home", f"path/{number}{'x' * 50}", 300.0, up=True) for number in range(500)]
            await edges.save(run)
            assert edges.is_partial
            await limit(store, 1_000_000)
            async with asyncio.timeout(10):
                while edges.is_partial:  # noqa: ASYNC110 - the store sets no event for it
                    await asyncio.sleep(0.02)
            (found,) = await runs_of(store)
            assert (found.end, len(found.edges)) == (900.0, 502)

    asyncio.run(body())
