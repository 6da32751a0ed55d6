"""The store: its schema, what it promises of the disk, and what it says when the disk fails it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest
from support.outbox import command
from support.outbox import put as put_commands

from bridge.common.errors import StoreError
from bridge.common.models import AlarmIdentity, Command, Moment, PreparedAlarm, Reply, Request
from bridge.store.outbox import Outbox
from bridge.store.sqlite.database import SqliteStore
from bridge.store.sqlite.lock import hold
from bridge.store.sqlite.schema import MIGRATIONS

T = TypeVar("T")
COUNT = "SELECT count(*) FROM panel"


def with_store(path: Path, body: Callable[[SqliteStore], Awaitable[T]]) -> T:
    async def run() -> T:
        async with await SqliteStore.open(path / "store.sqlite") as store:
            return await body(store)

    return asyncio.run(run())


def pragma(store: SqliteStore, name: str) -> Awaitable[Any]:
    return store.read(lambda db: db.execute(f"PRAGMA {name}").fetchone()[0])


def put(guid: str, size: int = 1) -> Callable[[sqlite3.Connection], int]:
    """Return a job that writes a row of `size` bytes."""
    return lambda db: db.execute("INSERT INTO panel VALUES (?, ?)", (guid, "x" * size)).rowcount


def count(db: sqlite3.Connection) -> int:
    return int(db.execute(COUNT).fetchone()[0])


def schema(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as db:
        return {row[0] for row in db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}


def _modes(folder: Path) -> list[int]:
    return [path.stat().st_mode & 0o777 for path in folder.iterdir()]


def refused(path: Path) -> str:
    """Open a store that cannot be opened, and return what is said."""
    with pytest.raises(StoreError) as caught:
        with_store(path, lambda store: pragma(store, "user_version"))
    text = str(caught.value)
    assert text.startswith(f"the store {path / 'store.sqlite'}: ")
    assert "\n" not in text
    return text


def test_a_fresh_store_has_the_newest_schema_and_is_ours_alone(tmp_path: Path) -> None:
    assert with_store(tmp_path, lambda store: pragma(store, "user_version")) == len(MIGRATIONS)
    assert (tmp_path / "store.sqlite").stat().st_mode & 0o777 == 0o600


def test_what_is_written_is_on_disk(tmp_path: Path) -> None:
    async def body(store: SqliteStore) -> None:
        assert await pragma(store, "journal_mode") == "wal"
        assert await pragma(store, "synchronous") == 2
        await store.write(put("GB1"))
        # Another program sees it while we are open; the log beside it is as private as the store.
        with closing(sqlite3.connect(store.path)) as other:
            assert other.execute(COUNT).fetchone() == (1,)
        modes = _modes(tmp_path)
        assert len(modes) >= 2
        assert set(modes) == {0o600}

    with_store(tmp_path, body)


def _kept(folder: Path, version: int) -> Path:
    """Make a store as a release wrote it, and return its path."""
    path = folder / "store.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.executescript((Path(__file__).parent / "stores" / f"v{version}.sql").read_text("utf-8"))
        assert db.execute("PRAGMA user_version").fetchone() == (version,)
    return path


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS) + 1))
def test_a_store_of_every_release_comes_up_to_date_with_its_rows(tmp_path: Path, version: int) -> None:
    """Whoever adds a migration keeps a store of its schema in `stores/` with it."""
    old, fresh = tmp_path / "old", tmp_path / "fresh"
    old.mkdir()
    fresh.mkdir()
    path = _kept(old, version)

    async def body(store: SqliteStore) -> None:
        outbox = Outbox(store)
        alarm, restore, ping = await outbox.list()
        assert (alarm.id, alarm.attempts, alarm.error, alarm.undelivered) == (7, 6, "no receiver took it", True)
        assert alarm.command == Command(
            transmitter="home",
            request=Request.ALARM,
            accepted_at=datetime.fromtimestamp(1772359200.5, UTC),
            moment=Moment("b0071d", 12.5, sure=True) if version > 2 else Moment(),
            alarm=PreparedAlarm("BA", "2026-02-28 10:00:00.000", "r1", section="1", section_text="Café"),
            identity=AlarmIdentity("BA", section="1"),
            reference="r1",
            warnings=("section_text: cut",),
            reply=Reply("answers/me", b"\x00\xff"),
        )
        assert (restore.state, restore.error, restore.command.identity.event_code) == ("rejected", "code 3", "FA")
        assert (ping.command.request, ping.command.reference) == ("ping", "p")
        [active] = (await outbox.status("home")).active
        assert (active.identity, active.reference) == (AlarmIdentity("FA", section="2"), "r0")
        [owed] = (await outbox.to_publish()).results
        assert (owed.id, owed.reply) == (4, Reply("answers/me", b"\x01"))
        known = (await outbox.last_known(["home"], 1))["home"]
        assert known.results == {Request.ALARM: '{"outcome": "accepted"}'}
        assert list(await outbox.panels()) == ["GB7F20C14D05A91"][: version - 1]
        [new] = (await put_commands(outbox, command()))[-1:]
        assert new.id == 10, "numbers are not given twice"
        assert await pragma(store, "user_version") == len(MIGRATIONS)

    with_store(old, body)
    with_store(fresh, lambda store: pragma(store, "user_version"))
    assert schema(path) == schema(fresh / "store.sqlite")


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_a_command_does_not_upgrade_the_store_of_an_older_service_that_runs(tmp_path: Path, version: int) -> None:
    path = _kept(tmp_path, version)
    before = schema(path)
    with hold(path):
        assert "an older sosbridge is running on it; restart the service" in refused(tmp_path)
        assert schema(path) == before
    with_store(tmp_path, lambda store: pragma(store, "user_version"))
    assert schema(path) != before


def test_an_upgrade_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _kept(tmp_path, 1)
    before = schema(path)
    broken = (*MIGRATIONS[:1], "CREATE TABLE half (x); INSERT INTO nowhere VALUES (1);")
    with monkeypatch.context() as patched:
        patched.setattr("bridge.store.sqlite.connection.MIGRATIONS", broken)
        refused(tmp_path)
    assert schema(path) == before
    assert with_store(tmp_path, lambda store: pragma(store, "user_version")) == len(MIGRATIONS)


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    with_store(tmp_path, lambda store: store.write(put("GB1")))
    newer = len(MIGRATIONS) + 1
    with closing(sqlite3.connect(tmp_path / "store.sqlite")) as db:
        db.execute(f"PRAGMA user_version = {newer}")
    assert f"a newer sosbridge wrote it (schema {newer}, this one knows {len(MIGRATIONS)})" in refused(tmp_path)
    with closing(sqlite3.connect(tmp_path / "store.sqlite")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (newer,)
        assert db.execute(COUNT).fetchone() == (1,)


def test_an_old_sqlite_is_refused_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    assert "is too old; 3.35 is the oldest" in refused(tmp_path)


def test_no_database_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").write_bytes(b"these are notes, and long ones at that. " * 100)
    assert "not a SQLite file" in refused(tmp_path)


def test_a_damaged_file_is_refused_in_words(tmp_path: Path) -> None:
    async def fill(store: SqliteStore) -> None:
        for number in range(200):
            await store.write(put(f"GB{number}", 500))

    with_store(tmp_path, fill)
    path = tmp_path / "store.sqlite"
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xa5" * (len(content) - 8192)
    path.write_bytes(content)
    assert "damaged" in refused(tmp_path)


def test_a_missing_directory_is_refused_in_words(tmp_path: Path) -> None:
    assert "its directory must exist" in refused(tmp_path / "nowhere")


def test_a_directory_in_place_of_the_file_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").mkdir()
    assert "directory" in refused(tmp_path)


def test_a_full_disk_undoes_the_write_and_is_told_and_passes(tmp_path: Path) -> None:
    async def body(store: SqliteStore) -> None:
        await store.write(put("GB1"))
        pages = await pragma(store, "page_count")
        assert await pragma(store, f"max_page_count = {pages + 2}") == pages + 2

        def two_rows(db: sqlite3.Connection) -> None:
            put("GB2")(db)
            put("GB3", 200_000)(db)

        with pytest.raises(StoreError, match="the disk is full"):
            await store.write(two_rows)
        assert await store.read(count) == 1
        await store.write(put("GB4"))
        await pragma(store, "max_page_count = 100000")
        await store.write(two_rows)
        assert await store.read(count) == 4

    with_store(tmp_path, body)


def test_a_full_disk_in_a_batch_loses_nothing_that_was_confirmed(tmp_path: Path) -> None:
    async def body(store: SqliteStore) -> list[object]:
        pages = await pragma(store, "page_count")
        await pragma(store, f"max_page_count = {pages + 2}")
        sizes = (1, 200_000, 1)
        jobs = [store.write(put(f"GB{number}", size)) for number, size in enumerate(sizes)]
        return list(await asyncio.gather(*jobs, return_exceptions=True))

    answers = with_store(tmp_path, body)
    assert isinstance(answers[1], StoreError)
    assert with_store(tmp_path, lambda store: store.read(count)) == answers.count(1)


@pytest.mark.parametrize("error", [StoreError("words"), LookupError("key"), sqlite3.OperationalError("odd")])
def test_a_job_that_fails_alone_is_undone_and_the_next_works(tmp_path: Path, error: Exception) -> None:
    def work(db: sqlite3.Connection) -> None:
        put("undone")(db)
        raise error

    async def body(store: SqliteStore) -> None:
        with pytest.raises((StoreError, LookupError), match=str(error.args[0])):
            await store.write(work)
        await store.write(put("a"))
        assert await store.read(count) == 1

    with_store(tmp_path, body)
