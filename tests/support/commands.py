"""Commands as tests call them: a configuration of their own, receivers beside them, the rows that they print."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from support.config import HOME, PASSWORD

from bridge.cli.table import COMMANDS
from bridge.sos_access.simulator.receiver import Accounts, Receiver

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No configuration but the test's own, and logging as it was."""
    (tmp_path / "secrets").mkdir()
    monkeypatch.setenv("SOSBRIDGE_SECRETS_DIR", str(tmp_path / "secrets"))
    monkeypatch.setenv("SOSBRIDGE_CONFIG", str(tmp_path / "bridge.toml"))
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def configure(folder: Path, *transmitters: str) -> None:
    head = f'[mqtt]\nhost = "127.0.0.1"\nport = 9\n[store]\npath = "{folder / "store.db"}"\n'
    (folder / "bridge.toml").write_text(head + "".join(transmitters or [HOME]))


@contextmanager
def aside(start: Callable[[], Coroutine[None, None, None]]) -> Iterator[None]:
    """Run a coroutine function in a loop and a thread of its own, until the end."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    task = asyncio.run_coroutine_threadsafe(start(), loop)
    try:
        yield
    finally:

        async def end() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for each in others:
                each.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), loop).result()
        with suppress(BaseException):
            task.exception()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def receivers(*passwords: str, heartbeats: bool = True) -> Iterator[list[Receiver]]:
    found = [Receiver(Accounts({"IK1": password, "IK2": password}), heartbeats=heartbeats) for password in passwords]
    ready = threading.Event()

    async def serve() -> None:
        for each in found:
            await each.start()
        ready.set()
        try:
            await asyncio.Event().wait()
        finally:
            for each in found:
                await each.stop()

    log = logging.getLogger("bridge.sos_access.simulator.receiver")
    log.disabled = True
    try:
        with aside(serve):
            assert ready.wait(10)
            yield found
    finally:
        log.disabled = False


def at(port: int, second: int | None = None, name: str = "home") -> str:
    text = HOME.replace("127.0.0.1:9", f"127.0.0.1:{port}").replace('"home"', f'"{name}"')
    if second:
        text = text.replace("use_single_receiver = true", f'secondary_receiver = "127.0.0.1:{second}"')
    return text


def documented(path: str) -> list[str]:
    """Return the fields of a command's JSON as its help has them."""
    [text] = [given["help"] for names, given, _ in COMMANDS[path].options if "--json" in names]
    [fields] = re.findall(r"{(.*?)}", text.partition(";")[0])
    return str(fields).split(", ")


def table(capsys: Output) -> list[list[str]]:
    said = capsys.readouterr()
    assert PASSWORD not in said.out + said.err
    assert "Traceback" not in said.err
    return [line.split("\t") for line in said.out.splitlines()]
