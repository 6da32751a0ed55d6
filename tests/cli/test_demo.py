"""The demo begins with a panel, says so where that does not work, and shows what is done by hand after it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.publish as paho
import pytest
from support.processes import environment

_BROKEN = """
from bridge.cli import main
from bridge.cli.demo import stage as demo_stage

async def nothing(self, sensor):
    pass

demo_stage.PanelSimulator.alarm = nothing
demo_stage._WAIT_S = 2.0
main(["demo", "--once"])
"""


def _run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *words]
    return subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=150, check=False
    )


def test_the_panels_part_is_played_first(tmp_path: Path) -> None:
    done = _run(tmp_path, "-m", "bridge", "demo", "--once")
    assert (done.returncode, done.stderr) == (0, "")
    panels_part = done.stdout.partition("\n1. ")[0]
    for word in ("ARM_AWAY", '"armed_away"', '"triggered"', "<detectortext>Kitchen smoke<", "DISARM", '"disarmed"'):
        assert word in panels_part
    assert panels_part.count("<eventcode>FA</eventcode>") == 2
    assert '"missed": true' not in panels_part
    assert '"receiver_down"' in done.stdout.partition("\n2. ")[2]
    last_part = done.stdout.partition("\n6. ")[2]
    assert '"missed": true' in last_part
    assert '"forwarded": ["home"]' in last_part


def test_a_smoke_sensor_that_does_not_fire_is_told_and_the_status_is_1(tmp_path: Path) -> None:
    done = _run(tmp_path, "-c", _BROKEN)
    assert done.returncode == 1
    assert "The demo failed: no matching message on sosbridge/panel/" in done.stdout


@contextmanager
def demo(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "bridge", "demo", *words]
    with subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """Return what is printed up to a line with `words`. Where it never is, the end of the process ends the test."""
    assert process.stdout
    shown = ""
    for line in process.stdout:
        shown += line
        if words in line:
            return shown
    raise AssertionError(f"{words!r} is not in:\n{shown}")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_interrupted_demo_did_not_work(tmp_path: Path, number: signal.Signals, status: int) -> None:
    with demo(tmp_path, "--once") as process:
        read_until(process, "Started: ")
        process.send_signal(number)
        assert process.wait(30) == status


def test_after_the_show_its_window_shows_what_is_done_by_hand(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        advice = read_until(process, "Ctrl-C stops the demo")
        assert "mosquitto-clients" in advice
        found = re.findall(r"mosquitto_pub -p (\d+) (?:-q 1 )?-t (\S+) -m (?:'([^']*)'|(\S+))", advice)
        topics = {(topic, quoted or plain): int(port) for port, topic, quoted, plain in found}
        for (topic, payload), words in {
            ("sosbridge/transmitter/home/ping", "PRESS"): "← sosbridge/transmitter/home/ping/response",
            ("sosbridge/transmitter/home/auth/rotate", "PRESS"): "← sosbridge/transmitter/home/auth/response",
            ("sosbridge/panel/GBDEMO000000001/set", "DISARM"): '{"action": "DISARM", "outcome": "done"',
            (
                "sosbridge/panel/GBDEMO000000001/set",
                "ARM_AWAY",
            ): 'set/response {"action": "ARM_AWAY", "outcome": "done"',
            ("demo/panel", "open 7"): '{"type": "door_opened"',
            ("demo/panel", "alarm 9"): "at the primary receiver: alarm, answered 0",
        }.items():
            port = topics[topic, payload]
            paho.single(topic, payload, qos=1, hostname="127.0.0.1", port=port)
            read_until(process, words)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
