"""The demo begins with a panel, and says so where that does not work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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


def test_a_smoke_sensor_that_does_not_fire_is_told_and_the_status_is_1(tmp_path: Path) -> None:
    done = _run(tmp_path, "-c", _BROKEN)
    assert done.returncode == 1
    assert "The demo failed: no matching message on sosbridge/panel/" in done.stdout
