"""What panels are told: every outcome of the contract, codes, and what is read when a panel connects."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from support.panels import GUID, OTHER, Joined, event, joined, run

from bridge.g90.control_local import LocalControl
from bridge.g90.state import plan
from bridge.g90.state.model import Hardware, Heard, Link, PanelState, Partition, SensorsRead, StatusRead
from bridge.g90.wire.commands import CommandRefused, CommandTimeout, HostStatus, PanelCommandError, SensorRecord
from bridge.g90.wire.constants import ArmCode, NoticeKind
from bridge.g90.wire.events import EventType, Notice
from bridge.panels import commands
from bridge.panels.commands import MOST_WAITING

pytestmark = pytest.mark.usefixtures("each_store")

CODE = "73519-code"
ARMED = Notice(kind=NoticeKind.ARM_DISARM, value=ArmCode.ARMED_AWAY)
CONNECTED = PanelState(guid=GUID, link=Link(online=True), partition=Partition(arm=EventType.ARMED_AWAY))


def texts(site: Joined, caplog: pytest.LogCaptureFixture) -> str:
    """All that anybody can read."""
    return repr((site.outgoing.published, site.outgoing.states, site.events, caplog.text))


@pytest.mark.parametrize(("action", "asked"), [("ARM_AWAY", 1), ("ARM_HOME", 2), ("DISARM", 3)])
def test_a_command_is_done_when_the_panel_took_it_and_its_state_is_read(
    tmp_path: Path, action: str, asked: int
) -> None:
    async def scenario() -> None:
        async with joined(tmp_path) as site:
            await site.take(action)
            [response] = await site.outgoing.responded()
            assert datetime.fromisoformat(response.pop("completed_at")).tzinfo
            assert response == {"action": action, "outcome": "done"}
            assert site.control.asked[0] == (101, [asked])
            await site.read()
            assert site.outgoing.states[f"b/panel/{GUID}/state"] == "disarmed"  # as it was read after the command

    run(scenario())


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (CommandTimeout("no answer"), "timeout"),
        (CommandRefused("the panel says no"), "failed"),
        (PanelCommandError("not connected"), "failed"),
    ],
)
def test_a_command_that_the_panel_did_not_do_says_why(tmp_path: Path, fault: PanelCommandError, outcome: str) -> None:
    async def scenario() -> None:
        async with joined(tmp_path) as site:
            site.control.fault = fault
            await site.take('{"action": "ARM_HOME"}')
            [response] = await site.outgoing.responded()
            assert (response["outcome"], response["error"]) == (outcome, str(fault))

    run(scenario())


def test_a_flood_of_orders_to_arm_is_refused_and_keeps_nobody_from_disarming(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with joined(tmp_path) as site:
            site.control.free.clear()
            for _ in range(MOST_WAITING + 2):
                await site.take("ARM_AWAY")
            refused = await site.outgoing.responded(2)
            assert {each["outcome"] for each in refused} == {"failed"}
            assert "are waiting; this one is refused" in refused[0]["error"]
            await site.take("DISARM")
            site.control.free.set()
            outcomes = [each["outcome"] for each in await site.outgoing.responded(2 + MOST_WAITING + 1)]
            assert outcomes[2:] == ["done"] * (MOST_WAITING + 1)
            assert [asked for code, asked in site.control.asked if code == 101] == [[1]] * MOST_WAITING + [[3]]
            await site.take("ARM_AWAY")
            assert (await site.outgoing.responded(2 + MOST_WAITING + 2))[-1]["outcome"] == "done"

    run(scenario())


def test_a_panel_is_asked_once_more_at_most_while_it_is_being_asked(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with joined(tmp_path) as site:
            site.control.free.clear()
            site.panels.panel_greeted(GUID, "192.0.2.1")
            await asyncio.sleep(0.01)
            for wifi in (True, False, True, False):
                await site.panels.panel_changed(
                    replace(CONNECTED, hardware=Hardware(wifi=wifi)), (event(EventType.SENSOR_CHANGED),)
                )
            site.control.free.set()
            await site.read()
            assert sorted(code for code, _ in site.control.asked) == [100, 100, 102, 117, 138, 200, 206]

    run(scenario())


def test_a_panel_without_a_control_path_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with joined(tmp_path, controlled=False) as site:
            await site.take("DISARM")
            [response] = await site.outgoing.responded()
            assert response["outcome"] == "disabled"
            assert "not controlled" in response["error"]

    run(scenario())


def test_a_panel_that_is_not_configured_is_not_commanded(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with joined(tmp_path, accept_unknown=True) as site:
            await site.panels.panel_changed(PanelState(guid=OTHER, link=Link(online=True)), ())
            await site.take("DISARM", OTHER)
            await site.take("ARM_AWAY")
            await site.outgoing.responded()
            [(_, response)] = [each for each in site.outgoing.published if OTHER in each[0]]
            assert response["outcome"] == "failed"
            assert site.control.asked[0] == (101, [1])

    run(scenario())


def test_what_is_no_command_is_answered_and_told_without_what_may_be_a_code(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with joined(tmp_path, code=CODE) as site:
            await site.take(f"DISARM {CODE}")
            [response] = site.outgoing.of("set/response")
            assert (response["outcome"], "action" in response) == ("failed", False)
            assert [kind for kind, _ in site.events] == ["command_rejected"]
            assert site.events[0][1]["topic"] == f"b/panel/{GUID}/set"
            assert site.control.asked == []
            assert CODE not in texts(site, caplog)

    caplog.set_level("DEBUG")
    run(scenario())


def test_a_code_is_asked_for_to_disarm_and_to_arm_by_setting(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with joined(tmp_path, code=CODE) as site:
            for payload in (
                "DISARM",
                {"action": "DISARM", "code": "1"},
                {"action": "DISARM", "code": CODE},
                "ARM_AWAY",
            ):
                await site.take(payload if isinstance(payload, str) else json.dumps(payload))
            outcomes = [each["outcome"] for each in await site.outgoing.responded(4)]
            assert outcomes == ["wrong_code", "wrong_code", "done", "done"]
            assert [each for each in site.control.asked if each[0] == 101] == [(101, [3]), (101, [1])]
            assert CODE not in texts(site, caplog)
        async with joined(tmp_path, code=CODE, code_for_arm=True) as site:
            await site.take("ARM_HOME")
            await site.take(json.dumps({"action": "ARM_HOME", "code": CODE}))
            assert [each["outcome"] for each in await site.outgoing.responded(2)] == ["wrong_code", "done"]

    caplog.set_level("DEBUG")
    run(scenario())


def test_a_code_of_half_a_character_is_a_wrong_one(tmp_path: Path) -> None:
    """It was an exception: the command was never acknowledged, and came again at each connection for ever."""

    async def scenario() -> None:
        async with joined(tmp_path, code=CODE) as site:
            await site.take(r'{"action": "DISARM", "code": "\ud800"}')
            [response] = await site.outgoing.responded()
            assert response["outcome"] == "wrong_code"

    run(scenario())


def test_five_wrong_codes_lock_and_not_even_the_right_one_passes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with joined(tmp_path, code=CODE) as site:
            for number in range(5):
                await site.take(json.dumps({"action": "DISARM", "code": str(number)}))
            await site.take(json.dumps({"action": "DISARM", "code": CODE}))
            responses = await site.outgoing.responded(6)
            assert {each["outcome"] for each in responses} == {"wrong_code"}
            assert "in a row" in responses[-1]["error"]
            assert "in a row" not in responses[0]["error"]
            assert "in a row" in responses[4]["error"]
            assert site.control.asked == []
            [(kind, details)] = site.events
            assert kind == "panel_locked"
            assert details["guid"] == GUID

    run(scenario())


def test_what_a_connected_panel_says_of_itself_becomes_its_state(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with joined(tmp_path) as site:
            site.control.listed = (SensorRecord(9, "Kitchen smoke", 4),)
            site.control.outputs = (SensorRecord(12, "Lamp", 128),)
            panel = site.registry.panels[GUID]
            for message in (Heard("192.0.2.1"), ARMED, SensorsRead((SensorRecord(5, "Gone", 1),))):
                await site.registry.take(panel, message)
            site.panels.panel_greeted(GUID, "192.0.2.1")
            await site.read()
            assert site.control.asked[0] == (100, None)
            assert sorted({code for code, _ in site.control.asked}) == [100, 102, 117, 138, 200, 206]
            prefix = f"b/panel/{GUID}"
            assert site.outgoing.states[f"{prefix}/state"] == "disarmed"
            assert json.loads(site.outgoing.states[f"{prefix}/info"])["battery_mv"] == 4100
            assert json.loads(site.outgoing.states[f"{prefix}/sensor/9/info"])["name"] == "Kitchen smoke"
            assert json.loads(site.outgoing.states[f"{prefix}/relay/12/info"])["name"] == "Lamp"
            assert site.outgoing.states[f"{prefix}/sensor/5/state"] == ""
            assert [each["type"] for each in site.outgoing.of("event")] == ["panel_online", "armed_away", "disarmed"]

    run(scenario())


def test_a_panel_that_was_online_before_a_restart_is_asked_again_without_another_event(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with joined(tmp_path) as site:
            for message in (Heard("192.0.2.1"), ARMED):
                await site.registry.take(site.registry.panels[GUID], message)
        async with joined(tmp_path) as site:
            site.control.arm = ArmCode.ARMED_AWAY
            site.panels.panel_greeted(GUID, "192.0.2.1")
            await site.read()
            assert site.outgoing.of("event") == []

    run(scenario())


def test_a_panel_that_does_not_answer_changes_nothing_and_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "FIRST_RETRY_S", 0.01)

    async def scenario() -> None:
        async with joined(tmp_path) as site:
            site.control.fault = CommandTimeout("no answer")
            for message in (Heard("192.0.2.1"), ARMED):
                await site.registry.take(site.registry.panels[GUID], message)
            site.panels.panel_greeted(GUID, "192.0.2.1")
            await site.until(
                site.has("info", lambda info: info.get("problems") == ["panel House: cannot be read: no answer"])
            )
            assert site.outgoing.states[f"b/panel/{GUID}/state"] == "armed_away"
            site.control.fault = None
            site.panels.panel_greeted(GUID, "192.0.2.1")
            await site.until(site.has("info", lambda info: "problems" not in info))

    run(scenario())


def test_a_relay_is_switched_and_keeps_what_we_switched(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with joined(tmp_path) as site:
            site.control.outputs = (SensorRecord(12, "Strip", 128, nodes=2),)
            site.panels.panel_greeted(GUID, "192.0.2.1")
            await site.read()
            site.control.asked.clear()
            await site.take("ON", leaf="relay/12-2/set")
            await site.outgoing.responded(1)
            assert site.control.asked[0] == (137, [12, 0, 1])
            assert site.outgoing.states[f"b/panel/{GUID}/relay/12-2/state"] == "ON"
            assert f"b/panel/{GUID}/relay/12/state" not in site.outgoing.states
            await site.take("OFF", leaf="relay/13/set")
            await site.take("DISARM", leaf="relay/12/set")
            assert [each["outcome"] for each in await site.outgoing.responded(3)] == ["done", "failed", "failed"]

    run(scenario())


def test_a_refresh_reads_everything_and_a_command_that_waited_in_the_broker_is_not_obeyed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with joined(tmp_path) as site:
            await site.take("DISARM", mid=7)
            await site.take("", leaf="refresh")
            await site.read()
            assert sorted(code for code, _ in site.control.asked) == [100, 102, 117, 138, 200, 206]

    run(scenario())


def test_a_command_that_waited_too_long_is_not_carried_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "MAX_WAIT_S", 0.05)

    async def scenario() -> None:
        async with joined(tmp_path) as site:
            site.control.free.clear()
            await site.take("ARM_AWAY")
            await site.take("DISARM")
            await asyncio.sleep(0.1)
            site.control.free.set()
            done, late = await site.outgoing.responded(2)
            assert (done["outcome"], late["outcome"]) == ("done", "failed")
            assert "the command had waited for" in late["error"]
            assert (101, [3]) not in site.control.asked

    run(scenario())


@pytest.mark.parametrize(("host", "port"), [("a..b", 12368), ("x" * 80, 12368), ("127.0.0.1", 70000)])
def test_an_address_that_cannot_be_is_an_error_of_the_command(host: str, port: int) -> None:
    with pytest.raises(PanelCommandError, match="cannot reach"):
        run(LocalControl(host, port, timeout=1, retries=0).status())


def test_a_state_that_was_read_does_not_swallow_a_later_event(tmp_path: Path) -> None:
    """Disarmed when it connected, armed, disarmed again: all within the seconds in which forms of one event agree."""

    async def scenario() -> None:
        async with joined(tmp_path) as site:
            panel = site.registry.panels[GUID]

            def read(arm: ArmCode) -> StatusRead:
                return StatusRead(HostStatus(arm, "G90"), time.monotonic())

            await site.registry.take(panel, read(ArmCode.DISARMED))
            for code in (ArmCode.ARMED_AWAY, ArmCode.DISARMED):
                await site.registry.take(panel, Notice(kind=NoticeKind.ARM_DISARM, value=code))
            assert [each["type"] for each in site.outgoing.of("event")] == ["armed_away", "disarmed"]
            # But what was read and is then reported is one event.
            await site.registry.take(panel, read(ArmCode.ARMED_HOME))
            await site.registry.take(panel, Notice(kind=NoticeKind.ARM_DISARM, value=ArmCode.ARMED_HOME))
            assert [each["type"] for each in site.outgoing.of("event")][2:] == ["armed_home"]

    run(scenario())
