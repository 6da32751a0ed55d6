"""What deploy/README.md says is so: its commands parse, its files exist, what it quotes is said, its lines work."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import aiomqtt
import pytest
from deploy.kit import DEPLOY, TOP, ShippedBroker, password, prepared, run
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from support.brokers import Mosquitto

from bridge.cli.parser import parser
from bridge.common.errors import StoreError
from bridge.mqtt.client import Broker, BrokerError, explain, try_connection
from bridge.store.sqlite.database import SqliteStore

README = (DEPLOY / "README.md").read_text("utf-8")
BLOCKS = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL)).replace("\\\n", " ")


def commands() -> list[str]:
    """Every command of ours that stands in a code block or between backticks."""
    shown = re.findall(r"(?:exec bridge|sudo) (sosbridge .*)$", BLOCKS, re.MULTILINE)
    return sorted({*shown, *re.findall(r"`(?:docker compose exec bridge )?(sosbridge [a-z][^`]*)`", README)})


@pytest.mark.parametrize("command", commands())
def test_commands_parse(command: str) -> None:
    words = shlex.split(command)[1:]
    needs = {"drop": ["7"], "point-here": ["GUID"]}.get(words[-1], [])  # in prose some are named without what they need
    parser().parse_args([*words, *needs])


def test_there_are_commands_to_prove() -> None:
    assert {command.split()[1] for command in commands()} >= {"check", "outbox", "panel", "healthcheck"}


def test_the_blocks_are_good_shell() -> None:
    subprocess.run(["sh", "-n"], input=BLOCKS, text=True, check=True)


def test_the_files_are_there(tmp_path: Path) -> None:
    deploy = prepared(tmp_path)
    named = set(re.findall(r"(?<![\w/.-])((?:deploy|site|mosquitto)/[\w./-]*\w)", BLOCKS))
    later = {"site/data/backup.tar"}
    missing = [
        path
        for path in named - later
        if not (tmp_path / path).exists() and not (deploy / path).exists() and not (TOP / path).exists()
    ]
    assert missing == []
    assert len(named) > 10


def _full(folder: Path) -> str:
    """Return what is said of a store that cannot grow."""

    async def run() -> None:
        async with await SqliteStore.open(folder / "store.db") as store:
            await store.write(lambda db: db.execute("PRAGMA max_page_count = 1"))
            await store.write(lambda db: db.execute("INSERT INTO panel VALUES ('P', ?)", ("x" * 100_000,)))

    with pytest.raises(StoreError) as caught:
        asyncio.run(run())
    return str(caught.value)


def _read_only(folder: Path) -> str:
    """Return what is said of a store on a file system that became read-only."""

    async def run() -> None:
        async with await SqliteStore.open(folder / "store.db") as store:
            await store.write(lambda db: db.execute("PRAGMA query_only = 1"))
            await store.write(lambda db: db.execute("INSERT INTO panel VALUES ('P', '')"))

    with pytest.raises(StoreError) as caught:
        asyncio.run(run())
    return str(caught.value)


def _refused(folder: Path) -> str:
    """Return what is said of a broker that wants a login."""
    with Mosquitto(folder, general=["allow_anonymous false"]) as broker, pytest.raises(BrokerError) as caught:
        asyncio.run(try_connection(Broker("127.0.0.1", broker.port)))
    return str(caught.value)


def _taken_over(_: Path) -> str:
    error = aiomqtt.MqttError("Disconnected during message iteration")
    error.__cause__ = aiomqtt.MqttCodeError(ReasonCode(PacketTypes.DISCONNECT, "Session taken over"))
    return explain(error)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("another client took over our client id", _taken_over),
        ("the disk is full", _full),
        ("it is read-only", _read_only),
        ("it refuses the user name or password", _refused),
    ],
)
def test_what_it_quotes_is_said(tmp_path: Path, words: str, said: Callable[[Path], str]) -> None:
    assert f"*{words}" in README
    assert words in said(tmp_path)


_DEBIAN = """\
persistence true
persistence_location {folder}/
log_dest file {folder}/own.log
include_dir {folder}/conf.d
"""


def test_the_broker_beside_systemd(tmp_path: Path) -> None:
    """The line of the README makes a configuration that Debian's own takes in."""
    deploy = prepared(tmp_path)
    line = next(line for line in BLOCKS.splitlines() if line.startswith("sed ")).split("|")[0]
    text = run("sh", "-c", line, cwd=tmp_path)
    assert "listener 1883 127.0.0.1\n" in text
    folder = tmp_path / "etc"
    (folder / "conf.d").mkdir(parents=True)
    broker = Mosquitto(folder)
    text = text.replace("/etc/mosquitto", f"{deploy}/site/mosquitto/secrets").replace("1883", str(broker.port))
    (folder / "conf.d/sosbridge.conf").write_text(text)
    broker.config.write_text("user root\n" + _DEBIAN.format(folder=folder))
    with broker:
        options = ["-p", broker.port, "-q", "1", "-t", "sosbridge/transmitter/home/ping", "-m", ""]
        run("mosquitto_pub", *options, "-u", "button", "-P", password(deploy, "button"))
        run("mosquitto_pub", *options, status=5)


def test_an_uninstall_leaves_nothing_on_the_broker(tmp_path: Path) -> None:
    """With the rights that the shipped access list gives the bridge; topics of others stay."""
    assert "run --rm bridge mqtt clear" in BLOCKS
    deploy = prepared(tmp_path)
    (tmp_path / "sosbridge.toml").write_text("[mqtt]\nusername = 'bridge'\n")
    ours = {
        "sosbridge/bridge/state",
        "sosbridge/transmitter/home/link",
        "sosbridge/transmitter/home/alarm/raise",
        "sosbridge/panel/P/sensor/9/info",
        "homeassistant/device/sosbridge_transmitter_home/config",
    }
    with ShippedBroker(deploy) as broker:
        login = ["-p", broker.port, "-u", "bridge", "-P", password(deploy, "bridge")]
        for topic in ours:
            run("mosquitto_pub", *login, "-q", "1", "-r", "-t", topic, "-m", "ON")
        listed = ("mosquitto_sub", *login, "-t", "#", "-W", "2", "--retained-only", "-F", "%t")
        assert set(run(*listed, status=27).split()) == ours
        run(
            *(sys.executable, "-m", "bridge", "mqtt", "clear", "--yes"),
            cwd=tmp_path,
            PYTHONPATH=str(TOP),
            SOSBRIDGE_MQTT__PORT=str(broker.port),
            SOSBRIDGE_MQTT__PASSWORD=password(deploy, "bridge"),
        )
        assert run(*listed, status=27) == ""
