"""What others on the machine can see of the bridge: its files, its process, its output, also when it crashes."""

from __future__ import annotations

import signal
from pathlib import Path

from support.harness import live
from support.house import GUID, House

CODE = "code-of-the-house"
BROKER_PASSWORD = "password-of-the-broker"
_CRASHES = """
import sys
from bridge.sos_access import documents
from bridge.cli import main

def write(root, content):
    raise RuntimeError(f"a fault in the program: {root}")

documents.write = write
sys.exit(main())
"""


def theirs(site: House) -> list[Path]:
    """The files and directories that the bridge made: not its configuration, its log, the certificate of a test."""
    ours = {site.bridge.config, site.bridge.log_file}
    return [path for path in site.folder.rglob("*") if path not in ours]


def set_aside(site: House) -> None:
    """Keep a log with the trace that was expected from the check that there is none."""
    site.bridge.log_file.rename(site.folder / "expected.log")


def secrets(site: House) -> set[str]:
    return {*site.passwords, CODE, BROKER_PASSWORD}


async def busy(site: House) -> None:
    """Let the bridge use all that it knows: an alarm, a heartbeat, a rotation, a panel and its code."""
    site.codes.add(CODE)
    local = site.controlled(code=CODE)
    site.settings["mqtt"] |= {"username": "bridge", "password": BROKER_PASSWORD}
    await site.start()
    await site.panel(local=local)
    assert (await site.do("alarm/raise", "BA"))["outcome"] == "accepted"
    assert (await site.do("auth/rotate"))["outcome"] == "accepted"
    assert (await site.do("ping"))["outcome"] == "accepted"
    assert await site.outcome({"action": "DISARM", "code": CODE}) == "done"
    assert len(site.passwords) == 2


@live
async def test_nobody_else_may_read_a_file_of_the_bridge(site: House) -> None:
    """Even where files are made for everybody by default; while it runs, after a kill, and after a stop."""
    site.bridge.umask = 0
    await busy(site)
    names = {path.name for path in theirs(site)}
    [kept] = [path.name for path in theirs(site) if path.parent.name == "bridge.passwords"]
    assert {"bridge.db", "bridge.db-wal", "bridge.db-shm", "bridge.db.lock", "bridge.db.sock"} <= names
    assert (await site.bridge.command("backup", str(site.folder / "all.tar"))).returncode == 0
    for end in (site.bridge.kill, site.bridge.stop):
        for path in theirs(site):
            assert path.stat().st_mode & 0o077 == 0, f"{path}: {path.stat().st_mode:o}"
        if ended := end():
            assert await ended == 0
        if end == site.bridge.kill:
            await site.start()
    passwords = [
        path for path in theirs(site) if site.passwords & {word for word in site.passwords if word in _text(path)}
    ]
    assert {path.name for path in passwords} == {kept, "all.tar"}


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace") if path.is_file() else ""


@live
async def test_ps_shows_no_secret(site: House) -> None:
    """Nor has the bridge a child that could."""
    await busy(site)
    shown = site.bridge.told("cmdline") + site.bridge.told("status") + site.bridge.told("environ")
    assert not [secret for secret in secrets(site) if secret in shown]
    assert site.bridge.process is not None
    main_thread = site.bridge.process.pid
    assert site.bridge.told(f"task/{main_thread}/children") == ""


@live
async def test_no_command_line_shows_a_secret(site: House) -> None:
    await busy(site)
    commands = (
        ("check",), ("check", "--set", "mqtt.port=0"), ("check", "--set", f"mqtt.password.x={BROKER_PASSWORD}"),
        ("config", "example"), ("config", "schema"), ("healthcheck",), ("outbox", "list"), ("panel", "list"),
        ("panel", "status", GUID), ("ping",), ("rotate",), ("--help",), ("run",),
    )  # fmt: skip
    said = ""
    for words in commands:
        done = await site.bridge.command(*words)
        said += done.stdout + done.stderr
    assert "Traceback" not in said, said
    assert "mqtt.port" in said
    assert not [secret for secret in secrets(site) if secret in said]


def test_a_crash_shows_no_secret(site: House) -> None:
    """A fault in the program, with the password at hand: the trace has names of functions, not values."""
    site.bridge.program = ("-X", "dev", "-c", _CRASHES)
    site.bridge.variables = {"PYTHONASYNCIODEBUG": "1", "PYTHONFAULTHANDLER": "1"}

    @live
    async def scenario(site: House) -> None:
        site.launch()  # it sends a ping at once
        assert await site.bridge.ends() != 0
        assert "RuntimeError: a fault in the program" in site.bridge.log
        assert not [secret for secret in secrets(site) if secret in site.bridge.log]
        set_aside(site)

    scenario(site=site)


@live
async def test_a_dump_of_a_process_that_hangs_shows_no_secret(site: House) -> None:
    site.bridge.variables = {"PYTHONFAULTHANDLER": "1"}
    await busy(site)
    assert site.bridge.process is not None
    site.bridge.process.send_signal(signal.SIGABRT)
    assert await site.bridge.ends() == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in site.bridge.log
    assert not [secret for secret in secrets(site) if secret in site.bridge.log]
    set_aside(site)


def test_an_empty_code_is_not_taken_for_none(site: House) -> None:
    """It would let every command pass."""
    site.bridge.config.write_text(f'[g90]\n[[g90.panels]]\nguid = "{GUID}"\ncode = ""\n')
    done = site.bridge._run(["check"])
    assert done.returncode == 2
    assert f"g90.panels.{GUID.lower()}.code" in done.stderr
