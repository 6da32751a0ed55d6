"""`panel` and `simulate panel` as a user meets them."""

# ruff: noqa: ANN401 - settings, peers and parsed arguments of any type go through here
from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from support.commands import documented
from support.g90 import GUID, OTHER, PATIENCE, Recorder, run, serving

from bridge.cli import panel
from bridge.cli.parser import parser
from bridge.cli.simulate import panel as simulate_panel
from bridge.common.errors import BridgeError, ConfigError
from bridge.g90.simulator import PanelSimulator, SimulatedSensor
from bridge.g90.wire.constants import ArmCode, SensorType

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def parsed(*words: str, **more: Any) -> argparse.Namespace:
    return parser(words[0]).parse_args(words, argparse.Namespace(**more))


async def act(*words: str, **more: Any) -> int:
    """Run `panel` with these words; return its exit status."""
    args = parsed("panel", *words, **more)
    status: int = await getattr(panel, args.command.run.removeprefix("panel."))(args)
    return status


def settings(*panels: tuple[str, str | None], announce: str | None = None) -> Any:
    rows = [SimpleNamespace(guid=guid, name="House", host=host, control="local") for guid, host in panels]
    return lambda: SimpleNamespace(g90=SimpleNamespace(panels=rows, announce=announce))


@contextlib.asynccontextmanager
async def simulated(**more: Any) -> AsyncIterator[PanelSimulator]:
    sensors = [SimulatedSensor(1, "Front door"), SimulatedSensor(9, "Kitchen", SensorType.SMOKE)]
    simulator = PanelSimulator(GUID, local=("127.0.0.1", 0), sensors=sensors, **more)
    task = asyncio.create_task(simulator.run())
    try:
        await asyncio.wait_for(simulator.listening.wait(), PATIENCE)
        yield simulator
    finally:
        task.cancel()
        await asyncio.wait([task])


def at(simulator: PanelSimulator) -> str:
    assert simulator.local is not None
    return "{}:{}".format(*simulator.local)


def test_panels_are_discovered(capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        async with simulated() as simulator:
            words = ("discover", "--wait", "0.3", "--to")
            assert await act(*words, at(simulator), load_settings=settings()) == 0
            out = capsys.readouterr().out
            assert re.search(rf"127\.0\.0\.1 +{GUID} +Simulated panel, firmware 206/206", out)
        assert await act(*words, at(simulator), load_settings=settings()) == 1

    run(scenario())


def test_a_panel_is_asked_and_commanded_by_host_or_guid(capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        async with simulated() as simulator:
            known = settings((GUID, at(simulator)))
            assert await act("status", "--host", at(simulator)) == 0
            assert await act("sensors", GUID, load_settings=known) == 0
            assert await act("arm-away", GUID, load_settings=known) == 0
            states = [simulator.arm_state]
            assert await act("list", load_settings=known) == 0
            assert await act("arm-home", GUID, load_settings=known) == 0
            assert await act("disarm", GUID, load_settings=known) == 0
            assert [*states, simulator.arm_state] == [ArmCode.ARMED_AWAY, ArmCode.DISARMED]

    run(scenario())
    shown = capsys.readouterr().out
    assert "battery:      4100 mV" in shown
    assert "   9  smoke               Kitchen" in shown
    assert f"{GUID}  House  control local" in shown
    assert "armed_away, Simulated panel" in shown
    assert "the panel is now disarmed" in shown


@pytest.mark.parametrize("action", ["list", "discover", "status", "sensors", "arm-away", "disarm", "point-here"])
def test_json_is_one_document_with_the_documented_fields(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        async with simulated() as simulator:
            to = ("--wait", "0.3", "--to", at(simulator)) if action == "discover" else ()
            assert await act(action, "--json", *to, load_settings=settings((GUID, at(simulator)))) == 0

    run(scenario())
    found = json.loads(capsys.readouterr().out)
    assert list(found[0] if isinstance(found, list) else found) == documented(f"panel {action}")


def test_the_only_panel_needs_no_guid_and_an_alarm_is_triggered(capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        async with simulated() as simulator:
            simulator.arm_state = ArmCode.ALARMED
            known = settings((GUID, at(simulator)))
            assert await act("status", load_settings=known) == 0
            assert await act("list", load_settings=known) == 0
            with pytest.raises(ConfigError, match=f"no panel given; .*configured: {GUID}, {OTHER}"):
                await act("status", load_settings=settings((GUID, at(simulator)), (OTHER, None)))

    run(scenario())
    shown = capsys.readouterr().out
    assert shown.count("triggered") == 2
    assert "alarmed" not in shown


def test_a_panel_that_is_pointed_here_dials_and_the_user_is_told_what_to_look_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def scenario() -> None:
        recorder = Recorder()
        async with serving(recorder) as server, simulated() as simulator:
            here = "{}:{}".format(*server.address)
            known = settings((GUID, at(simulator)), announce=here)
            assert await act("point-here", GUID, load_settings=known) == 0
            await recorder.told("panel_online")
            assert await act("point-here", "--host", at(simulator)) == 0

    run(scenario())
    shown = capsys.readouterr().out
    assert f"{GUID} was pointed at 127.0.0.1:5678" in shown
    assert "If it does not:" in shown


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["status"], "has no host"),
        (["status", OTHER], f"panel {OTHER} is not configured"),
        (["status", GUID], "has no host"),
        (["status", "--host", "127.0.0.1:x"], "is not an address; use host:port"),
        (
            ["status", "--host", "127.0.0.1:1", "--timeout", "0.3", "--retries", "0"],
            'did not answer the command "status"',
        ),
    ],
)
def test_what_cannot_be_done_is_one_line(words: list[str], fault: str) -> None:
    with pytest.raises(BridgeError, match=fault) as raised:
        run(act(*words, load_settings=settings((GUID, None))))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--timeout", "0"], "--timeout: '0' is not above 0 seconds"),
        (["--timeout", "-1"], "--timeout: '-1' is not a time from 0 to 3600 seconds"),
        (["--timeout", "nan"], "--timeout: 'nan' is not a time from 0 to 3600 seconds"),
        (["--timeout", "soon"], "--timeout: 'soon' is not a time from 0 to 3600 seconds"),
        (["--retries", "-1"], "--retries: '-1' is not a number from 0 to 999"),
    ],
)
def test_a_wait_that_cannot_be_is_named(words: list[str], fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parsed("panel", "status", "--host", "127.0.0.1:1", *words)
    assert fault in capsys.readouterr().err


def test_an_empty_configuration_lists_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(act("list", load_settings=lambda: SimpleNamespace(g90=None))) == 0
    assert "no panel is configured" in capsys.readouterr().out


def test_a_simulated_panel_does_what_its_switches_say(capsys: pytest.CaptureFixture[str]) -> None:
    script = ["arm-away", "open 1", "close 1", "motion 2", "alarm 9", "tamper 9", "battery-low 1", "sos", "ring 12"]
    script += ["button 4 arm_home", "power-lost", "power-back", "panel-battery-low", "wifi-lost", "wifi-back"]
    script += ["wait 0.01", "disarm", "arm-home"]
    told = ["armed_away", "door_opened", "door_closed", "sensor_activity", "alarm", "tamper", "low_battery", "sos"]
    told += ["doorbell", "remote_button", "ac_power_lost", "ac_power_restored", "panel_battery_low"]
    told += ["wifi_disconnected", "wifi_connected", "disarmed", "armed_home"]

    async def scenario() -> None:
        recorder = Recorder()
        async with serving(recorder) as server:
            cloud = "{}:{}".format(*server.address)
            does = [word for line in script for word in ("--do", line)]
            sensors = ["--sensor", "1:door:Front door", "--sensor", "9:smoke:Kitchen", "--chop", "5"]
            assert await simulate_panel.run(parsed("simulate", "panel", "--cloud", cloud, *sensors, *does)) == 0
            await recorder.told(*told)
            assert recorder.types() == ["panel_online", *told]

    run(scenario())
    assert "done: alarm 9" in capsys.readouterr().out


def test_a_simulated_panel_takes_lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: Any) -> None:
    lines = tmp_path / "lines"
    lines.write_text("arm-away\nmake coffee\nquit\n")

    async def scenario() -> None:
        recorder = Recorder()
        async with serving(recorder) as server:
            with lines.open() as stdin:
                monkeypatch.setattr("sys.stdin", stdin)
                cloud = "{}:{}".format(*server.address)
                assert await simulate_panel.run(parsed("simulate", "panel", "--cloud", cloud)) == 0
            await recorder.told("armed_away")

    run(scenario())
    assert "unknown command 'make coffee'; known commands: alarm, " in capsys.readouterr().out


def test_a_simulated_panel_whose_input_is_nothing_stays(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    async def scenario() -> None:
        faults: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
        async with serving(Recorder()) as server:
            cloud = "{}:{}".format(*server.address)
            playing = asyncio.create_task(simulate_panel.run(parsed("simulate", "panel", "--cloud", cloud)))
            while "is connected" not in capsys.readouterr().out:
                assert not playing.done()
                await asyncio.sleep(0.01)
            await asyncio.sleep(0)  # what the loop was given to do, it has done
            await asyncio.sleep(0)
            assert not playing.done()
            playing.cancel()
            await asyncio.wait([playing])
        assert faults == []

    with Path("/dev/null").open() as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        run(scenario())


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("make coffee", "unknown command 'make coffee'; known commands: "),
        ("", "unknown command ''; known commands: "),
        ("open", "open: expected 1 argument, got 0"),
        ("alarm 1 2", "alarm: expected 1 argument, got 2"),
        ("button 4", "button: expected 2 arguments, got 1"),
        ("open x", "open: 'x' is not a number from 0 to 255"),
        ("open 1.5", "open: '1.5' is not a number from 0 to 255"),
        ("open sos", "open: 'sos' is not a number from 0 to 255"),
        ("open 300", "open: '300' is not a number from 0 to 255"),
        ("button 4 7", "button: '7' is not a button; known buttons: arm_away, arm_home, disarm, sos"),
        ("wait sos", "wait: 'sos' is not a time from 0 to 3600 seconds"),
    ],
)
def test_a_faulty_command_is_one_line_before_anything_starts(line: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(fault)) as raised:
        run(simulate_panel.run(parsed("simulate", "panel", "--do", line)))
    assert "\n" not in str(raised.value)


def test_a_sensor_index_beyond_a_byte_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parsed("simulate", "panel", "--sensor", "300:door:Front door")
    assert "'300' is not a number from 0 to 255" in capsys.readouterr().err
