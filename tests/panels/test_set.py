"""Commands to a panel at their limits, and their results (TOPICS.md, Panel commands)."""

from __future__ import annotations

import json

import pytest
from support.g90 import GUID, NOW

from bridge.common.models import Secret
from bridge.common.payloads import CommandError
from bridge.common.text import timestamp
from bridge.panels.code_lock import CodeLock, Verdict
from bridge.panels.topics import Action, PanelTopics, SetOutcome, set_response

TOPICS = PanelTopics("sosbridge")
SET = f"sosbridge/panel/{GUID}/set"


@pytest.mark.parametrize("outcome", ["done", "failed", "timeout", "disabled", "wrong_code"])
def test_result_of_a_command(outcome: str) -> None:
    whole = json.loads(set_response("DISARM", SetOutcome(outcome), "why", NOW))
    assert whole == {"action": "DISARM", "outcome": outcome, "error": "why", "completed_at": timestamp(NOW)}
    bare = json.loads(set_response(None, SetOutcome(outcome), None, NOW))
    assert bare == {"outcome": outcome, "completed_at": timestamp(NOW)}


@pytest.mark.parametrize("action", ["ARM_AWAY", "ARM_HOME", "DISARM"])
def test_actions(action: str) -> None:
    command = TOPICS.parse(SET, action.encode())
    assert (command.guid, command.action, command.code, command.reply) == (GUID, Action(action), None, None)


def test_a_command_is_read_up_to_1000_bytes() -> None:
    assert TOPICS.parse(SET, b"DISARM".rjust(1000)).action is Action.DISARM
    with pytest.raises(CommandError):
        TOPICS.parse(SET, b"DISARM".rjust(1001))


def test_filters() -> None:
    assert f"{TOPICS.base}/panel/+/set" in TOPICS.commands
    leaves = ("availability", "state", "info", "sensor/+/state", "sensor/+/info", "set/response")
    assert {f"sosbridge/panel/+/{leaf}" for leaf in leaves} <= set(TOPICS.states)


@pytest.mark.parametrize(
    ("topic", "guid"),
    [
        (f"sosbridge/panel/{GUID}", GUID),
        (f"sosbridge/panel/{GUID}/sensor/1/state", GUID),
        ("sosbridge/panel", None),
        ("sosbridge/transmitter/home", None),
        ("sosbridge/bridge/state", None),
    ],
)
def test_panel_of_a_topic(topic: str, guid: str | None) -> None:
    assert TOPICS.guid(topic) == guid


def test_each_lock_takes_five_wrong_codes() -> None:
    lock = CodeLock(Secret("1234"))
    for start in (0.0, 100.0, 200.0):
        verdicts = [lock.check(Secret("9999"), disarms=True, now=start + n) for n in range(6)]
        assert verdicts == [Verdict.WRONG] * 5 + [Verdict.LOCKED]
        assert lock.locked(start + 63.9)
        assert not lock.locked(start + 64)


def test_a_wrong_code_counts_when_arming_needs_one_and_does_not_otherwise() -> None:
    lock = CodeLock(Secret("1234"))
    assert {lock.check(Secret("9999"), disarms=False, now=0) for _ in range(6)} == {Verdict.OK}
    strict = CodeLock(Secret("1234"), code_for_arm=True)
    assert strict.check(Secret("9999"), disarms=False, now=0) is Verdict.WRONG
    assert strict.check(Secret("1234"), disarms=False, now=0) is Verdict.OK
