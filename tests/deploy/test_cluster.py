"""deploy/cluster: its compose file, its scripts, and the commands of its README, run as they stand."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import psycopg
import pytest
import yaml
from deploy.kit import DEPLOY, TOP, prepared, run
from support.brokers import free_port
from support.postgres import PostgresServer, _user, programs

from bridge.cli.parser import parser
from bridge.config.sources import load

CLUSTER = DEPLOY / "cluster"
README = (CLUSTER / "README.md").read_text("utf-8")
BLOCKS = [re.sub(r"^   ", "", block, flags=re.MULTILINE) for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)]
ONE_MACHINE = README[README.index("## Try it on one machine") : README.index("## With Docker")]
TRIED = "".join(re.findall(r"```sh\n(.*?)```", ONE_MACHINE, re.DOTALL))
PORTS = {"11883", "15432", "15433", "19010"}
COMPOSE = yaml.safe_load((CLUSTER / "compose.yaml").read_text())
ABOVE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
"""To which Compose adds."""
SITE = "${SOSBRIDGE_SITE:-./site}"


def _script(path: Path, *lines: str) -> None:
    path.write_text("\n".join(("#!/bin/sh", *lines)) + "\n")
    path.chmod(0o755)


def _not_root(folder: Path, *names: str) -> None:
    """Let programs of PostgreSQL, which refuse root, run as the user that its tests run it as."""
    if (user := _user()) is None:
        return
    for name in names:
        program = programs() / name
        _script(folder / name, f'exec setpriv --reuid={user} --regid={user} --clear-groups {program} "$@"')


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder that the user of PostgreSQL reaches, and that belongs to it."""
    made = Path(tempfile.mkdtemp(prefix="sosbridge-cluster-"))
    if (user := _user()) is not None:
        shutil.chown(made, user)
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def programs_folder(folder: Path) -> Path:
    """A folder to put before the PATH, with the command that is tested."""
    found = folder / "bin"
    found.mkdir()
    _script(found / "sosbridge", f'PYTHONPATH={TOP} exec {sys.executable} -P -m bridge "$@"')
    return found


# The commands of the README


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_is_good_shell_and_its_commands_parse(block: str) -> None:
    subprocess.run(["sh", "-n"], input=block, text=True, check=True)
    shown = [
        re.split(r" >| \\$| &$", line)[0]
        for line in block.splitlines()
        if re.search(r"(^|sudo |bridge |bridge-b )sosbridge ", line)
    ]
    for line in shown:
        words = shlex.split(line[line.index("sosbridge ") :])[1:]
        parser().parse_args(words)


def on_free_ports(commands: str) -> str:
    """Return the commands with other ports: those that they name may be in use here."""
    assert set(re.findall(r"\b1\d{4}\b", commands)) == PORTS
    for port in PORTS:
        commands = commands.replace(port, str(free_port()))
    return commands


def test_two_nodes_and_a_killed_one_on_one_machine(folder: Path, programs_folder: Path) -> None:
    """Each alarm arrives once: before the owner is killed, after that, and after the database's primary is."""
    _not_root(programs_folder, "initdb", "pg_ctl", "pg_basebackup")
    stopper = (programs_folder if _user() else programs()) / "pg_ctl"
    environment = {"PATH": f"{programs_folder}:{os.environ['PATH']}", "HOME": str(folder)}
    with (folder / "said.log").open("wb") as said_file:
        shell = subprocess.Popen(
            ["bash", "-e", "-u", "-o", "pipefail", "-c", "umask 022\n" + on_free_ports(TRIED)],
            cwd=folder, env=environment, stdout=said_file, stderr=said_file, start_new_session=True,
        )  # fmt: skip
        try:
            assert shell.wait(90) == 0, (folder / "said.log").read_text()
        finally:
            os.killpg(shell.pid, signal.SIGKILL)
            for name in ("db1", "db2"):
                stop = [str(stopper), "--pgdata", str(folder / name), "-m", "immediate", "stop"]
                subprocess.run(stop, capture_output=True, timeout=30, check=False)
    said = "".join(f"--- {each.name}\n{each.read_text()}" for each in sorted(folder.glob("*.log")))
    arrived = [line for line in (folder / "receiver.log").read_text().splitlines() if "ping" not in line]
    for code in ("BA", "FA", "PA"):
        assert sum(f" {code}" in line for line in arrived) == 1, said
    assert "node b owns shard 0" in (folder / "b.log").read_text()
    print(said)


# What stands beside it


@pytest.fixture
def deploy(tmp_path: Path) -> Path:
    copy = prepared(tmp_path)
    run(copy / "cluster/prepare")
    return copy


def test_prepare_makes_what_compose_names_and_keeps_it(deploy: Path) -> None:
    files = [each["file"] for each in COMPOSE["secrets"].values()]
    volumes = [
        volume.split(":/")[0] for service in COMPOSE["services"].values() for volume in service.get("volumes", ())
    ]
    named = [deploy / each.replace(SITE, "site") for each in (*files, *volumes)]
    assert [path for path in named if not path.exists()] == []
    assert "COMPOSE_FILE=compose.yaml:cluster/compose.yaml\n" in (deploy / ".env").read_text()
    assert [path for path in (deploy / "site").rglob("*") if path.stat().st_mode & 0o077] == []
    before = {path: path.read_bytes() for path in (*(deploy / "site").rglob("*"), deploy / ".env") if path.is_file()}
    run(deploy / "cluster/prepare")
    assert before == {path: path.read_bytes() for path in before}


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_service_is_hardened(name: str) -> None:
    service = ABOVE.get(name, {}) | COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] == "${SOSBRIDGE_UID:?run deploy/up}:${SOSBRIDGE_GID:?run deploy/up}"
    assert service["restart"] == "unless-stopped"
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert COMPOSE["services"][name].get("ports") is None
    assert {each if isinstance(each, str) else each["source"] for each in service["secrets"]} <= {
        *COMPOSE["secrets"],
        "bridge",
        "authentication",
    }


def test_the_nodes_have_a_name_and_the_address_of_the_database(deploy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    for name in ("bridge", "bridge-b"):
        service = COMPOSE["services"][name]
        secrets = deploy.parent / f"secrets-{name}"
        secrets.mkdir()
        for each in service["secrets"]:
            shutil.copy(deploy / "site/passwords" / each["source"], secrets / each["target"])
        monkeypatch.setenv("SOSBRIDGE_SECRETS_DIR", str(secrets))
        monkeypatch.setenv("SOSBRIDGE_NODE__NAME", service["environment"]["SOSBRIDGE_NODE__NAME"])
        settings = load(deploy / "site/config/sosbridge.toml")
        names.append(settings.node.name)
        assert settings.store.url is not None
        assert "@db1,db2/sosbridge?target_session_attrs=read-write" in settings.store.url.reveal()
    assert names == ["bridge-a", "bridge-b"]


# The servers of the database


class Server(PostgresServer):
    """One that the script of the containers made, in a temporary directory."""

    def __init__(self, scripts: Path, follows: PostgresServer | None = None) -> None:
        super().__init__()
        self._scripts = scripts
        self._follows = follows

    def __enter__(self) -> Self:
        if (user := _user()) is not None:
            shutil.chown(self._folder, user)
        follows = {"FOLLOWS": "127.0.0.1", "PORT": str(self._follows.port)} if self._follows else {}
        self.data.mkdir(mode=0o700)
        if user is not None:
            shutil.chown(self.data, user)
        path = f"{self._scripts}:{programs()}:{os.environ['PATH']}"
        environment = {"PATH": path, "PGDATA": str(self.data), "SECRETS": str(self._scripts / "secrets"), **follows}
        self._run(["env", "-i", *(f"{name}={value}" for name, value in environment.items()), str(CLUSTER / "database")])
        self.start()
        return self

    def url(self, database: str) -> str:
        return f"postgresql://sosbridge:secret-of-database@127.0.0.1:{self.port}/{database}"


@pytest.fixture
def scripts(folder: Path) -> Path:
    """A folder with a program in place of the server, and the secrets."""
    (folder / "secrets").mkdir()
    for name in ("database", "replication"):
        (folder / "secrets" / name).write_text(f"secret-of-{name}")
    _script(folder / "postgres", f'case $1 in --single) exec {programs() / "postgres"} "$@" ;; esac')
    return folder


def test_a_server_and_its_standby_are_made_by_the_script(scripts: Path) -> None:
    with Server(scripts) as first:
        with Server(scripts, first) as second:
            with first.connect("sosbridge") as session:
                session.execute("CREATE TABLE it (a int)")
                end = time.monotonic() + 20
                while not session.execute("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'").fetchone():
                    assert time.monotonic() < end
                    time.sleep(0.1)
            with second.connect("sosbridge") as session:
                sql = "SELECT pg_is_in_recovery() AS follows, current_setting('server_encoding') AS encoding"
                assert session.execute(sql).fetchone() == {"follows": True, "encoding": "UTF8"}
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(first.url("sosbridge").replace("secret-of", "not-secret-of"))


# The cold spare


def test_a_backup_gets_to_the_spare_machine(tmp_path: Path, programs_folder: Path) -> None:
    """Twice: the second replaces the first."""
    spare = tmp_path / "spare"
    spare.mkdir()
    _script(programs_folder / "sosbridge", 'echo "$3" >>"$2" && echo "backup of $2" >>"$2"')
    _script(programs_folder / "ssh", f'[ "$5" = pi@spare ] && cd {spare} && exec sh -c "$6"')
    for _ in range(2):
        run(
            CLUSTER / "to-spare", PATH=f"{programs_folder}:{os.environ['PATH']}",
            STATE=str(tmp_path), SERVICE=str(tmp_path), SPARE="pi@spare",
        )  # fmt: skip
    found = {path.name: path.read_text() for path in (spare / "sosbridge-spare").iterdir()}
    assert found.pop("latest.tar") == f"\nbackup of {tmp_path}/to-spare.tar\n"
    assert 1 <= len(found) <= 2, "one an hour"
    assert all(re.fullmatch(r"backup-[0-2]\d\.tar", name) for name in found)
    assert not (tmp_path / "to-spare.tar").exists()


def test_the_units_of_the_spare_name_files_that_there_are() -> None:
    service = (CLUSTER / "sosbridge-spare.service").read_text()
    assert "ExecStart=/usr/local/bin/to-spare\n" in service
    assert (CLUSTER / "to-spare").stat().st_mode & 0o111
    watched = re.findall(r"^PathChanged=(.+)$", (CLUSTER / "sosbridge-spare.path").read_text(), re.MULTILINE)
    assert watched == ["/var/lib/private/sosbridge/sosbridge.passwords"]


@pytest.mark.parametrize("key", ["security_opt", "cap_drop", "tmpfs", "volumes", "ports"])
def test_what_is_added_to_a_service_stands_in_one_file(key: str) -> None:
    """Compose joins the lists of both files, and refuses a list with the same entry twice."""
    for name in ABOVE.keys() & COMPOSE["services"].keys():
        assert not {*ABOVE[name].get(key, ())} & {*COMPOSE["services"][name].get(key, ())}
