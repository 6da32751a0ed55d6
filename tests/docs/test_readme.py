"""What the README says is so: its commands parse, its configurations load, its topics exist, its demo runs."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import paho.mqtt.client as paho
import pytest

import bridge
from bridge.cli import call
from bridge.cli.parser import parser
from bridge.config.sources import load
from bridge.panels.topics import PanelTopics
from bridge.transmitters.topics import Reach, Topics

TOP = Path(__file__).parents[2]
README = (TOP / "README.md").read_text("utf-8")
DEPLOY = (TOP / "deploy/README.md").read_text("utf-8")
TOPICS = Topics("sosbridge", {"T": {}}, {"T": Reach({"R": "a:1"}, {"N": "eth0"})})
PANELS = PanelTopics("sosbridge")
NOT_OURS = {
    "Operation not permitted", "can't get current time", "Address already in use", "permission denied", "activating",
    "Unable to open ... passwords", "No such device", "status=243/CREDENTIALS", "certificate is not yet valid",
    "Problem",
}  # fmt: skip
"""What Docker, systemd, the broker and the system say, and Home Assistant shows."""
DEMO_S = 12.0
"""The README says three seconds, which holds where nothing else runs."""
EVENTS = (
    "sosbridge/bridge/event",
    "sosbridge/transmitter/T/undelivered",
    "sosbridge/transmitter/T/event",
    "sosbridge/panel/P/event",
)


def commands() -> list[str]:
    """Every `sosbridge ...` that stands in a code block or between backticks, without what the shell adds."""
    spans = re.findall(r"`(sosbridge [a-z-][^`]*)`", README)
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
    lines = re.findall(r"^\s*(sosbridge .*?)(?: &)?$", blocks, re.MULTILINE)
    return sorted({found.split(" > ")[0] for found in spans + lines})


def complete(command: str) -> list[str]:
    """Return a command's words; in prose some are named without what they need."""
    words = shlex.split(command)[1:]
    return words + {"point-here": ["GUID"], "retry": ["7"]}.get(words[-1], [])


@pytest.mark.parametrize("command", commands())
def test_commands_parse(command: str) -> None:
    parser().parse_args(complete(command))


def test_there_are_commands_to_prove() -> None:
    found = {words.split()[1] for words in commands()}
    assert {"run", "check", "alarm", "rotate", "outbox", "panel", "simulate", "healthcheck", "config", "demo"} <= found


def test_it_is_short() -> None:
    assert README.count("\n") <= 150


def test_its_figures_are_those_of_the_tests() -> None:
    facts = README.split("Why not a script")[1].split("**What it was run with")[0]
    figures = set(re.findall(r"\d+(?:\.\d+)?", facts)) - {"20", "400"}
    assert len(figures) >= 6
    measured = (TOP / "tests/README.md").read_text("utf-8")
    assert [each for each in figures if not re.search(rf"(?<![\d.]){re.escape(each)}(?![\d.])", measured)] == []


def test_the_minimum_loads_and_is_verified(tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    path = tmp_path / "sosbridge.toml"
    path.write_text(textwrap.dedent(block), "utf-8")
    found = load(path)
    assert (found.transmitters[0].use_tls, found.transmitters[0].tls_verify) == (True, "system")
    assert [line for line in found.warnings if "second network path" not in line] == []


def test_the_example_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["config", "example"]) == 0
    path = tmp_path / "sosbridge.toml"
    path.write_text(capsys.readouterr().out, "utf-8")
    assert load(path).forward[0].event == "alarm"


def topics() -> list[str]:
    found = re.findall(r"`(sosbridge/[A-Za-z/]+)`", README)
    return sorted({topic for topic in found if not topic.endswith("/")})


@pytest.mark.parametrize("topic", topics())
def test_topics_exist(topic: str) -> None:
    filters = (*TOPICS.commands, *TOPICS.states, *PANELS.commands, *PANELS.states, *EVENTS)
    assert any(paho.topic_matches_sub(pattern, topic) for pattern in filters)


def quoted() -> list[str]:
    """Return the words of the log that the troubleshooting quotes."""
    rows = "".join(text.split("## Troubleshooting")[1].split("|---|---|")[1] for text in (README, DEPLOY))
    return sorted(set(re.findall(r"(?<!\*)\*([^*|`]+)\*(?!\*)", rows)) - NOT_OURS)


@pytest.mark.parametrize("words", quoted())
def test_what_it_quotes_is_said(words: str) -> None:
    package = Path(bridge.__file__).parent
    assert any(words in path.read_text("utf-8") for path in package.rglob("*.py"))


def test_there_are_words_to_prove() -> None:
    assert len(quoted()) >= 10


def test_the_demo_shows_what_the_readme_shows() -> None:
    """The titles of the excerpt are those that the demo prints; what it cuts is not compared."""
    (excerpt,) = re.findall(r"```text\n(\d\. .*?)```", README, re.DOTALL)
    package = Path(bridge.__file__).parent
    shown = "".join(path.read_text("utf-8") for path in (package / "cli").rglob("*.py"))
    titles = re.findall(r"^\d\. .*$", excerpt, re.MULTILINE)
    assert titles
    assert [title for title in titles if title not in shown] == []


def test_the_demo_happens() -> None:
    command = [sys.executable, "-m", "bridge", "demo", "--once"]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert time.monotonic() - began < DEMO_S
    assert "All messages went over real sockets" in done.stdout


def test_the_demo_tells_of_a_port_in_use() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [sys.executable, "-m", "bridge", "demo", "--once", "--port", str(taken.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
