"""The store while the disk takes no writes: it goes on in memory, and writes what has changed when it can."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import pytest
from support.outbox import HOME, command, entry, result

from bridge.common.errors import StoreError
from bridge.common.models import Command, Incoming, Outcome, Request
from bridge.store.deliveries import delivery_of
from bridge.store.outbox import Outbox
from bridge.store.sqlite.database import SqliteStore
from bridge.store.sqlite.lock import hold

FULL = "PRAGMA max_page_count = 1"
ROOMY = "PRAGMA max_page_count = 1000000"
TEXT = "x" * 20_000


@asynccontextmanager
async def service(path: Path) -> AsyncIterator[tuple[SqliteStore, Outbox]]:
    """Open the outbox as the service does."""
    async with await SqliteStore.open(path / "store.sqlite", standby=True) as store:
        yield store, Outbox(store)


async def set_limit(store: SqliteStore, pragma: str) -> None:
    """Let the disk be full, or have room again: the connection to it is not the one in use while it is full."""
    await store.read(lambda _: store._connection and store._connection.execute(pragma).fetchone())


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not check():  # noqa: ASYNC110 - the store sets no event for it
            await asyncio.sleep(0.02)


def message(mid: int, payload: bytes = b"BA", *, duplicate: bool = False) -> Incoming:
    return Incoming("b/x", payload, retained=False, duplicate=duplicate, mid=mid, reply=None)


def on_disk(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path / "store.sqlite")) as db:
        return db.execute(sql).fetchall()


def long(code: str = "BA", number: int = 0) -> Command:
    """Return a command that needs new pages of the disk."""
    return command(code=code, reference=f"{number}{TEXT}")


def test_a_full_disk_loses_nothing_and_is_written_later(tmp_path: Path) -> None:
    async def body() -> None:
        async with service(tmp_path) as (store, outbox):
            await outbox.add([entry(command(code="OLD"))])
            [old] = await outbox.pending(HOME)
            await set_limit(store, FULL)
            await outbox.add([entry(long("BA", each)) for each in range(60)])
            assert "the disk is full" in str(outbox.failure)
            taken = outbox.take(HOME)
            assert len(taken) == 60
            await outbox.complete(old, result(old))
            await outbox.complete(taken[0], result(taken[0]))
            await outbox.failed(taken[1], attempts=2, error="no route")
            owed = await outbox.owed_results()
            assert [each.command_id for each in owed] == [old.id, taken[0].id]
            await outbox.published(owed)
            assert (await outbox.counts(HOME)).pending == 59
            assert on_disk(tmp_path, "SELECT event_code FROM command") == [("OLD",)]
            await set_limit(store, ROOMY)
            await until(lambda: outbox.failure is None)
            assert len(await outbox.list()) == 59
        assert on_disk(tmp_path, "SELECT count(*) FROM command") == [(59,)]
        assert on_disk(tmp_path, "SELECT attempts, error FROM command ORDER BY id LIMIT 1") == [(2, "no route")]
        assert on_disk(tmp_path, "SELECT command_id, published FROM history ORDER BY id") == [(1, 1), (2, 1)]

    asyncio.run(body())


def test_numbers_are_not_given_twice(tmp_path: Path) -> None:
    async def body() -> None:
        async with service(tmp_path) as (store, outbox):
            await set_limit(store, FULL)
            await outbox.add([entry(long())])
            [queued] = await outbox.list()
            await outbox.complete(queued, result(queued))
            await set_limit(store, ROOMY)
            await until(lambda: outbox.failure is None)
            await outbox.add([entry(command())])
            [new] = await outbox.list()
            assert new.id > queued.id

    asyncio.run(body())


def test_what_is_only_in_memory_is_acknowledged_once_its_result_is_published(tmp_path: Path) -> None:
    async def body() -> None:
        async with service(tmp_path) as (store, outbox):
            await set_limit(store, FULL)
            deliveries = outbox.deliveries
            messages = [message(1), message(2)]
            await outbox.add([entry(long(number=each.mid or 0), delivery_of(each)) for each in messages])
            assert [deliveries.is_safe(each) for each in messages] == [False, False]
            assert deliveries.is_redelivery(message(1, duplicate=True)), "not taken twice after a reconnect"
            first, _ = await outbox.list()
            await outbox.complete(first, result(first))
            assert not deliveries.is_safe(messages[0])
            assert deliveries.is_redelivery(message(1, duplicate=True)), "it was not acknowledged: no other has its id"
            await outbox.published(await outbox.owed_results())
            assert [deliveries.is_safe(each) for each in messages] == [True, False]
            assert not deliveries.is_redelivery(message(1, duplicate=True))
            assert deliveries.changed.is_set()
            deliveries.new_session()
            assert not deliveries.is_redelivery(message(2, duplicate=True)), "the broker repeats nothing"
            await set_limit(store, ROOMY)
            await until(lambda: outbox.failure is None)
            assert deliveries.is_safe(messages[1])

    asyncio.run(body())


def test_a_panel_reports_an_event_again_until_its_alarm_is_safe(tmp_path: Path) -> None:
    async def body() -> None:
        async with service(tmp_path) as (store, outbox):
            assert await outbox.pending(HOME) == []
            await set_limit(store, FULL)
            events = {"GB1:1": entry(long())}
            for _ in range(2):
                with pytest.raises(StoreError, match="sent, but not stored yet"):
                    await outbox.keep_panel("GB1", {}, events)
            [queued] = outbox.take(HOME)
            await outbox.complete(queued, result(queued))
            await outbox.published(await outbox.owed_results())
            assert await outbox.keep_panel("GB1", {}, events) == set()

    asyncio.run(body())


def test_a_store_that_another_program_locks_is_written_when_it_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.store.sqlite.connection._BUSY_S", 0.1)

    async def body() -> None:
        async with service(tmp_path) as (_, outbox):
            with closing(sqlite3.connect(tmp_path / "store.sqlite", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                await outbox.add([entry(command())])
                assert "locked by another program" in str(outbox.failure)
                [queued] = await outbox.list()
                await outbox.complete(queued, result(queued, Outcome.ACCEPTED))
                other.execute("COMMIT")
            await until(lambda: outbox.failure is None)
            assert len(await outbox.active(HOME)) == 1

    asyncio.run(body())


def test_another_program_is_refused_and_not_let_on_in_memory(tmp_path: Path) -> None:
    async def body() -> None:
        async with await SqliteStore.open(tmp_path / "store.sqlite") as store:
            outbox = Outbox(store)
            await set_limit(store, FULL)
            with pytest.raises(StoreError, match="the disk is full"):
                await outbox.add([entry(long())])
            assert outbox.failure is None

    asyncio.run(body())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    root = [] if os.geteuid() == 0 else ["sudo", "-n"]  # as tests/run, which installs programs with it
    options = f"size=4m,mode=0700,uid={os.geteuid()}"
    subprocess.run([*root, "mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    yield folder
    subprocess.run([*root, "umount", "-l", folder], check=True)


def fill(folder: Path) -> Path:
    """Fill the disk with a file, and return that."""
    path = folder / "ballast"
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 512)
    return path


@pytest.mark.parametrize("unclean", [False, True])
def test_a_start_on_a_full_disk_sends_what_waits(small_disk: Path, *, unclean: bool) -> None:
    async def body() -> None:
        store = await SqliteStore.open(small_disk / "store.sqlite", standby=True)
        await Outbox(store).add([entry(command(code=code)) for code in ("BA", "FA")])
        if unclean:  # as a crash leaves it, without the index of the log
            parts = {name: (small_disk / name).read_bytes() for name in ("store.sqlite", "store.sqlite-wal")}
            await store.close()
            for name, content in parts.items():
                (small_disk / name).write_bytes(content)
        else:
            await store.close()
        ballast = fill(small_disk)
        async with service(small_disk) as (_, outbox):
            assert outbox.failure is not None
            waiting = await outbox.pending(HOME)
            assert [queued.command.identity.event_code for queued in waiting] == ["BA", "FA"]
            await outbox.complete(waiting[0], result(waiting[0]))
            await outbox.add([entry(command(Request.RESTORE))])
            ballast.unlink()
            await until(lambda: outbox.failure is None)
        async with service(small_disk) as (_, outbox):
            assert outbox.failure is None
            found = [queued.command.identity.event_code for queued in await outbox.pending(HOME)]
            assert found == ["FA", "BA"]
            assert len(await outbox.active(HOME)) == 1

    asyncio.run(body())


@pytest.mark.parametrize("unclean", [False, True])
def test_a_start_on_a_read_only_disk_sends_what_waits(small_disk: Path, *, unclean: bool) -> None:
    def remount(how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", small_disk], check=True)

    async def body() -> None:
        with hold(small_disk / "store.sqlite"):
            await _leave(small_disk, unclean=unclean)
        remount("ro")
        with hold(small_disk / "store.sqlite"):
            async with service(small_disk) as (_, outbox):
                assert outbox.failure is not None
                [waiting] = await outbox.pending(HOME)
                await outbox.complete(waiting, result(waiting))
                remount("rw")
                await until(lambda: outbox.failure is None)
                assert await outbox.list() == []

    asyncio.run(body())


async def _leave(folder: Path, *, unclean: bool) -> None:
    """Leave a store with one alarm, as a stop or as a crash leaves it."""
    store = await SqliteStore.open(folder / "store.sqlite", standby=True)
    await Outbox(store).add([entry(command())])
    parts = {name: (folder / name).read_bytes() for name in ("store.sqlite", "store.sqlite-wal")}
    await store.close()
    if unclean:
        for name, content in parts.items():
            (folder / name).write_bytes(content)
