"""`sosbridge store copy`: everything of a SQLite store in PostgreSQL, or nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.outbox import HOME, NOW, command, entry, put, result
from support.postgres import PostgresServer

from bridge.cli import call
from bridge.common.errors import ConfigError, StoreError
from bridge.common.models import Outcome, Reply, Request, Secret
from bridge.common.runs import Edge
from bridge.store.deliveries import Delivery
from bridge.store.edges import Edges, OpenRun
from bridge.store.outbox import Outbox
from bridge.store.passwords import PasswordFile, Passwords, password_file
from bridge.store.postgres.copying import copy
from bridge.store.postgres.database import PostgresStore
from bridge.store.postgres.nodes import Membership
from bridge.store.postgres.passwords import PasswordTable, read_passwords
from bridge.store.sqlite.database import SqliteStore
from bridge.store.sqlite.lock import hold

ACCOUNT = ("IK00001", "SV300")
FIRST, SECOND, THIRD, ROTATED = (Secret(letter * 15) for letter in "abcd")


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[Secret]:
    yield Secret(postgres.create("copied"))
    postgres.drop("copied")


async def _fill(path: Path) -> None:
    async with await SqliteStore.open(path) as store:
        outbox = Outbox(store)
        wanted = command(section="\0odd\1", reference="r", reply=Reply("answers", b"\0\xff"))
        await outbox.add([entry(wanted, Delivery(7, b"digest"))])
        rejected, done, last = await put(outbox, command(code="FA"), command(Request.PING), command(code="PA"))
        await outbox.complete(rejected, result(rejected, Outcome.REJECTED))
        await outbox.complete(done, result(done))
        await outbox.complete(last, result(last))
        await outbox.published((await outbox.to_publish()).results[:1])
        await outbox.keep_panel("GB1", {"name": "Haus"}, {"GB1:1": entry(command(code="BA", detector="2"))})
        await outbox.keep_fact("line home", "{}")
        await Edges(store).save(OpenRun(100.0, 200.0, [Edge(HOME, "link", 100.0, up=True)]))
        await outbox.drop((await outbox.list())[-1].id, NOW)


async def _content(outbox: Outbox, edges: Edges) -> list[object]:
    mids = await outbox._store.read(
        lambda db: [tuple(row[n] for n in ("mid", "token")) for row in db.execute("SELECT * FROM command ORDER BY id")]
    )
    return [
        await outbox.list(), mids, (await outbox.to_publish()).results, await outbox.last_known([HOME], 9),
        await outbox.panels(), await outbox.fact("line home"),
        (await edges.runs(0, 1e9)).of(HOME), [each async for each in edges.results()],
    ]  # fmt: skip


def test_everything_is_copied_with_the_passwords(
    tmp_path: Path, url: Secret, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sosbridge.db"
    asyncio.run(_fill(path))
    new = ROTATED
    Passwords(PasswordFile(password_file(path, "home", *ACCOUNT)), FIRST).add(new)
    assert call(["store", "copy", "--from", f"sqlite:{path}", "--to", url.reveal()]) == 0
    assert "password          1 rows" in capsys.readouterr().out

    async def run() -> None:
        async with await SqliteStore.open(path) as old, await PostgresStore.open(url) as store:
            outbox = Outbox(store)
            assert await _content(outbox, Edges(store)) == await _content(Outbox(old), Edges(old))
            [(account, content)] = (await read_passwords(store)).items()
            table = PasswordTable(store, account, content)
            passwords = await asyncio.to_thread(Passwords, table, FIRST)
            assert passwords.candidates() == (new, FIRST)
            highest = (await Outbox(old).list())[-1].id
            [queued] = await put(outbox, command())
            assert queued.id > highest + 1, "numbers are not given twice"

    asyncio.run(run())


def test_a_copied_store_has_one_shard_for_good(tmp_path: Path, url: Secret) -> None:
    """The owners of other shards would see neither its alarms nor its rotated passwords."""
    path = tmp_path / "sosbridge.db"
    asyncio.run(_fill(path))
    asyncio.run(copy(path, url))

    async def join(shards: int) -> None:
        name = f"of {shards}"  # the server holds the name of one that failed a little longer
        await (await Membership.join(url, name, "1", "digest", shards, shards)).leave()

    with pytest.raises(ConfigError, match=r"store\.shards is 8, but this database has 1 shards; use that number"):
        asyncio.run(join(8))
    asyncio.run(join(1))


def test_a_password_in_the_table_is_there_for_the_next_owner(url: Secret) -> None:
    async def run() -> None:
        async with await PostgresStore.open(url) as store:
            passwords = Passwords(PasswordTable(store, "a", None), FIRST)
            await asyncio.to_thread(passwords.add, SECOND)
        async with await PostgresStore.open(url) as store:
            content = (await read_passwords(store))["a"]
            passwords = Passwords(PasswordTable(store, "a", content), FIRST)
            assert passwords.candidates() == (SECOND, FIRST)
            await store.write(lambda db: db.execute("UPDATE password SET content = '{'"))
            damaged = Passwords(PasswordTable(store, "a", "{"), FIRST)
            assert "the row a of the table password is damaged" in str(damaged.trouble)
            with pytest.raises(StoreError, match="damaged"):
                await asyncio.to_thread(damaged.add, THIRD)
            await store.write(lambda db: db.execute("UPDATE password SET content = ?", (content,)))
            await asyncio.to_thread(damaged.recheck)
            assert damaged.trouble is None
            assert damaged.candidates() == passwords.candidates()

    asyncio.run(run())


def test_a_password_is_not_stored_once_the_session_is_lost(postgres: PostgresServer, url: Secret) -> None:
    async def run() -> None:
        async with await PostgresStore.open(url) as store:
            passwords = Passwords(PasswordTable(store, "a", None), FIRST)
            with postgres.connect() as admin:
                admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'copied'")
            with pytest.raises(StoreError):
                await asyncio.to_thread(passwords.add, SECOND)
            assert passwords.candidates() == (FIRST,)

    asyncio.run(run())


def test_a_target_with_rows_is_left_alone(tmp_path: Path, url: Secret, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "sosbridge.db"
    asyncio.run(_fill(path))
    words = ["store", "copy", "--from", f"sqlite:{path}", "--to", url.reveal()]

    async def set_shards(statement: str) -> None:
        async with await PostgresStore.open(url) as store:
            await store.write(lambda db: db.execute(statement))

    asyncio.run(set_shards("INSERT INTO cluster (shards) VALUES (2)"))
    assert call(words) == 1
    assert "it has 2 shards" in capsys.readouterr().err
    asyncio.run(set_shards("DELETE FROM cluster"))
    assert call(words) == 0
    assert call(words) == 1
    assert "it is not empty (2 rows in command); copy into a new database" in capsys.readouterr().err


def test_a_row_that_cannot_be_copied_leaves_the_target_empty(tmp_path: Path, url: Secret) -> None:
    path = tmp_path / "sosbridge.db"
    asyncio.run(_fill(path))
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE edge SET at = 'soon'")
        db.commit()

    async def run() -> None:
        with pytest.raises(StoreError):
            await copy(path, url)
        async with await PostgresStore.open(url) as store:
            assert await Outbox(store).list() == []
            assert not await store.read(lambda db: db.execute("SELECT * FROM cluster").fetchall())

    asyncio.run(run())


def test_a_store_that_is_used_or_missing_is_refused(
    tmp_path: Path, url: Secret, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sosbridge.db"
    assert call(["store", "copy", "--from", f"sqlite:{path}", "--to", url.reveal()]) == 1
    assert f"no store at {path}" in capsys.readouterr().err
    assert not path.exists()
    asyncio.run(_fill(path))
    with hold(path):
        assert call(["store", "copy", "--from", f"sqlite:{path}", "--to", url.reveal()]) == 3
    assert call(["store", "copy", "--from", str(path), "--to", url.reveal()]) == 2
    assert "write sqlite:PATH" in capsys.readouterr().err


def test_a_password_file_of_a_release_that_named_it_otherwise_is_not_forgotten(tmp_path: Path, url: Secret) -> None:
    path = tmp_path / "sosbridge.db"
    asyncio.run(_fill(path))
    Passwords(PasswordFile(tmp_path / "sosbridge.passwords" / "home.json"), FIRST).add(SECOND)
    with pytest.raises(StoreError, match="start the service once on the old store, then copy"):
        asyncio.run(copy(path, url))


@pytest.mark.parametrize("action", ["backup", "restore-backup"])
def test_a_database_is_backed_up_by_its_own_tools(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], action: str
) -> None:
    config = tmp_path / "sosbridge.toml"
    config.write_text('[mqtt]\nhost = "127.0.0.1"\n[store]\nurl = "postgresql://sosbridge@db/sosbridge"\n', "utf-8")
    assert call(["--config", str(config), action, str(tmp_path / "file")]) == 2
    assert "back it up with pg_dump" in capsys.readouterr().err
