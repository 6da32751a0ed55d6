"""A newcomer's way: the commands of README.md lead, as they stand there, to an alarm that a receiver accepted."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.brokers import Mosquitto, free_port

TOP = Path(__file__).parents[2]
OWN = (TOP / "README.md").read_text("utf-8").split("## Your own configuration")[1]
MOST_COMMANDS = 10
PORTS = (19000, 19001)
"""Of the simulated receivers, in the README."""


def block() -> str:
    return re.findall(r"```sh\n(.*?)```", OWN, re.DOTALL)[0]  # type: ignore[no-any-return]


def test_ten_commands_are_enough() -> None:
    lines = re.sub(r"<<END\n.*?\nEND", "", block(), flags=re.DOTALL).strip().splitlines()
    assert len(lines) <= MOST_COMMANDS
    assert lines[-1].startswith("mosquitto_sub")


def free(port: int) -> bool:
    """Whether nothing on this machine has the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An installed sosbridge, and a broker; clients and bridge find its port without it being in a command."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/activate").write_text(f"PATH={tmp_path}/.venv/bin:$PATH\n")
    for name, line in (("sosbridge", f'exec {sys.executable} -m bridge "$@"'), ("sudo", "exit 0")):
        path = tmp_path / ".venv/bin" / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)
    with Mosquitto(tmp_path) as broker:
        for name in ("mosquitto_pub", "mosquitto_sub"):
            (tmp_path / name).write_text(f"-p {broker.port}\n")
        yield {
            **os.environ,
            "PATH": f"{tmp_path}/.venv/bin:{os.environ['PATH']}",  # sudo is needed before the environment is active
            "PYTHONPATH": str(TOP),
            "XDG_CONFIG_HOME": str(tmp_path),
            "SOSBRIDGE_MQTT__PORT": str(broker.port),
        }


def test_the_commands_deliver_an_alarm(tmp_path: Path, environment: dict[str, str]) -> None:
    script = block()
    if not all(map(free, PORTS)):
        primary = free_port(following=1)
        script = script.replace("--pair", f"--pair --port {primary}")
        script = script.replace(str(PORTS[0]), str(primary)).replace(str(PORTS[1]), str(primary + 1))
    script = f"trap 'kill $(jobs -p)' EXIT\n{script}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=90, check=False
    )
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["event_code"], result["outcome"]) == ("BA", "accepted"), done.stderr
    assert re.search(r"primary: .*alarm", done.stdout), done.stdout
