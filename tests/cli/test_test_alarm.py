"""`sosbridge test`: what it needs, and what it says of each end."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.outbox import HOME, result

from bridge.cli import call
from bridge.common.models import Outcome, Request
from bridge.store.outbox import Outbox
from bridge.store.sqlite.database import SqliteStore
from bridge.store.sqlite.lock import hold

Output = pytest.CaptureFixture[str]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "store.sqlite"
    config = tmp_path / "sosbridge.toml"
    config.write_text(
        f'[store]\npath = "{path}"\n[[transmitters]]\nname = "home"\ntransmitter_code = "IK1"\n'
        'transmitter_type = "SV301"\nauthentication = "012345678912345"\nreceiver_id = "OPER"\n'
        'receiver = "127.0.0.1:1"\nuse_single_receiver = true\n',
        "utf-8",
    )
    monkeypatch.setenv("SOSBRIDGE_CONFIG", str(config))
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield path
    root.handlers[:] = handlers
    root.setLevel(level)


async def ends(store: Path, outcome: Outcome, **more: object) -> str | None:
    """Do the service's part: wait for the test alarm in the store, and end it; return its event code."""
    async with await SqliteStore.open(store) as opened:
        outbox = Outbox(opened)
        for _ in range(2000):
            for queued in await outbox.list(HOME):
                assert queued.command.request is Request.TEST
                await outbox.complete(queued, result(queued, outcome, **more))
                return queued.command.alarm.event_code if queued.command.alarm else None
            await asyncio.sleep(0.05)
    return None


@pytest.mark.parametrize(
    ("outcome", "more", "status", "words"),
    [
        (Outcome.ACCEPTED, {"receiver": "primary"}, 0, "accepted by the primary receiver after 1.0 s"),
        (Outcome.ACCEPTED, {"receiver": "primary", "path": "fixed"}, 0, "by the primary over fixed receiver"),
        (Outcome.REJECTED, {"error": "code 3"}, 4, "home: the test alarm failed, rejected: code 3"),
        (Outcome.UNREACHABLE, {"error": "timeout"}, 1, "home: the test alarm failed, unreachable: timeout"),
    ],
)
def test_it_waits_for_the_answer(
    store: Path, capsys: Output, outcome: Outcome, more: dict[str, object], status: int, words: str
) -> None:
    codes: list[str | None] = []
    asyncio.run(_created(store))
    with hold(store):
        service = threading.Thread(target=lambda: codes.append(asyncio.run(ends(store, outcome, **more))))
        service.start()
        assert call(["test", "--event-code", "TST"]) == status
        service.join(60)
    said = capsys.readouterr()
    assert words in said.out + said.err
    assert codes == ["TST"]


async def _created(path: Path) -> None:
    async with await SqliteStore.open(path):
        pass


def test_it_needs_the_running_service(store: Path, capsys: Output) -> None:
    asyncio.run(_created(store))
    assert call(["test", "--event-code", "TST"]) == 1
    assert "the service does not run; start it" in capsys.readouterr().err

    async def stored() -> int:
        async with await SqliteStore.open(store) as opened:
            return len(await Outbox(opened).list())

    assert asyncio.run(stored()) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["test"], "home: test_event_code is missing; add it, or use --event-code"),
        (["test", "-t", "shop"], "unknown transmitter"),
    ],
)
def test_what_it_needs(store: Path, capsys: Output, arguments: list[str], words: str) -> None:
    assert call(arguments) == 2
    assert words in capsys.readouterr().err


def test_a_code_that_cannot_be_sent_is_wrong_usage(store: Path, capsys: Output) -> None:
    asyncio.run(_created(store))
    with hold(store):
        assert call(["test", "--event-code", "x" * 99]) == 2
    assert "event_code" in capsys.readouterr().err


def test_it_does_not_wait_for_ever(store: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(_created(store))
    monkeypatch.setattr("bridge.cli.test._LONGEST_S", 0.5)
    began = time.monotonic()
    with hold(store):
        assert call(["test", "--event-code", "TST"]) == 1
    assert "no result within" in capsys.readouterr().err
    assert time.monotonic() - began < 30
