"""The command line: its exit status, its errors in a line, and each command that needs no broker."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support.commands import Output, alone, documented
from support.outbox import command, put, result

from bridge.cli import call
from bridge.cli.logs import HumanFormatter, JsonFormatter
from bridge.cli.parser import parser
from bridge.common.models import Outcome, PreparedAlarm, Request, Secret
from bridge.sos_access.simulator.receiver import Accounts, Receiver
from bridge.store.outbox import Outbox
from bridge.store.passwords import PasswordFile, Passwords
from bridge.store.sqlite.database import SqliteStore
from bridge.store.sqlite.lock import hold

PASSWORD = "core-password-1"
__all__ = ["alone"]


def configure(folder: Path, port: int = 9) -> None:
    (folder / "bridge.toml").write_text(
        f"""
        [store]
        path = "{folder / "store.db"}"
        [[transmitters]]
        name = "home"
        transmitter_code = "IK1"
        transmitter_type = "SV300"
        authentication = "{PASSWORD}"
        receiver_id = "OPER"
        receiver = "127.0.0.1:{port}"
        use_single_receiver = true
        """
    )


@contextmanager
def receiver(accounts: Accounts) -> Iterator[Receiver]:
    """A receiver on a loop of its own, in a thread of its own; its log is not the command's."""
    logging.getLogger("bridge.sos_access.simulator.receiver").disabled = True
    found = Receiver(accounts)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(found.start(), loop).result()
    try:
        yield found
    finally:
        asyncio.run_coroutine_threadsafe(found.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        logging.getLogger("bridge.sos_access.simulator.receiver").disabled = False


@contextmanager
def commissioned(folder: Path, password: str = PASSWORD) -> Iterator[Receiver]:
    with receiver(Accounts({"IK1": password})) as found:
        configure(folder, found.address[1])
        yield found


def error_line(capsys: Output) -> str:
    """Return the one line of the error, and see that nothing else was said but each attempt's warning."""
    said = capsys.readouterr()
    assert said.out == ""
    assert PASSWORD not in said.err
    [line] = [line for line in said.err.splitlines() if " WARNING  " not in line]
    return line


def subcommands(of: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the commands of a command by name; none where it has none."""
    found = [each for each in of._actions if isinstance(each, argparse._SubParsersAction)]
    return dict(found[0].choices) if found else {}


def commands(of: argparse.ArgumentParser, words: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    yield words, of
    for name, each in subcommands(of).items():
        yield from commands(each, f"{words} {name}".strip())


def explanations(of: argparse.ArgumentParser) -> list[str]:
    """Return the text of each option, argument and subcommand. None goes without one."""
    found = []
    for action in of._actions:
        for each in action._choices_actions if isinstance(action, argparse._SubParsersAction) else [action]:
            if each.help != argparse.SUPPRESS:
                assert each.help, f"{of.prog}: {each.dest} goes without an explanation"
                found.append(of._get_formatter()._expand_help(each))
    return found


@pytest.mark.parametrize(
    ("words", "command"), [pytest.param(*each, id=each[0] or "sosbridge") for each in commands(parser())]
)
def test_every_command_explains_itself(
    capsys: Output, monkeypatch: pytest.MonkeyPatch, words: str, command: argparse.ArgumentParser
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit) as caught:
        call(["help", *words.split()])
    assert caught.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"usage: sosbridge {words}".strip() in said
    for text in explanations(command):
        assert " ".join(text.split()) in said


@pytest.mark.parametrize(
    "words",
    ["", "nothing", "alarm", "alarm raise", "outbox show", "outbox show x", "ping --loud", "--log-level loud run"],
)
def test_wrong_usage_is_2(capsys: Output, words: str) -> None:
    with pytest.raises(SystemExit) as caught:
        call(words.split())
    assert caught.value.code == 2
    assert "usage: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("chek", "unknown command 'chek'; did you mean 'check'?"),
        ("outbox lst", "unknown command 'lst'; did you mean 'list'?"),
        ("help outbx", "unknown command 'outbx'; did you mean 'outbox'?"),
        ("outbox list --jsn", "unknown option --jsn; did you mean '--json'?"),
        ("outbox list --transmiter=home", "unknown option --transmiter; did you mean '--transmitter'?"),
        ("outbox", "sosbridge outbox: error: a command is missing; known: list, show, retry, drop"),
        ("completion zhs", "shell: unknown value 'zhs'; did you mean 'zsh'?"),
        ("check --log-level=wraning", "--log-level: unknown value 'wraning'; did you mean 'warning'?"),
        ("--jsn check", "unknown option --jsn; did you mean '--json'?"),
        ("check now", "unexpected argument 'now'"),
        ("check --mqtt.password=hunter2", "unknown option --mqtt.password; "),
    ],
)
def test_wrong_words_are_answered_with_the_right_ones(capsys: Output, words: str, advice: str) -> None:
    with pytest.raises(SystemExit):
        call(words.split())
    said = capsys.readouterr().err
    assert advice in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    "words",
    [
        "{c} {s} outbox list --json",
        "--json {c} outbox list {s}",
        "outbox {c} list --json {s}",
        "outbox list {s} {c} --json",
    ],
)
def test_options_of_every_command_stand_anywhere(tmp_path: Path, capsys: Output, words: str) -> None:
    prepare_outbox(tmp_path)
    (tmp_path / "bridge.toml").rename(tmp_path / "other.toml")
    given = words.format(c=f"-c {tmp_path / 'other.toml'}", s="--set mqtt.port=1 --set=transmitters.home.receiver=h:1")
    assert call(given.split()) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(each["number"], each["state"]) for each in found] == [(1, "rejected"), (2, "pending"), (3, "pending")]


def test_each_override_counts_wherever_it_stands(tmp_path: Path, capsys: Output) -> None:
    configure(tmp_path)
    assert call(["--set", "mqtt.port=x", "outbox", "list", "--set", "mqtt.keepalive=y"]) == 2
    said = capsys.readouterr().err
    assert "mqtt.port" in said
    assert "mqtt.keepalive" in said


@pytest.mark.parametrize("words", ["run", "check", "ping", "rotate", "alarm raise BA", "outbox list"])
def test_a_wrong_configuration_is_2_and_a_line(tmp_path: Path, capsys: Output, words: str) -> None:
    configure(tmp_path)
    assert call(["--set", "mqtt.port=x", *words.split()]) == 2
    assert error_line(capsys).startswith("sosbridge: the command line: mqtt.port: 'x' is not a whole number")


def test_a_missing_configuration_is_2_and_says_how_to_write_one(capsys: Output) -> None:
    assert call(["outbox", "list"]) == 2
    assert "sosbridge config example" in error_line(capsys)


def test_the_schema_and_the_example(capsys: Output, tmp_path: Path) -> None:
    assert call(["config", "schema"]) == 0
    assert "mqtt" in json.loads(capsys.readouterr().out)["properties"]
    assert call(["config", "example"]) == 0
    (tmp_path / "bridge.toml").write_text(capsys.readouterr().out)
    assert call(["--set", f"store.path={tmp_path / 'store.db'}", "outbox", "list"]) == 0


def prepare_outbox(folder: Path) -> None:
    """Number 1 is rejected, 2 is pending, 3 is a ping."""

    async def fill() -> None:
        async with await SqliteStore.open(folder / "store.db") as store:
            outbox = Outbox(store)
            rejected, *_ = await put(
                outbox, command(code="FA", section="1"), command(reference="77"), command(Request.PING)
            )
            await outbox.complete(rejected, result(rejected, Outcome.REJECTED, attempts=1, error="answered 3"))

    configure(folder)
    asyncio.run(fill())


def test_the_outbox_is_listed_and_shown(tmp_path: Path, capsys: Output) -> None:
    prepare_outbox(tmp_path)
    assert call(["outbox", "list"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [(row[0], row[2], row[3], row[5], row[7]) for row in rows] == [
        ("1", "alarm", "FA", "rejected", "answered 3"),
        ("2", "alarm", "BA", "pending", "-"),
        ("3", "ping", "-", "pending", "-"),
    ]
    assert call(["outbox", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert documented("outbox list") == list(listed[0])
    assert call(["outbox", "list", "-t", "other"]) == 2
    assert error_line(capsys) == "sosbridge: --transmitter other: unknown transmitter; configured: home"
    assert call(["outbox", "show", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["state"], found["alarm"]) == ("rejected", {"event_code": "FA", "section": "1"})
    assert found == listed[0]


def test_an_empty_outbox_says_so(tmp_path: Path, capsys: Output) -> None:
    configure(tmp_path)
    assert call(["outbox", "list"]) == 0
    assert tuple(capsys.readouterr()) == ("", "the outbox is empty\n")
    assert call(["outbox", "list", "--json"]) == 0
    assert tuple(capsys.readouterr()) == ("[]\n", "")


def test_the_outbox_says_what_is_urgent_undelivered_or_unauthorized(tmp_path: Path, capsys: Output) -> None:
    async def fill() -> None:
        async with await SqliteStore.open(tmp_path / "store.db") as store:
            outbox = Outbox(store)
            fire = replace(command(code="FA"), alarm=PreparedAlarm("FA", urgent=True))
            found = await put(outbox, fire, command(), command(code="PA"))
            await outbox.failed(found[0], attempts=2, error="no answer")
            await outbox.failed(
                found[1], attempts=1, error="answered 4", unauthorized=result(found[1], Outcome.UNAUTHORIZED)
            )

    configure(tmp_path)
    asyncio.run(fill())
    assert call(["outbox", "list"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [(row[3], row[5], row[7]) for row in rows] == [
        ("FA", "undelivered, urgent", "no answer"),
        ("BA", "unauthorized", "answered 4"),
        ("PA", "pending", "-"),
    ]
    assert call(["outbox", "show", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["urgent"], found["undelivered"], found["alarm"]) == (True, True, {"event_code": "FA", "urgent": True})


def test_a_command_is_put_back_or_dropped(tmp_path: Path, capsys: Output) -> None:
    prepare_outbox(tmp_path)
    assert call(["outbox", "retry", "1"]) == 0
    assert capsys.readouterr().out == "number 1 is queued again\n"
    assert call(["outbox", "retry", "1"]) == 1
    assert error_line(capsys) == "sosbridge: number 1 is pending, not rejected; it needs no retry"
    assert call(["outbox", "drop", "1"]) == 0
    assert capsys.readouterr().out == "number 1 was dropped\n"
    for action in ("show", "retry", "drop"):
        assert call(["outbox", action, "1"]) == 1
        assert error_line(capsys).startswith("sosbridge: no number 1 in the outbox")


def test_a_store_that_is_none_is_1_and_a_line(tmp_path: Path, capsys: Output) -> None:
    configure(tmp_path)
    (tmp_path / "store.db").write_bytes(b"notes " * 1000)
    assert call(["outbox", "list"]) == 1
    assert "not a SQLite file" in error_line(capsys)


def test_an_alarm_is_raised_and_restored_directly(tmp_path: Path, capsys: Output) -> None:
    with commissioned(tmp_path) as found:
        assert call(["alarm", "raise", "BA", "--section", "1", "--section-text", "House"]) == 0
        assert f"accepted by the primary receiver 127.0.0.1:{found.address[1]}: 0" in capsys.readouterr().out
        assert call(["alarm", "restore", "BA", "--section", "1"]) == 0
        assert call(["ping", "--reference", "7"]) == 0
    assert [(arrival.kind, arrival.status) for arrival in found.arrivals] == [("alarm", 0), ("restore", 0), ("ping", 0)]
    assert "House" in found.arrivals[0].masked


def test_a_rotation_stores_the_new_password(tmp_path: Path, capsys: Output) -> None:
    with commissioned(tmp_path) as found:
        assert call(["rotate"]) == 0
        assert "the new password is stored" in capsys.readouterr().out
        account = found.accounts.account("IK1")
        assert account
        new = account.pending
        [path] = (tmp_path / "store.passwords").iterdir()
        credentials = Passwords(PasswordFile(path), Secret(PASSWORD))
        assert credentials.candidates() == (new, Secret(PASSWORD))
        assert call(["ping"]) == 0
        assert account.current == new
        output = capsys.readouterr()
        assert new
        assert new.reveal() not in output.out + output.err


def test_a_rotation_is_3_while_the_service_runs(tmp_path: Path, capsys: Output) -> None:
    with commissioned(tmp_path) as found, hold(tmp_path / "store.db"):
        assert call(["rotate"]) == 3
        assert "publish to it: mosquitto_pub -q 1 -t sosbridge/transmitter/home/auth/rotate -n" in error_line(capsys)
        assert found.arrivals == []
        assert call(["ping"]) == 0


def test_a_refusal_is_4(tmp_path: Path, capsys: Output) -> None:
    with commissioned(tmp_path, "9" * 15):
        assert call(["alarm", "raise", "BA"]) == 4
        assert "answered 4" in error_line(capsys)


def test_a_ping_that_comes_too_soon_is_4_and_says_what_to_do(tmp_path: Path, capsys: Output) -> None:
    with commissioned(tmp_path):
        assert call(["ping"]) == 0
        capsys.readouterr()
        assert call(["ping"]) == 4
        assert (
            error_line(capsys) == "sosbridge: answered 101 PING_TO_OFTEN: it was pinged a moment ago; try again later"
        )


def test_nobody_there_is_1(tmp_path: Path, capsys: Output) -> None:
    with commissioned(tmp_path):
        pass
    assert call(["alarm", "raise", "BA"]) == 1
    assert error_line(capsys).startswith("sosbridge: primary: connection refused by ")


def test_what_cannot_be_sent_is_2_and_sends_nothing(tmp_path: Path, capsys: Output) -> None:
    with commissioned(tmp_path) as found:
        assert call(["alarm", "raise", "B" * 99]) == 2
        assert error_line(capsys).startswith("sosbridge: event_code: ")
        assert call(["ping", "-t", "attic"]) == 2
        assert "unknown transmitter; configured: home" in error_line(capsys)
    assert found.arrivals == []


def test_nothing_running_is_not_healthy(tmp_path: Path, capsys: Output) -> None:
    configure(tmp_path)
    assert call(["healthcheck"]) == 1
    assert error_line(capsys).startswith("sosbridge: ")


def test_log_lines_for_people_and_for_programs() -> None:
    try:
        raise ValueError("deep")  # noqa: TRY301 - a traceback to show
    except ValueError:
        info = sys.exc_info()
    record = logging.LogRecord("bridge.mqtt.session", logging.WARNING, "f", 1, "ünwell: %s", ("a\nb",), info)
    found = json.loads(JsonFormatter().format(record))
    assert (found["level"], found["logger"], found["message"]) == ("warning", "bridge.mqtt.session", "ünwell: a\nb")
    assert "ValueError: deep" in found["traceback"]
    assert "\n" not in JsonFormatter().format(record)
    assert " WARNING  ünwell" in HumanFormatter(colours=False).format(record)
    assert HumanFormatter(colours=True).format(record).startswith("\033[33m")
