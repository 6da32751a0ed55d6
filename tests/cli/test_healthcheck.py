"""`sosbridge healthcheck`: what it prints and exits with, which store it asks, and what it costs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bridge.app.health import serve
from bridge.app.health_client import socket_path
from bridge.cli import call
from bridge.cli.healthcheck import store_path
from bridge.common.errors import ConfigError
from bridge.common.problems import About, Kind, Problems
from bridge.config.sources import load

ROOT = Path(__file__).parents[2]
Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration but that of the test."""
    for name in [name for name in os.environ if name.startswith("SOSBRIDGE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@contextmanager
def bridge(store: Path, problems: Problems, *hanging: str) -> Iterator[None]:
    """Answer health checks in a thread."""
    stop, running = threading.Event(), threading.Event()

    async def hangs() -> list[str]:
        return list(hanging)

    async def answer() -> None:
        task = asyncio.create_task(serve(store, hangs, problems))
        while not stop.is_set():
            if Path(socket_path(store)).exists():  # noqa: ASYNC240 - a test
                running.set()
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])

    thread = threading.Thread(target=asyncio.run, args=[answer()])
    thread.start()
    assert running.wait(10)
    try:
        yield
    finally:
        stop.set()
        thread.join()


def healthcheck(*words: str) -> int:
    return call(["--config", "sosbridge.toml", "healthcheck", *words])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "sosbridge.toml").write_text('store.path = "s.db"\n')
    return tmp_path / "s.db"


def test_nothing_is_wrong(store: Path, capsys: Output) -> None:
    with bridge(store, Problems()):
        assert (healthcheck(), healthcheck("--strict")) == (0, 0)
    assert capsys.readouterr() == ("healthy\nhealthy\n", "")


def test_what_is_wrong_is_printed_and_fails_only_where_that_is_wanted(store: Path, capsys: Output) -> None:
    problems = Problems()
    problems.set(Kind.REJECTED, "rejected: 2", About("home"))
    problems.doubt(Kind.PANEL_OFFLINE, About(panel="GUID"))
    with bridge(store, problems):
        assert (healthcheck(), healthcheck("--strict")) == (0, 4)
    rejected, unknown = capsys.readouterr().out.splitlines()[:2]
    assert rejected.startswith("home: rejected since 2")
    assert rejected.endswith(": rejected: 2")
    assert unknown == "GUID: not checked yet"


def test_what_was_not_checked_is_not_good(store: Path, capsys: Output) -> None:
    problems = Problems()
    problems.doubt(Kind.LINK_DOWN, About("home"))
    with bridge(store, problems):
        assert (healthcheck(), healthcheck("--strict")) == (0, 4)
    assert "healthy" not in capsys.readouterr().out


def test_a_bridge_that_hangs_or_is_not_there_fails(store: Path, capsys: Output) -> None:
    with bridge(store, Problems(), "transmitter home"):
        assert healthcheck() == 1
    assert capsys.readouterr().err == "sosbridge: the bridge hangs: transmitter home\n"
    assert healthcheck() == 1
    assert capsys.readouterr().err == "sosbridge: no bridge runs on s.db\n"


# Which store it asks: it reads the sources itself, because pydantic takes fifty times as long as the rest


@pytest.mark.parametrize("override", [[], ["store.path=/set.db", "mqtt.port=1"]])
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("", ""),
        ("SOSBRIDGE_STORE__PATH", "/env.db"),
        ("sosbridge_store__path", "/env.db"),
        ("SOSBRIDGE_STORE", '{"path": "/json.db"}'),
        ("SOSBRIDGE_STORE", '{"max_commands": 5}'),
    ],
)
@pytest.mark.parametrize("secret", ["", "store__path", "STORE__PATH"])
@pytest.mark.parametrize(
    "text",
    ["", '[store]\npath = "file.db"', "store = {path = '/in/line.db'}", '["st\\u006fre"]\npath = "x"', "[store]"],
)
def test_it_asks_the_store_that_the_service_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, variable: str, value: str, override: list[str],
    secret: str,
) -> None:  # fmt: skip
    file = tmp_path / "any.toml"
    file.write_text(f'mqtt.host = "h"\n{text}\n')
    if variable:
        monkeypatch.setenv(variable, value)
    if secret:
        (tmp_path / "secrets").mkdir()
        (tmp_path / "secrets" / secret).write_text("/secret.db\n")
        monkeypatch.setenv("SOSBRIDGE_SECRETS_DIR", str(tmp_path / "secrets"))
    assert Path(store_path(str(file), override)) == load(file, override).store.path


def test_it_finds_the_file_that_the_service_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sosbridge.toml", "other.toml"):
        (tmp_path / name).write_text(f'mqtt.host = "h"\nstore.path = "/{name}"\n')
    assert store_path(None, []) == str(load().store.path) == "/sosbridge.toml"
    monkeypatch.setenv("SOSBRIDGE_CONFIG", str(tmp_path / "other.toml"))
    assert store_path(None, []) == str(load().store.path) == "/other.toml"


@pytest.mark.parametrize("text", ["[store", 'store = "x"'])
def test_a_file_that_does_not_say_is_wrong_configuration(tmp_path: Path, capsys: Output, text: str) -> None:
    (tmp_path / "sosbridge.toml").write_text(text)
    assert healthcheck() == 2
    assert "sosbridge.toml: not TOML" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="No such file"):
        store_path("nowhere.toml", [])


# What it costs

_RUN = "import sys; sys.path.insert(0, {root!r}); from bridge.cli import call; call({words}); {then}"


def program(words: list[str], then: str = "pass") -> list[str]:
    return [sys.executable, "-I", "-c", _RUN.format(root=str(ROOT), words=words, then=then)]


@pytest.mark.parametrize("words", [["healthcheck"], ["-c", "store.toml", "healthcheck", "--strict"]])
def test_a_health_check_imports_next_to_nothing(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "store.toml").write_text('[store]\npath = "s.db"\n')
    heavy = "{'pydantic', 'asyncio', 'ssl', 'aiomqtt', 'paho', 'sqlite3', 'argparse', 'json', 'logging', 'pathlib'}"
    done = subprocess.run(
        program(words, f"print(sorted({heavy} & sys.modules.keys()), len(sys.modules))"),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    imported, _, count = done.stdout.strip().rpartition(" ")
    assert imported == "[]"
    assert int(count) < 120


@pytest.mark.parametrize("command", [None, "check", "simulate"])
def test_help_imports_no_command(command: str | None) -> None:
    then = "print(*[name for name in sys.modules if name.startswith(('pydantic', 'asyncio', 'bridge.c'))])"
    make = f"from bridge.cli.parser import parser; parser({command!r}).format_help()"
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); {make}; {then}"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    table = {f"bridge.cli.{name}" for name in ("parser", "rows", "table", "simulate", "simulate.table")}
    assert set(done.stdout.split()) == {"bridge.common", "bridge.common.errors", "bridge.cli", *table}


def cpu_s(command: list[str], times: int = 10) -> float:
    """Return the processor time of a command, the least of several runs."""

    def once() -> float:
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            _, _, used = os.wait4(process.pid, 0)
            process.returncode = 0
        return used.ru_utime + used.ru_stime

    return min(once() for _ in range(times))


@pytest.mark.parametrize(("words", "most"), [(["healthcheck"], 3.0), (["--help"], 6.0)])
def test_it_costs_few_times_what_the_interpreter_does(words: list[str], most: float) -> None:
    bare = cpu_s([sys.executable, "-I", "-c", "pass"], 20)
    assert cpu_s(program(words)) <= most * bare
