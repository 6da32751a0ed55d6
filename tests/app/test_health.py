"""Whether the bridge works, and what is wrong, over a socket; and that one program only owns a store."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bridge.app.health import serve
from bridge.app.health_client import HealthReport, UnhealthyError, ask, socket_path
from bridge.common.errors import BusyError, StoreError
from bridge.common.problems import About, Kind, Problems
from bridge.store.sqlite.lock import hold, is_held


async def _nothing() -> list[str]:
    return []


@asynccontextmanager
async def serving(
    store: Path, problems: Problems | None = None, hanging: Callable[[], Awaitable[list[str]]] = _nothing
) -> AsyncIterator[None]:
    """Serve within, once the socket is there."""
    task = asyncio.create_task(serve(store, hanging, problems or Problems()))
    try:
        while not found(store).exists():
            assert not task.done()
            await asyncio.sleep(0)
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def found(store: Path) -> Path:
    return Path(socket_path(store))


async def asked(store: Path) -> HealthReport:
    return await asyncio.to_thread(ask, store)


async def said(store: Path) -> str:
    with pytest.raises(UnhealthyError) as caught:
        await asked(store)
    return str(caught.value)


def test_a_healthy_bridge_says_nothing_and_is_asked_again_and_again(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path / "s.db"):
            for _ in range(3):
                report = await asked(tmp_path / "s.db")
                assert (report.hanging, report.problems, report.unknown) == ([], [], [])

    asyncio.run(run())
    assert list(tmp_path.iterdir()) == []


def test_its_socket_is_never_there_for_others(tmp_path: Path) -> None:
    """Even where files are made for everybody by default."""

    async def run() -> int:
        async with serving(tmp_path / "s.db"):
            return found(tmp_path / "s.db").stat().st_mode & 0o777

    umask = os.umask(0)
    try:
        assert asyncio.run(run()) == 0o600
    finally:
        os.umask(umask)


def test_what_hangs_what_is_wrong_and_what_is_not_known_are_reported(tmp_path: Path) -> None:
    problems, since = Problems(), datetime(2026, 3, 1, 12, tzinfo=UTC)
    problems.set(Kind.RECEIVER_DOWN, "receiver primary: tab\there", About("home", "primary"), since)
    problems.set(Kind.STORE_FAILED, "disk full", since=since)
    problems.doubt(Kind.LINK_DOWN, About("shop"))
    problems.doubt(Kind.RECEIVER_DOWN, About("shop", "primary"))
    problems.doubt(Kind.PANEL_OFFLINE, About(panel="GUID"))

    async def hanging() -> list[str]:
        return ["the MQTT connection"]

    async def run() -> HealthReport:
        async with serving(tmp_path / "s.db", problems, hanging):
            return await asked(tmp_path / "s.db")

    report = asyncio.run(run())
    assert report.hanging == ["the MQTT connection"]
    assert [(kind, owner, text) for kind, owner, _, text in report.problems] == [
        ("receiver_down", "home", "receiver primary: tab\\there"),
        ("store_failed", "bridge", "disk full"),
    ]
    assert all(datetime.fromisoformat(at) == since for _, _, at, _ in report.problems)
    assert report.unknown == ["GUID", "shop"]


def test_a_store_that_does_not_answer_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.app.health.ANSWER_S", 0.1)

    async def never() -> list[str]:
        await asyncio.Event().wait()
        return []

    async def run() -> None:
        async with serving(tmp_path / "s.db", hanging=never):
            assert (await asked(tmp_path / "s.db")).hanging == ["the store"]

    asyncio.run(run())


def test_where_no_socket_can_be_the_bridge_goes_on_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = tmp_path / "s.db"
    Path(socket_path(store), "in the way").mkdir(parents=True)
    asyncio.run(serve(store, _nothing, Problems()))
    assert "the health check is not available" in caplog.text
    assert asyncio.run(said(store)) == f"no bridge runs on {store}"


def test_nobody_there_is_told(tmp_path: Path) -> None:
    store = tmp_path / "s.db"
    assert asyncio.run(said(store)) == f"no bridge runs on {store}"


def test_what_a_crash_left_is_nobody_and_no_hindrance(tmp_path: Path) -> None:
    store = tmp_path / "s.db"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(socket_path(store))
    assert asyncio.run(said(store)) == f"no bridge runs on {store}"

    async def run() -> None:
        async with serving(store):
            await asked(store)

    Path(socket_path(store)).unlink()
    asyncio.run(run())


def test_a_bridge_that_hangs_is_told_and_does_not_hang_who_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.app.health_client.ANSWER_S", 0.05)

    async def run() -> None:
        connected: list[asyncio.StreamWriter] = []
        server = await asyncio.start_unix_server(
            lambda _, writer: connected.append(writer), socket_path(tmp_path / "s.db")
        )
        async with server:
            assert "it hangs" in await said(tmp_path / "s.db")
            for writer in connected:
                writer.close()
                await writer.wait_closed()

    asyncio.run(run())


@pytest.mark.parametrize("answer", [b"", b"problem\treceiver_down", b"hangs\tthe store\n"])
def test_an_answer_that_breaks_off_is_told(tmp_path: Path, answer: bytes) -> None:
    async def broken(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    async def run() -> None:
        async with await asyncio.start_unix_server(broken, socket_path(tmp_path / "s.db")):
            assert await said(tmp_path / "s.db") == "the bridge sent an incomplete answer"

    asyncio.run(run())


def test_an_answer_in_pieces_is_one_answer(tmp_path: Path) -> None:
    async def slowly(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in (b"unknown\tho", b"me\nend\n"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)
        writer.close()

    async def run() -> None:
        async with await asyncio.start_unix_server(slowly, socket_path(tmp_path / "s.db")):
            assert (await asked(tmp_path / "s.db")).unknown == ["home"]

    asyncio.run(run())


def test_a_long_path_has_a_socket_too(tmp_path: Path) -> None:
    store = tmp_path / ("d" * 90) / "s.db"
    store.parent.mkdir()
    assert len(socket_path(store)) > 108

    async def run() -> None:
        async with serving(store):
            await asked(store)

    asyncio.run(run())
    assert not Path(socket_path(store)).exists()


def test_a_relative_path_is_the_same_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert socket_path(Path("s.db")) == socket_path(tmp_path / "s.db")


# The lock


def test_a_store_has_one_owner(tmp_path: Path) -> None:
    store = tmp_path / "s.db"
    assert not is_held(store)
    with hold(store):
        assert is_held(store)
        with pytest.raises(BusyError, match="in use by a running sosbridge"), hold(store):
            pass
        assert not is_held(tmp_path / "other.db")
    assert not is_held(store)
    with hold(store):
        pass


def test_the_lock_goes_with_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mine"), hold(tmp_path / "s.db"):
        raise ValueError("mine")
    assert not is_held(tmp_path / "s.db")


_OWNER = """
import sys, time
from pathlib import Path
from bridge.store.sqlite.lock import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_crashed_owners_lock_is_free(tmp_path: Path) -> None:
    store = tmp_path / "s.db"
    with subprocess.Popen([sys.executable, "-c", _OWNER, store], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        assert owner.stdout.readline() == "held\n"
        assert is_held(store)
        owner.kill()
    assert not is_held(store)
    with hold(store):
        pass


def test_a_lock_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="its directory must exist"), hold(tmp_path / "nowhere" / "s.db"):
        pass
