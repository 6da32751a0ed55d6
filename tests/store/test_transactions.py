"""The store: one transaction for all who wait, a thread that outlives every fault, a disk that says no, a crash."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pytest
from support.stores import together

from bridge.common.errors import StoreError
from bridge.store.sqlite.database import SqliteStore

T = TypeVar("T")


def with_store(path: Path, body: Callable[[SqliteStore], Awaitable[T]]) -> T:
    async def run() -> T:
        async with await SqliteStore.open(path) as store:
            return await body(store)

    return asyncio.run(run())


def put(guid: str, size: int = 1) -> Callable[[sqlite3.Connection], int]:
    return lambda db: db.execute("INSERT INTO panel VALUES (?, ?)", (guid, "x" * size)).rowcount


def count(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT count(*) FROM panel").fetchone()[0])


def test_writers_that_wait_together_are_one_transaction(tmp_path: Path) -> None:
    async def body(store: SqliteStore) -> None:
        said: list[str] = []
        await store.read(lambda db: db.set_trace_callback(said.append))
        assert await together(store, *(put(f"GB{number}") for number in range(20))) == [1] * 20
        await store.read(lambda db: db.set_trace_callback(None))
        assert [words for words in said if words.split()[0] in ("BEGIN", "COMMIT", "ROLLBACK")] == [
            "BEGIN IMMEDIATE",
            "COMMIT",
        ]

    with_store(tmp_path / "s.db", body)


def test_readers_need_no_transaction(tmp_path: Path) -> None:
    async def body(store: SqliteStore) -> None:
        said: list[str] = []
        await store.read(lambda db: db.set_trace_callback(said.append))
        await store.read(count)
        await store.read(lambda db: db.set_trace_callback(None))
        assert said == ["SELECT count(*) FROM panel"]

    with_store(tmp_path / "s.db", body)


def test_a_number_too_large_for_the_store_is_an_error_and_no_hang(tmp_path: Path) -> None:
    async def body(store: SqliteStore) -> None:
        with pytest.raises(OverflowError):
            await store.read(lambda db: db.execute("SELECT ?", (2**70,)).fetchone())
        assert await store.read(count) == 0

    with_store(tmp_path / "s.db", body)


def test_a_job_that_undoes_the_whole_transaction_is_told_to_all_of_it(tmp_path: Path) -> None:
    def hostile(db: sqlite3.Connection) -> None:
        db.execute("ROLLBACK")
        raise ValueError("mine")

    async def body(store: SqliteStore) -> None:
        answers = await together(store, put("a"), hostile, put("b"))
        assert [type(answer) for answer in answers] == [ValueError] * 3
        assert await store.read(count) == 0
        await store.write(put("after"))

    with_store(tmp_path / "s.db", body)


def test_a_store_that_another_program_holds_locked_is_told_and_works_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.store.sqlite.connection._BUSY_S", 0.05)

    async def body(store: SqliteStore) -> None:
        with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="it is locked by another program"):
                await store.write(put("a"))
            assert await store.read(count) == 0
            other.execute("ROLLBACK")
        await store.write(put("a"))
        assert await store.read(count) == 1

    with_store(tmp_path / "s.db", body)


_OPENS = """
import asyncio, concurrent.futures.thread, os, sys
from pathlib import Path
from bridge.common.errors import StoreError

from bridge.store.sqlite.database import SqliteStore

async def run():
    if os.getuid() == 0:
        os.setuid(65534)  # file modes do not bind root
    try:
        store = await SqliteStore.open(Path(sys.argv[1]))
    except StoreError as error:
        print(error)
    else:
        await store.close()
        print("opened")

asyncio.run(run())
"""


@pytest.mark.parametrize(
    ("file_mode", "folder_mode", "words"),
    [(0o444, 0o755, "Permission denied"), (0o666, 0o555, "it is read-only")],
)
def test_a_store_that_may_not_be_written_is_told_at_start(file_mode: int, folder_mode: int, words: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "s.db"
        with_store(path, lambda store: store.write(put("a")))
        path.chmod(file_mode)
        path.parent.chmod(folder_mode)
        done = subprocess.run([sys.executable, "-c", _OPENS, path], capture_output=True, text=True, check=True)
        assert words in done.stdout, done
        assert "Traceback" not in done.stderr


_LIMITED = """
import asyncio, resource, sys
from pathlib import Path
from bridge.common.errors import StoreError

from bridge.store.sqlite.database import SqliteStore

def put(guid, size):
    return lambda db: db.execute("INSERT INTO panel VALUES (?, ?)", (guid, "x" * size)).rowcount

async def run():
    async with await SqliteStore.open(Path(sys.argv[1])) as store:
        await store.write(put("before", 1))
        unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, unlimited[1]))
        try:
            await store.write(put("large", 400_000))
        except StoreError as error:
            print(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        await store.write(put("after", 400_000))

asyncio.run(run())
"""


def test_a_file_that_cannot_grow_undoes_the_write_and_the_next_one_works(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    done = subprocess.run([sys.executable, "-c", _LIMITED, path], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"the store {path}: ")
    names = with_store(path, lambda store: store.read(lambda db: db.execute("SELECT guid FROM panel").fetchall()))
    assert sorted(row[0] for row in names) == ["after", "before"]


_WRITES = """
import asyncio, sys
from pathlib import Path

from bridge.store.sqlite.database import SqliteStore

async def one(store, number):
    await store.write(lambda db: db.execute("INSERT INTO panel VALUES (?, '')", (f"{number:06}",)).rowcount)
    print(number, flush=True)

async def run():
    async with await SqliteStore.open(Path(sys.argv[1])) as store:
        for start in range(0, 100_000, 5):
            await asyncio.gather(*(one(store, start + each) for each in range(5)))

asyncio.run(run())
"""


def test_what_was_confirmed_survives_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with subprocess.Popen([sys.executable, "-c", _WRITES, path], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout
        for _ in range(100):
            writer.stdout.readline()
        writer.kill()
        confirmed = 100 + len(writer.stdout.read().splitlines())
    stored = with_store(path, lambda store: store.read(count))
    assert confirmed <= stored <= confirmed + 5
