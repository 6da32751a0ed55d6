"""What a service manager hears of us: on a real datagram socket, named by a path or in the abstract namespace."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.processes import environment
from support.service_manager import WAIT_S, Listener

from bridge.app.bridge import Bridge
from bridge.app.watchdog import Manager, watch
from bridge.common.pulse import Pulse
from bridge.config.settings import Settings
from bridge.store.sqlite.database import SqliteStore


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    address = f"@sosbridge-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    listener = Listener(address)
    with listener.socket:
        yield listener


@asynccontextmanager
async def watching(
    manager: Manager, online: asyncio.Event, hanging: Callable[[], Awaitable[list[str]]]
) -> AsyncIterator[None]:
    task = asyncio.create_task(watch(manager, online, hanging))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def watched(listener: Listener) -> Manager:
    return Manager(listener.environment | {"WATCHDOG_USEC": "20000"})


async def nothing() -> list[str]:
    return []


def test_what_is_told_arrives(listener: Listener) -> None:
    async def run() -> None:
        assert Manager(listener.environment).notify(READY=1, STATUS="online")
        assert await listener.next() == {"READY": "1", "STATUS": "online"}

    asyncio.run(run())


def test_nobody_listens() -> None:
    manager = Manager({})
    assert not manager.notify(READY=1)


def test_a_manager_that_is_gone_is_told_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert not Manager({"NOTIFY_SOCKET": str(tmp_path / "gone")}).notify(READY=1)
    assert "cannot notify the service manager: No such file or directory" in caplog.text


def test_a_manager_that_reads_nothing_holds_nobody_up(listener: Listener) -> None:
    manager = Manager(listener.environment)
    assert not all(manager.notify(STATUS="x" * 1000) for _ in range(10_000))


@pytest.mark.parametrize(
    ("more", "turn_s"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 30),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 30),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, 20),  # it watches another process
        ({"WATCHDOG_USEC": "0"}, 20),
        ({"WATCHDOG_USEC": "soon"}, 20),
        ({}, 20),
    ],
)
def test_we_are_heard_twice_in_a_watchdogs_time(more: dict[str, str], turn_s: float) -> None:
    assert Manager({"NOTIFY_SOCKET": "/run/x", **more}).turn_s == turn_s


def test_ready_once_online_and_alive_before_and_after(listener: Listener) -> None:
    async def run() -> None:
        online = asyncio.Event()
        async with watching(watched(listener), online, nothing):
            for _ in range(3):  # a broker that is away is no reason to end us
                heard = await listener.next()
                assert heard["STATUS"] == "the broker is away"
                assert int(heard["EXTEND_TIMEOUT_USEC"]) >= 2 * 20_000
            online.set()
            assert (await listener.until("READY"))[-1] == {"READY": "1"}
            for _ in range(3):
                assert await listener.next() == {"WATCHDOG": "1", "STATUS": "online"}
            online.clear()
            while (await listener.next()) != {"WATCHDOG": "1", "STATUS": "the broker is away"}:
                pass
        assert not [message for message in listener.drain() if b"READY" in message]

    asyncio.run(run())


def test_what_hangs_is_said_and_the_watchdog_hears_nothing(
    listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    asked = asyncio.Event()
    answers = iter([[], ["the MQTT connection"], ["the MQTT connection"]])

    async def hanging() -> list[str]:
        found = next(answers, None)
        if found is None:
            asked.set()
            await asyncio.Event().wait()
        return found or []

    async def run() -> None:
        async with watching(watched(listener), asyncio.Event(), hanging), asyncio.timeout(WAIT_S):
            await asked.wait()
            while "hanging: the store" not in caplog.text:  # it does not answer: it is what hangs  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    asyncio.run(run())
    assert "hanging: the MQTT connection" in caplog.text
    assert len(listener.drain()) == 1


_HANGS = """
import asyncio, time
from bridge.app import watchdog

watchdog._ENDED_AFTER_S = 0.5

async def nothing():
    return []

async def main():
    watching = asyncio.create_task(watchdog.watch(watchdog.Manager({}), asyncio.Event(), nothing))
    await asyncio.sleep(0)
    if %r:
        watching.cancel()
        await asyncio.wait([watching])
    time.sleep(%r)

asyncio.run(main())
"""


def run_and_hang(*, stopped: bool, seconds: float) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _HANGS % (stopped, seconds)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=WAIT_S, check=False)


def test_a_loop_that_hangs_is_ended_without_a_manager_too() -> None:
    done = run_and_hang(stopped=False, seconds=600)
    assert done.returncode == 1
    assert "line 16 in main" in done.stderr  # where it hung


def test_nobody_ends_what_has_stopped_watching() -> None:
    done = run_and_hang(stopped=True, seconds=1)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401 - what stands in for a module
    """The monotonic clock of pulses: it stands still until a test moves it."""
    standing: Any = SimpleNamespace(now=1000.0, monotonic=lambda: standing.now)
    monkeypatch.setattr("bridge.common.pulse.time", standing)
    return standing


def test_a_pulse(clock: SimpleNamespace) -> None:
    beating = Pulse("a worker", 10)
    clock.now += 10
    assert not beating.stopped
    clock.now += 0.1
    assert beating.stopped
    beating.beat()
    assert not beating.stopped


HOME = {
    "name": "home",
    "transmitter_code": "IK00001",
    "transmitter_type": "SV300",
    "authentication": "012345678912345",
    "receiver_id": "A",
    "receiver": "127.0.0.1:9",
    "secondary_receiver": "127.0.0.1:9",
}


def test_the_bridge_names_what_hangs(tmp_path: Path, clock: SimpleNamespace) -> None:
    settings = Settings.model_validate({"store": {"path": tmp_path / "s.db"}, "transmitters": [HOME]})

    async def run() -> None:
        async with await SqliteStore.open(settings.store.path) as store:
            bridge = Bridge(settings, store)
            assert await bridge.status.hanging() == []
            clock.now += 120.1  # its loop waits for the outbox alone
            assert await bridge.status.hanging() == ["transmitter home"]
            clock.now += 180
            assert await bridge.status.hanging() == ["the MQTT connection", "transmitter home"]

    asyncio.run(run())


def test_a_store_that_fails_does_not_hang(tmp_path: Path) -> None:
    settings = Settings.model_validate({"store": {"path": tmp_path / "s.db"}})

    async def run() -> None:
        async with await SqliteStore.open(settings.store.path) as store:
            bridge = Bridge(settings, store)
        assert await bridge.status.hanging() == []  # it is closed: an answer, though a bad one

    asyncio.run(run())
