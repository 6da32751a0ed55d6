"""PostgreSQL alone: ownership of a shard, a session that is lost, commits in doubt, errors in words."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.brokers import free_port
from support.outbox import HOME, NOW, command, entry, put, result
from support.pgproxy import proxy
from support.postgres import PostgresServer

from bridge.common.errors import BusyError, ConfigError, InDoubtError, StoreError
from bridge.common.models import Outcome, Secret
from bridge.store.database import Work
from bridge.store.deliveries import Delivery
from bridge.store.outbox import Outbox
from bridge.store.postgres import schema
from bridge.store.postgres.database import PostgresStore
from bridge.store.records import Entry, InvalidEntry

_numbers = itertools.count()
INSERT = "INSERT INTO panel (guid, content) VALUES (?, '')"


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    name = f"own{next(_numbers)}"
    postgres.create(name)
    yield name
    postgres.drop(name)


@pytest.fixture
def url(postgres: PostgresServer, database: str) -> Secret:
    return Secret(postgres.url(database))


async def count(store: PostgresStore, table: str = "panel") -> int:
    return int(await store.read(lambda db: db.execute(f"SELECT count(*) AS n FROM {table}").fetchone()["n"]))


async def end_sessions(server: PostgresServer, database: str) -> None:
    """End the sessions of a database, as an administrator does, and wait until they have."""
    sql = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
    with server.connect() as admin:
        admin.execute(sql, (database,))


def refused(url: str | Secret) -> str:
    """Open a store that cannot be opened, and return the error's text."""

    async def run() -> None:
        async with await PostgresStore.open(Secret(url)):
            pass

    with pytest.raises((StoreError, ConfigError)) as caught:
        asyncio.run(run())
    text = str(caught.value)
    assert "\n" not in text
    return text


# Ownership


def test_one_session_owns_a_shard(url: Secret) -> None:
    async def run() -> None:
        async with await PostgresStore.open(url), await PostgresStore.open(url, 1) as other:
            with pytest.raises(BusyError, match="another sosbridge owns shard 0"):
                await PostgresStore.open(url)
            await other.write(lambda db: db.execute(INSERT, ("GB1",)))
        async with await PostgresStore.open(url) as next_owner:
            assert await count(next_owner) == 0, "the shards share no rows"

    asyncio.run(run())


def test_a_reader_owns_nothing_and_cannot_write(url: Secret) -> None:
    async def run() -> None:
        with pytest.raises(StoreError, match="start the service"):
            await PostgresStore.open(url, owned=False)
        async with await PostgresStore.open(url) as owner, await PostgresStore.open(url, owned=False) as reader:
            await owner.write(lambda db: db.execute(INSERT, ("GB1",)))
            assert await count(reader) == 1
            with pytest.raises(StoreError, match="takes no writes"):
                await reader.write(lambda db: db.execute(INSERT, ("GB2",)))

    asyncio.run(run())


def test_who_does_nothing_for_a_lease_owns_nothing(url: Secret) -> None:
    async def run() -> None:
        async with await PostgresStore.open(url, lease_s=0.3) as paused:
            await asyncio.sleep(0.6)
            async with await PostgresStore.open(url) as owner:
                with pytest.raises(StoreError, match="idle for longer than the lease"):
                    await paused.write(lambda db: db.execute(INSERT, ("GB1",)))
                assert paused.lost.is_set()
                assert await count(owner) == 0

    asyncio.run(run())


def test_a_paused_transaction_is_ended_and_writes_nothing(url: Secret, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.store.postgres.connection._IN_TRANSACTION_MS", 200)

    def pause(db: psycopg.Connection) -> None:
        db.execute(INSERT, ("GB1",))
        time.sleep(0.5)

    async def run() -> None:
        async with await PostgresStore.open(url) as paused:
            with pytest.raises(StoreError, match="paused within a transaction"):
                await paused.write(pause)
        async with await PostgresStore.open(url) as owner:
            assert await count(owner) == 0

    asyncio.run(run())


# A session that is lost


def test_a_lost_session_is_not_made_again(postgres: PostgresServer, database: str, url: Secret) -> None:
    async def run() -> None:
        async with await PostgresStore.open(url) as store:
            failures: list[StoreError | None] = []
            store.on_failure.append(failures.append)
            await end_sessions(postgres, database)
            for _ in range(2):
                with pytest.raises(StoreError, match="an administrator ended the session") as caught:
                    await store.write(lambda db: db.execute(INSERT, ("GB1",)))
                assert not isinstance(caught.value, InDoubtError)
            with pytest.raises(StoreError):
                await count(store)
            await asyncio.wait_for(store.lost.wait(), 1)
            assert len(failures) == 1
            assert store.failure is failures[0]

    asyncio.run(run())


def test_a_last_commit_is_from_before_it_was_asked_for(url: Secret) -> None:
    async def run() -> None:
        async with await PostgresStore.open(url) as store:
            before = time.clock_gettime(time.CLOCK_BOOTTIME)
            await store.write(lambda db: db.execute("SELECT pg_sleep(0.2)"))
            assert before <= store.last_commit
            last = store.last_commit
            await store.read(lambda db: db.execute("SELECT 1"))
            with pytest.raises(StoreError):
                await store.write(lambda db: db.execute("SELECT 1 / 0"))
            assert store.last_commit == last

    asyncio.run(run())


_WRITES = """
import asyncio, sys
from bridge.common.models import Secret
from bridge.store.postgres.database import PostgresStore

async def one(store, number):
    await store.write(lambda db: db.execute("INSERT INTO panel (guid, content) VALUES (?, '')", (f"{number:06}",)))
    print(number, flush=True)

async def run():
    async with await PostgresStore.open(Secret(sys.argv[1])) as store:
        for start in range(0, 100_000, 5):
            await asyncio.gather(*(one(store, start + each) for each in range(5)))

asyncio.run(run())
"""


def test_what_was_confirmed_survives_a_crash_of_the_server() -> None:
    with PostgresServer({"fsync": "on", "full_page_writes": "on", "synchronous_commit": "off"}) as server:
        url = server.create("crash")
        with subprocess.Popen([sys.executable, "-c", _WRITES, url], stdout=subprocess.PIPE, stderr=-3) as writer:
            assert writer.stdout
            for _ in range(100):
                writer.stdout.readline()
            server.stop("QUIT")
            confirmed = 100 + len(writer.stdout.read().splitlines())
        server.start()

        async def run() -> int:
            async with await PostgresStore.open(Secret(url)) as store:
                return await count(store)

        assert confirmed <= asyncio.run(run()) <= confirmed + 5


# Commits in doubt


@asynccontextmanager
async def breaking(postgres: PostgresServer, database: str, at: str) -> AsyncIterator[PostgresStore]:
    """Open a store whose connection breaks at the next COMMIT."""
    async with proxy(postgres.port) as between, await PostgresStore.open(Secret(between.url(database))) as store:
        between.break_at = at
        yield store


@pytest.mark.parametrize(("at", "stored"), [("before", 0), ("after", 1)])
def test_a_connection_that_breaks_during_commit_leaves_it_open(
    postgres: PostgresServer, database: str, url: Secret, at: str, stored: int
) -> None:
    async def run() -> None:
        async with breaking(postgres, database, at) as store:
            with pytest.raises(InDoubtError, match="whether the last commit was done is not known"):
                await Outbox(store).add([entry(command())])
            assert store.lost.is_set()
            with pytest.raises(StoreError) as caught:
                await count(store)
            assert not isinstance(caught.value, InDoubtError)
        await end_sessions(postgres, database)
        async with await PostgresStore.open(url) as owner:
            assert await count(owner, "command") == stored

    asyncio.run(run())


@asynccontextmanager
async def missing_standby(server: PostgresServer) -> AsyncIterator[None]:
    """Let every commit wait for a standby that is not there."""

    def wait_for(names: str) -> None:
        with server.connect() as admin:
            admin.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'".encode())
            admin.execute("SELECT pg_reload_conf()")

    await asyncio.to_thread(wait_for, "nobody")
    try:
        yield
    finally:
        await asyncio.to_thread(wait_for, "")


async def until_it_waits(server: PostgresServer, database: str) -> int:
    """Return the process of the session whose commit waits for a standby."""
    sql = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND wait_event = 'SyncRep'"
    with server.connect() as admin:
        while (row := admin.execute(sql, (database,)).fetchone()) is None:  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.02)
    return int(row["pid"])


async def cancel(server: PostgresServer, pid: int) -> None:
    with server.connect() as admin:
        admin.execute("SELECT pg_cancel_backend(%s)", (pid,))


async def doubted(server: PostgresServer, database: str, task: asyncio.Task[object]) -> None:
    """Let the commit of `task` be in doubt once; its repetition waits for the standby again."""
    pid = await until_it_waits(server, database)
    await cancel(server, pid)
    await asyncio.sleep(0.1)
    assert await until_it_waits(server, database) == pid
    assert not task.done()


def test_what_is_in_doubt_is_stored_once_and_certain_at_the_end(
    postgres: PostgresServer, database: str, url: Secret
) -> None:
    delivery = Delivery(7, b"digest")
    wanted: list[Entry] = [
        entry(command(reference="1"), delivery),
        InvalidEntry(HOME, command().ended(Outcome.INVALID, NOW, error="x"), None, Delivery(8, b"other")),
    ]

    async def run() -> None:
        async with await PostgresStore.open(url) as store:
            outbox = Outbox(store)
            assert await outbox.pending(HOME) == []
            async with missing_standby(postgres), asyncio.timeout(20):
                task = asyncio.create_task(outbox.add(wanted))
                await doubted(postgres, database, task)
                await doubted(postgres, database, task)
            assert await task == {HOME}
            assert await outbox.list() == outbox.take(HOME)
            assert len(await outbox.list()) == 1
            assert len((await outbox.to_publish()).results) == 1
            assert await store.read(lambda db: db.execute("SELECT mid FROM command").fetchone()["mid"]) == 7

    asyncio.run(run())


def test_an_event_of_a_panel_in_doubt_is_one_alarm(postgres: PostgresServer, database: str, url: Secret) -> None:
    async def run() -> None:
        async with await PostgresStore.open(url) as store:
            outbox = Outbox(store)
            assert await outbox.pending(HOME) == []
            async with missing_standby(postgres), asyncio.timeout(20):
                task = asyncio.create_task(outbox.keep_panel("GB1", {"a": 1}, {"GB1:1": entry(command())}))
                await doubted(postgres, database, task)
            assert await task == {HOME}
            assert len(outbox.take(HOME)) == 1
            assert await outbox.keep_panel("GB1", {"a": 1}, {"GB1:1": entry(command())}) == set()
            assert len(await outbox.list()) == 1

    asyncio.run(run())


def test_a_commit_takes_as_long_as_its_standby(
    postgres: PostgresServer, database: str, url: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.store.postgres.connection._STATEMENT_MS", 100)

    async def run() -> None:
        async with await PostgresStore.open(url) as store:
            async with missing_standby(postgres), asyncio.timeout(20):
                task = asyncio.create_task(store.write(lambda db: db.execute(INSERT, ("GB1",)).rowcount))
                await until_it_waits(postgres, database)
                await asyncio.sleep(0.5)
                assert not task.done()
            assert await task == 1
            with pytest.raises(StoreError, match="a statement took too long"):
                await store.write(lambda db: db.execute("SELECT pg_sleep(1)"))

    asyncio.run(run())


def test_a_command_that_ended_while_it_was_in_doubt_is_not_stored_again(
    postgres: PostgresServer, database: str, url: Secret
) -> None:
    async def run() -> None:
        async with await PostgresStore.open(url) as store:
            outbox = Outbox(store)
            true_write, attempts = store.write, 0

            async def write(work: Work[Any]) -> object:
                """Store the command, but not for certain; it is sent before the repetition."""
                nonlocal attempts
                attempts += 1
                found: object = await true_write(work)
                if attempts == 1:
                    [queued] = await outbox.list()
                    await outbox.complete(queued, result(queued))
                    raise InDoubtError("not certain")
                return found

            store.write = write  # type: ignore[assignment, method-assign]
            await outbox.add([entry(command())])
            assert attempts == 3
            assert await outbox.list() == []
            assert len((await outbox.to_publish()).results) == 1

    asyncio.run(run())


def test_a_command_in_doubt_ends_in_one_result(postgres: PostgresServer, database: str, url: Secret) -> None:
    async def run() -> None:
        async with await PostgresStore.open(url) as store:
            outbox = Outbox(store)
            for outcome in (Outcome.ACCEPTED, Outcome.REJECTED):
                [queued] = await put(outbox, command())
                for _ in range(2):  # the first may not have been answered for certain
                    await outbox.complete(queued, result(queued, outcome))
            outcomes = [each.fields["outcome"] for each in (await outbox.to_publish()).results]
            assert outcomes == ["accepted", "rejected"]

    asyncio.run(run())


# Errors in words


def test_nothing_listens() -> None:
    text = refused(f"postgresql://sos:geheim@127.0.0.1:{free_port()}/db")
    assert text == "the store postgresql://127.0.0.1/db: nothing listens there; start it, or correct the host and port"


def test_each_of_several_hosts_is_named() -> None:
    one, two = free_port(), free_port()
    text = refused(f"postgresql://sos:geheim@127.0.0.1:{one},127.0.0.1:{two}/db")
    assert str(one) in text
    assert str(two) in text
    assert "geheim" not in text


def test_a_host_without_an_address() -> None:
    assert "the name of the host cannot be resolved" in refused("postgresql://sos@nowhere.invalid/db")


@pytest.mark.parametrize("wrong", ["postgresql://sos:geheim@[::1/db", "postgresql://sos:geheim@h/db?sslmod=x"])
def test_a_url_that_is_not_valid_is_not_quoted(wrong: str) -> None:
    assert refused(wrong) == "the PostgreSQL URL is not valid; write postgresql://USER@HOST/DATABASE"


def test_a_missing_database(postgres: PostgresServer) -> None:
    text = refused(postgres.url("nowhere"))
    assert text.endswith("there is no database nowhere; create it: CREATE DATABASE nowhere OWNER tests")


def test_a_wrong_password(postgres: PostgresServer, database: str) -> None:
    rules = postgres.data / "pg_hba.conf"
    before = rules.read_text("utf-8")
    with postgres.connect() as admin:
        admin.execute("CREATE ROLE locked LOGIN PASSWORD 'right'")
        try:
            rules.write_text(f"host all locked all scram-sha-256\n{before}", "utf-8")
            admin.execute("SELECT pg_reload_conf()")
            base = f"127.0.0.1:{postgres.port}/{database}"
            assert "the password is wrong, or the user locked does not exist" in refused(
                f"postgresql://locked:no@{base}"
            )
            assert "it asks for a password; give it in the URL" in refused(f"postgresql://locked@{base}")
        finally:
            rules.write_text(before, "utf-8")
            admin.execute("SELECT pg_reload_conf()")
            admin.execute("DROP ROLE locked")


def test_a_user_without_rights(postgres: PostgresServer, database: str) -> None:
    with postgres.connect() as admin:
        admin.execute("CREATE ROLE guest LOGIN")
        try:
            text = refused(f"postgresql://guest@127.0.0.1:{postgres.port}/{database}")
            assert (
                f"the user guest may not do this; make it the owner: ALTER DATABASE {database} OWNER TO guest" in text
            )
        finally:
            admin.execute("DROP ROLE guest")


def test_a_server_that_takes_no_writes(postgres: PostgresServer, database: str, url: Secret) -> None:
    with postgres.connect() as admin:
        admin.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on".encode())
    assert "it takes no writes: it is a standby, or read-only; name the primary in the URL" in refused(url)
    assert "it takes no writes" in refused(f"{url.reveal()}?target_session_attrs=read-write")


def test_an_encoding_that_lacks_characters(postgres: PostgresServer) -> None:
    with postgres.connect() as admin:
        admin.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        assert "its encoding is LATIN1; create the database with ENCODING 'UTF8'" in refused(postgres.url("latin"))
    finally:
        postgres.drop("latin")


def test_an_old_server(url: Secret, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.store.postgres.connection._OLDEST", 99)
    assert "is too old; 99 is the oldest" in refused(url)


def test_the_server_can_end_a_session_between_many_statements(postgres: PostgresServer, database: str) -> None:
    """An owner that is paused there loses the shard: the server bounds no wait for a Sync, so each Execute has one."""

    async def run() -> None:
        async with proxy(postgres.port) as between, await PostgresStore.open(Secret(between.url(database))) as store:
            begun = len(between.sent)
            await store.write(lambda db: db.executemany(INSERT, [("GA",), ("GB",), ("GC",)]))
            messages = between.messages(begun)
            assert messages.count("E") >= 3
            assert messages.count("E") == messages.count("ES")

    asyncio.run(run())


def test_the_server_notices_that_the_machine_of_an_owner_is_gone(url: Secret) -> None:
    """Also where it waits for the rest of a message, which no timeout of the session bounds."""
    names = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")

    async def run() -> None:
        async with await PostgresStore.open(url) as store:
            rows = await store.read(
                lambda db: [db.execute("SELECT current_setting(?) AS now", (name,)).fetchone() for name in names]
            )
        assert [int(row["now"]) for row in rows if row] == [1, 1, 2, 3000]

    asyncio.run(run())


def test_a_pooler_in_between(postgres: PostgresServer, database: str) -> None:
    async def run() -> None:
        async with proxy(postgres.port) as between:
            between.pooler = True
            with pytest.raises(StoreError, match="a pooler such as pgbouncer is in between"):
                await PostgresStore.open(Secret(between.url(database)))

    asyncio.run(run())


def test_a_newer_schema_is_left_alone(postgres: PostgresServer, database: str, url: Secret) -> None:
    async def run() -> None:
        async with await PostgresStore.open(url):
            pass

    asyncio.run(run())
    newer = len(schema.SHARD_MIGRATIONS) + 1
    with postgres.connect(database) as admin:
        admin.execute("UPDATE sosbridge_0.version SET version = %s", (newer,))
    assert f"a newer sosbridge wrote it (schema {newer}, this one knows {newer - 1}); upgrade sosbridge" in refused(url)


def test_the_password_is_in_no_text_of_the_store(url: Secret, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with await PostgresStore.open(Secret(url.reveal().replace("tests@", "tests:geheim@"))) as store:
            with pytest.raises(StoreError) as caught:
                await store.read(lambda db: db.execute("SELECT nothing"))
            for text in (str(caught.value), repr(caught.value), repr(store), repr(vars(store)), store.name):
                assert "geheim" not in text

    asyncio.run(run())
    assert "geheim" not in caplog.text


def test_without_a_url_nothing_of_psycopg_is_imported() -> None:
    code = (
        "import sys, bridge.cli, bridge.app.service\n"
        "found = [name for name in sys.modules if name.startswith('psycopg')]\n"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
