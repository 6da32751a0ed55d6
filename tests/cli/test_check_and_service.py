"""The command line where more than one thing can go wrong: two transmitters, a terminal, a program."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import Output, alone, at, configure, receivers
from support.config import PASSWORD
from support.outbox import command, put

from bridge.cli import call
from bridge.store.outbox import Outbox
from bridge.store.sqlite.database import SqliteStore
from bridge.store.sqlite.lock import hold

__all__ = ["alone"]


def test_of_two_transmitters_one_has_to_be_named(tmp_path: Path, capsys: Output) -> None:
    with receivers(PASSWORD) as (only,):
        configure(tmp_path, at(only.address[1]), at(only.address[1], name="shed").replace("IK1", "IK2"))
        assert call(["ping"]) == 2
        assert capsys.readouterr().err == "sosbridge: --transmitter is missing; configured: home, shed\n"
        assert call(["ping", "-t", "shed"]) == 0


def test_an_alarm_fails_over_and_says_so(tmp_path: Path, capsys: Output) -> None:
    with receivers(PASSWORD) as (secondary,):
        configure(tmp_path, at(9, secondary.address[1]))
        assert call(["alarm", "raise", "BA", "--section-text", "\N{EN DASH}" * 3]) == 0
        said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("warning: section_text: ")
    assert said[1].startswith(f"accepted by the secondary receiver 127.0.0.1:{secondary.address[1]}: 0")
    assert said[2] == "attempts: 2"
    assert said[3].startswith("arrived: ")


def test_beside_the_running_service_passwords_are_read_and_not_written(tmp_path: Path) -> None:
    with receivers(PASSWORD) as (only,):
        configure(tmp_path, at(only.address[1]))
        assert call(["rotate"]) == 0
        [path] = (tmp_path / "store.passwords").iterdir()
        stored = path.read_bytes()
        with hold(tmp_path / "store.db"):
            assert call(["ping"]) == 0
        assert path.read_bytes() == stored
        assert call(["ping"]) in (0, 4)  # too soon after the other one, where it is quick
        assert path.read_bytes() != stored


def test_a_damaged_password_file_is_said_and_the_configured_password_is_tried(tmp_path: Path, capsys: Output) -> None:
    with receivers(PASSWORD) as (only,):
        configure(tmp_path, at(only.address[1]))
        (tmp_path / "store.passwords").mkdir()
        (tmp_path / "store.passwords" / "home.json").write_text(f'{{"passwords": "{PASSWORD}"')
        assert call(["alarm", "raise", "BA"]) == 0
        said = capsys.readouterr()
        assert said.err.startswith(f"warning: the password file {tmp_path / 'store.passwords'}")
        assert "is damaged; the configured password is tried" in said.err
        assert call(["rotate"]) == 1
        assert "is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["0x1", "-1", "1.5", "9" * 19, "9" * 5000, "٣"])
def test_what_can_be_no_number_is_wrong_usage(tmp_path: Path, capsys: Output, number: str) -> None:
    configure(tmp_path)
    with pytest.raises(SystemExit) as caught:
        call(["outbox", "show", number])
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_large_number_is_no_number_of_a_command(tmp_path: Path, capsys: Output) -> None:
    configure(tmp_path)
    assert call(["outbox", "drop", "9" * 18]) == 1
    assert "no number 999999999999999999 in the outbox" in capsys.readouterr().err


def test_on_a_terminal_there_is_a_table(tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fill() -> None:
        async with await SqliteStore.open(tmp_path / "store.db") as store:
            await put(Outbox(store), command(code="FA"), command(code="\x1b[31m"))

    configure(tmp_path)
    asyncio.run(fill())
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert call(["outbox", "list"]) == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["number", "transmitter", "request", "code", "accepted", "state", "attempts", "error"]
    assert first.index("FA") == head.index("code")
    assert "\x1b" not in second
    with receivers(PASSWORD) as (only,):
        configure(tmp_path, at(only.address[1]))
        assert call(["ping"]) == 0
        assert capsys.readouterr().out.startswith("\x1b[32maccepted\x1b[0m")
        monkeypatch.setenv("NO_COLOR", "1")
        assert call(["--log-level", "error", "ping"]) in (0, 4)
        assert "\x1b" not in capsys.readouterr().out


# As a program


def program(*words: str, **more: str) -> subprocess.Popen[str]:
    environment = {**os.environ, **more}
    return subprocess.Popen(
        [sys.executable, "-m", "bridge", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def test_a_wrong_configuration_is_a_line_for_each_fault_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "bridge.toml").write_text(
        f'[mqtt]\nport = 0\nhots = "x"\n[[transmitters]]\nname = "home"\nauthentication = "{PASSWORD[1:]}"'
    )
    with program("run") as found:
        out, err = found.communicate()
    assert (found.returncode, out) == (2, "")
    assert PASSWORD[1:] not in err
    assert "Traceback" not in err
    lines = err.splitlines()
    assert len(lines) == 7
    assert all(line.removeprefix("sosbridge: ").startswith(f"{tmp_path / 'bridge.toml'}: ") for line in lines)


def test_whoever_has_read_enough_may_go(tmp_path: Path) -> None:
    with program("config", "schema") as found:
        assert found.stdout
        assert found.stderr
        found.stdout.close()
        assert found.stderr.read() == ""
    assert found.returncode in (0, 1)


def test_the_log_is_json_where_it_is_wanted_and_ends_at_a_signal(tmp_path: Path) -> None:
    configure(tmp_path)
    with program("--log-level", "debug", "--set", "log.format=json", "run") as found:
        assert found.stderr
        lines = [found.stderr.readline()]
        while "127.0.0.1" not in lines[-1]:
            lines.append(found.stderr.readline())
            assert lines[-1], lines
        found.send_signal(signal.SIGTERM)
        lines += found.stderr.readlines()
    assert found.returncode == 0
    for line in lines:
        said = json.loads(line)
        assert set(said) - {"transmitter", "panel", "receiver"} == {"time", "level", "logger", "message"}, line
        assert PASSWORD not in line


def test_the_service_refuses_a_store_that_is_in_use(tmp_path: Path) -> None:
    configure(tmp_path)
    with hold(tmp_path / "store.db"), program("run") as found:
        out, err = found.communicate()
    assert (found.returncode, out) == (3, "")
    store = tmp_path / "store.db"
    assert err.splitlines()[-1] == f"sosbridge: the store {store} is in use by a running sosbridge; stop it first"
