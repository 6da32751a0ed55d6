"""A store that was damaged: found at start, kept aside, told of, and its alarms rescued; no start ever fails for it."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.outbox import HOME, command, entry, opened, put, result

from bridge.common.errors import DamagedError, StoreError
from bridge.common.models import Command, PreparedAlarm, Request
from bridge.panels.events import check_stored
from bridge.store.outbox import Outbox
from bridge.store.sqlite import recovery as rescue
from bridge.store.sqlite import wal
from bridge.store.sqlite.connection import fault
from bridge.store.sqlite.database import SqliteStore
from bridge.store.sqlite.recovery import Recovery, RecoveryReport
from bridge.store.sqlite.schema import MIGRATIONS

COUNT = 40
PAGE = 4096
SEED = 20260301


def alarm(number: int) -> Command:
    return command(reference=f"r{number}", section=str(number), detector="x" * (number % 5 * 200), code="BA")


def kept(path: Path) -> list[Path]:
    """The files of stores that were set aside."""
    return sorted(path.parent.glob(f"{path.name}.damaged-*"))


async def start(path: Path) -> tuple[list[Command], RecoveryReport | None]:
    """Start as the service does; return what waits, and what is told of a loss."""
    recovery = Recovery(path, check_stored)
    async with await recovery.open() as store:
        waiting = [queued.command for queued in await Outbox(store).list()]
    return waiting, recovery.report


@dataclass(frozen=True, slots=True)
class Scene:
    """A store at the moment of a power cut, and an earlier one of it."""

    folder: Path
    commands: list[Command]
    logged: list[int]
    """How long the log was when each command was acknowledged."""

    def store(self, number: int) -> Path:
        """Return a copy that a test may damage."""
        path = self.folder / f"n{number}" / "store.db"
        path.parent.mkdir()
        for part in ("", "-wal"):
            shutil.copy(self.folder / f"cut.db{part}", f"{path}{part}")
        return path

    @property
    def log(self) -> bytes:
        return (self.folder / "cut.db-wal").read_bytes()


def _size(path: Path) -> int:
    """Return how long the log of a store is."""
    return Path(f"{path}-wal").stat().st_size


async def _scene(folder: Path, *, checkpointed: bool) -> Scene:
    path = folder / "live.db"
    commands, logged = [alarm(number) for number in range(COUNT)], []
    async with await SqliteStore.open(path) as store:
        outbox = Outbox(store)
        await store.read(lambda db: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
        for number, each in enumerate(commands):
            await outbox.add([entry(each)])
            logged.append(_size(path))
            if checkpointed and number == COUNT // 2:
                await store.read(lambda db: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
                shutil.copy(path, folder / "earlier.db")
        if checkpointed:
            await store.read(lambda db: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
        for part in ("", "-wal"):
            shutil.copy(f"{path}{part}", folder / f"cut.db{part}")
    return Scene(folder, commands, logged)


@pytest.fixture(scope="module")
def in_log(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """All commands are in the log still."""
    return asyncio.run(_scene(tmp_path_factory.mktemp("log"), checkpointed=False))


@pytest.fixture(scope="module")
def in_database(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """All commands are in the database, the log is empty."""
    return asyncio.run(_scene(tmp_path_factory.mktemp("database"), checkpointed=True))


def test_a_log_that_ends_at_any_byte_has_what_was_acknowledged_by_then(in_log: Scene) -> None:
    draw = random.Random(SEED)
    size = len(in_log.log)
    edges = [edge + by for edge in in_log.logged[::8] for by in (-1, 0, 1) if edge + by <= size]
    for number, end in enumerate([0, 1, 31, 32, 33, *edges, *(draw.randrange(size) for _ in range(60))]):
        path = in_log.store(number)
        Path(f"{path}-wal").write_bytes(in_log.log[:end])
        waiting, loss = asyncio.run(start(path))
        assert loss is None, end
        whole = sum(length <= end for length in in_log.logged)
        assert waiting == in_log.commands[:whole], end
        shutil.rmtree(path.parent)


def test_what_a_power_cut_wrote_of_the_last_transaction_is_no_damage(in_log: Scene) -> None:
    """Its pages reach the disk in any order, each whole or torn."""
    draw = random.Random(SEED)
    begins = in_log.logged[-2]
    for number in range(30):
        path = in_log.store(number)
        log = bytearray(in_log.log)
        at = draw.randrange(begins, len(log) - 64)
        log[at : at + 64] = draw.randbytes(64)
        Path(f"{path}-wal").write_bytes(log)
        waiting, loss = asyncio.run(start(path))
        assert loss is None
        assert waiting in (in_log.commands, in_log.commands[:-1])
        shutil.rmtree(path.parent)


def test_an_acknowledged_part_of_the_log_that_is_torn_is_told(in_log: Scene) -> None:
    draw = random.Random(SEED)
    for number in range(60):
        path = in_log.store(number)
        log = bytearray(in_log.log)
        length = draw.choice([1, 24, 512, 4096])
        at = draw.randrange(in_log.logged[-2] - length)
        log[at : at + length] = bytes(each ^ 0xA5 for each in log[at : at + length])
        Path(f"{path}-wal").write_bytes(log)
        waiting, loss = asyncio.run(start(path))
        before = sum(size <= at for size in in_log.logged)
        assert waiting[:before] == in_log.commands[:before]
        if waiting != in_log.commands:
            assert loss is not None, at
            assert len(kept(path)) >= 2, "the log is kept with its database"
            assert Path(f"{path.parent / loss.file}-wal").read_bytes() == log, "as it was"
        shutil.rmtree(path.parent)


def _torn(whole: bytes, earlier: bytes, draw: random.Random) -> bytes:
    """Return a database a part of which is garbage, zeros, cut off, or as it was once."""
    content = bytearray(whole)
    at = draw.randrange(len(content))
    length = draw.choice([1, 16, 512, PAGE])
    kind = draw.choice(["garbage", "zeros", "cut", "earlier"])
    if kind == "cut":
        return bytes(content[:at])
    if kind == "earlier":
        at = at // PAGE * PAGE
        content[at : at + PAGE] = earlier[at : at + PAGE] or content[at : at + PAGE]
    else:
        length = min(length, len(content) - at)
        content[at : at + length] = draw.randbytes(length) if kind == "garbage" else bytes(length)
    return bytes(content)


def test_a_database_torn_anywhere_is_whole_or_told(in_database: Scene) -> None:
    draw = random.Random(SEED)
    whole = (in_database.folder / "cut.db").read_bytes()
    earlier = (in_database.folder / "earlier.db").read_bytes()
    told = rescued = 0
    for number in range(200):
        path = in_database.store(number)
        torn = _torn(whole, earlier, draw)
        path.write_bytes(torn)
        waiting, loss = asyncio.run(start(path))
        again, none = asyncio.run(start(path))
        assert (again, none) == (waiting, None), "what was begun anew is sound"
        if loss is None:
            # One letter in place of another in a text is not seen: SQLite's pages have no checksums.
            assert len(waiting) == COUNT, number
        else:
            # SQLite counts in the first page how often it was opened to be written.
            assert (path.parent / loss.file).read_bytes()[PAGE:] == torn[PAGE:]
            assert loss.waiting == len(waiting)
            told, rescued = told + 1, rescued + len(waiting)
        shutil.rmtree(path.parent)
    assert told > 50
    assert rescued > told * COUNT / 2, "most alarms of most stores"


def _damage(path: Path, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(sql, values)
        db.commit()


def _with_two(path: Path) -> Path:
    async def body() -> None:
        async with opened(path) as outbox:
            await put(outbox, command(section="1"), command(Request.PING))

    asyncio.run(body())
    return path / "store.sqlite"


def test_an_alarm_whose_texts_are_lost_is_sent_without_them(tmp_path: Path) -> None:
    path = _with_two(tmp_path)
    _damage(path, "UPDATE command SET body = '{\"alarm', state = 'pendxng'")
    waiting, loss = asyncio.run(start(path))
    assert loss is not None
    assert not loss.whole
    [left] = waiting
    assert (left.alarm, left.identity) == (PreparedAlarm("BA", section="1"), command(section="1").identity)
    assert "texts of this alarm are lost" in left.warnings[0]


@pytest.mark.parametrize("code", ["", "\x01", "B" * 99])
def test_what_cannot_be_sent_at_all_is_not_rescued(tmp_path: Path, code: str) -> None:
    path = _with_two(tmp_path)
    _damage(path, "UPDATE command SET body = '', event_code = ?", code)
    waiting, loss = asyncio.run(start(path))
    assert waiting == []
    assert loss is not None
    assert not loss.whole


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO panel VALUES ('GB1', '{}')",
        "INSERT INTO panel VALUES ('GB1', '[')",
        """INSERT INTO panel VALUES ('GB1', '{"state": {"arm": "x"}, "forwarded": []}')""",
        "INSERT INTO active VALUES ('home', 'FA', '', '1', '', 1e300, NULL)",
        "INSERT INTO history (transmitter, request, completed_at, result) VALUES ('home', 'alarm', 1.5, '{')",
        "INSERT INTO history (transmitter, request, completed_at, result) VALUES ('home', 'odd', 1.5, '{}')",
        "INSERT INTO forwarded VALUES ('key', 'never')",
    ],
)
def test_a_row_of_any_table_that_means_nothing_is_left_behind(tmp_path: Path, sql: str) -> None:
    path = _with_two(tmp_path)
    _damage(path, sql)
    waiting, loss = asyncio.run(start(path))
    assert [each.request for each in waiting] == ["alarm", "ping"]
    assert loss is not None
    assert not loss.whole
    assert asyncio.run(start(path))[1] is None


def test_old_results_are_not_read_at_each_start(tmp_path: Path) -> None:
    """A hundred thousand of them took 2 s, for which alarms waited."""
    path = _with_two(tmp_path)
    columns = "transmitter, request, completed_at, published, result"
    row = f"INSERT INTO history ({columns}) VALUES ('home', 'alarm', 1.5, 1, ?)"
    for payload in ("{", "{}"):
        _damage(path, row, payload)
    assert asyncio.run(start(path))[1] is None
    _damage(path, row, "{")
    assert asyncio.run(start(path))[1] is not None, "the last one is published again"


def test_everything_that_can_be_read_goes_over(tmp_path: Path) -> None:
    async def fill() -> None:
        async with opened(tmp_path) as outbox:
            first, _ = await put(outbox, command(section="1"), command(section="2"))
            await outbox.complete(first, result(first))

    async def after() -> tuple[list[str], list[str], int]:
        async with opened(tmp_path) as outbox:
            active = [each.identity.section for each in (await outbox.status(HOME)).active]
            owed = [each.transmitter for each in (await outbox.to_publish()).results]
            [new] = await put(outbox, command())
            return active, owed, new.id

    asyncio.run(fill())
    path = tmp_path / "store.sqlite"
    _damage(path, "INSERT INTO panel VALUES ('GB1', '')")
    waiting, loss = asyncio.run(start(path))
    assert loss is not None
    assert [each.identity.section for each in waiting] == ["2"]
    assert asyncio.run(after()) == (["1"], [HOME], 3), "numbers are not given twice"


def test_a_file_that_is_no_database_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    path.write_bytes(b"these are notes, and long ones at that. " * 100)
    waiting, loss = asyncio.run(start(path))
    assert waiting == []
    assert loss is not None
    assert (loss.file, loss.waiting, loss.whole) == (kept(path)[0].name, 0, False)
    assert kept(path)[0].read_bytes().startswith(b"these are notes")
    assert path.stat().st_mode & 0o777 == 0o600


def test_stores_that_are_damaged_in_the_same_second_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    for number in range(3):
        path.write_bytes(b"%d notes, and long ones at that. " % number * 100)
        asyncio.run(start(path))
    assert sorted(each.read_bytes()[:1] for each in kept(path)) == [b"0", b"1", b"2"]


def _interrupted(path: Path, fail_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start, and let the power fail at the so-manieth change of a name."""
    done = 0
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        nonlocal done
        done += 1
        if done == fail_at:
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", failing)
        with pytest.raises(KeyboardInterrupt):
            rescue._renew(path, "damaged", rescue._TABLES)


@pytest.mark.parametrize("fail_at", [1, 2, 3])
def test_power_that_fails_while_it_is_set_aside_loses_nothing(
    tmp_path: Path, in_log: Scene, fail_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store.db"
    for part in ("", "-wal"):
        shutil.copy(f"{in_log.folder / 'cut.db'}{part}", f"{path}{part}")
    _interrupted(path, fail_at, monkeypatch)
    waiting, _ = asyncio.run(start(path))
    assert waiting == in_log.commands
    assert not path.with_name("store.db.new").exists()


async def _twice_damaged(path: Path) -> None:
    recovery = Recovery(path, check_stored)
    async with await recovery.open():
        pass
    error = DamagedError("again")
    await recovery.renew(error)
    assert recovery.report is not None
    assert recovery.report.waiting == 1
    await recovery.renew(error)
    assert recovery.report.waiting == 0, "what is damaged so soon again begins empty"
    with pytest.raises(DamagedError):
        await recovery.renew(error)


def test_a_disk_that_damages_every_store_ends_the_service(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"

    async def body() -> None:
        async with opened(tmp_path) as outbox:
            await put(outbox, command())
        await _twice_damaged(path)

    asyncio.run(body())
    assert len([each for each in kept(path) if not each.name.endswith(("-wal", "-shm"))]) == 2


def test_damage_that_is_met_while_running_is_noticed(tmp_path: Path) -> None:
    async def body() -> None:
        async with await SqliteStore.open(tmp_path / "store.sqlite") as store:
            waiting = asyncio.create_task(store.until_damaged())
            outbox = Outbox(store)
            await put(outbox, command())
            assert not waiting.done()
            await store.write(lambda db: db.execute("UPDATE command SET request = 'odd'"))
            with pytest.raises(DamagedError):
                await outbox.pending(HOME)
            assert "command 1 cannot be read" in str(await waiting)

    asyncio.run(body())


@pytest.mark.parametrize(
    ("code", "damaged"),
    [
        (sqlite3.SQLITE_CORRUPT, True),
        (sqlite3.SQLITE_CORRUPT_INDEX, True),
        (sqlite3.SQLITE_NOTADB, True),
        (sqlite3.SQLITE_IOERR_READ, True),
        (sqlite3.SQLITE_FULL, False),
        (sqlite3.SQLITE_READONLY, False),
        (sqlite3.SQLITE_IOERR_WRITE, False),
        (sqlite3.SQLITE_IOERR_FSYNC, False),
        (sqlite3.SQLITE_CANTOPEN, False),
        (sqlite3.SQLITE_PERM, False),
        (sqlite3.SQLITE_BUSY, False),
    ],
)
def test_only_damage_is_damage(code: int, damaged: bool) -> None:  # noqa: FBT001
    error = sqlite3.OperationalError("words of SQLite")
    error.sqlite_errorcode = code
    told = fault(Path("s.db"), error)
    assert isinstance(told, StoreError)
    assert isinstance(told, DamagedError) is damaged


def test_a_newer_store_is_not_damaged(tmp_path: Path) -> None:
    path = _with_two(tmp_path)
    _damage(path, f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="a newer sosbridge") as caught:
        asyncio.run(start(path))
    assert not isinstance(caught.value, DamagedError)
    assert kept(path) == []
    assert path.read_bytes() == before


def test_a_large_store_is_not_read_whole_at_each_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def commands() -> list[str]:
        said: list[str] = []
        connect = sqlite3.connect

        def traced(*args: object, **options: object) -> sqlite3.Connection:
            db: sqlite3.Connection = connect(*args, **options)  # type: ignore[call-overload]
            db.set_trace_callback(said.append)
            return db

        with monkeypatch.context() as patched:
            patched.setattr(sqlite3, "connect", traced)
            async with opened(tmp_path):
                pass
        return said

    assert "PRAGMA integrity_check(1)" in asyncio.run(commands())
    monkeypatch.setattr("bridge.store.sqlite.connection._LARGEST_CHECKED", 1000)
    assert "PRAGMA integrity_check(1)" not in asyncio.run(commands())


def test_a_log_whose_head_is_torn_is_told(in_log: Scene) -> None:
    path = in_log.store(1000)
    Path(f"{path}-wal").write_bytes(b"\0" * 32 + in_log.log[32:])
    assert wal.breaks_off(path)
    waiting, loss = asyncio.run(start(path))
    assert waiting == []
    assert loss is not None


def test_a_database_that_was_emptied_keeps_its_log(in_log: Scene) -> None:
    path = in_log.store(1001)
    path.write_bytes(b"")
    _, loss = asyncio.run(start(path))
    assert loss is not None
    assert not loss.whole
    assert Path(f"{path.parent / loss.file}-wal").read_bytes() == in_log.log


def test_a_store_without_a_log_has_lost_none(tmp_path: Path) -> None:
    assert not wal.breaks_off(_with_two(tmp_path))
    assert not wal.breaks_off(tmp_path / "nothing.db")
