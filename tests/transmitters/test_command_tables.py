"""Topics of transmitters whole, and commands at their limits (TOPICS.md, Transmitter)."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from support.outbox import NOW

from bridge.common.models import ActiveAlarm, Alarm, AlarmIdentity, NamedAlarm, Request
from bridge.common.payloads import CommandError
from bridge.common.text import timestamp
from bridge.transmitters.commands import ParsedCommand, parse
from bridge.transmitters.topics import Reach, Topics, active_payload, alarm_state

FIRE = NamedAlarm("fire", "Fire", Alarm("FA", section="1", detector="2", urgent=True))
TOPICS = Topics("b", {"home": {"fire": FIRE}, "shed": {}})
MANY = frozenset(map(str, range(10_000)))


def raised(**fields: object) -> ParsedCommand:
    return parse(TOPICS, "b/transmitter/home/alarm/raise", json.dumps({"event_code": "BA", **fields}).encode())


def test_topics_of_the_bridge() -> None:
    assert (TOPICS.bridge("state"), TOPICS.bridge("info")) == ("b/bridge/state", "b/bridge/info")
    assert (TOPICS.bridge("health"), TOPICS.bridge("event")) == ("b/bridge/health", "b/bridge/event")
    assert TOPICS.bridge("problem") == "b/bridge/problem"


def test_filters_of_commands() -> None:
    assert set(TOPICS.commands) == {
        "b/transmitter/+/alarm/raise",
        "b/transmitter/+/alarm/restore",
        "b/transmitter/+/alarm/+/set",
        "b/transmitter/+/ping",
        "b/transmitter/+/auth/rotate",
    }


def test_filters_of_states() -> None:
    assert {
        "b/bridge/state",
        "b/bridge/info",
        "b/bridge/health",
        "b/bridge/problem",
        "b/bridge/problem/info",
        "b/transmitter/+/alarm/response",
        "b/transmitter/+/alarm/+/state",
        "b/transmitter/+/alarm/active",
        "b/transmitter/+/ping/response",
        "b/transmitter/+/auth/response",
        "b/transmitter/+/test/response",
        "b/transmitter/+/record",
        "b/transmitter/+/link",
        "b/transmitter/+/receiver/+/state",
        "b/transmitter/+/receiver/+/info",
        "b/transmitter/+/path/+/state",
        "b/transmitter/+/path/+/info",
        "b/transmitter/+/outbox",
        "b/transmitter/+/problem",
        "b/transmitter/+/problem/info",
    } == set(TOPICS.states)


@pytest.mark.parametrize(
    ("request_", "leaf"),
    [
        (Request.ALARM, "alarm"),
        (Request.RESTORE, "alarm"),
        (Request.PING, "ping"),
        (Request.AUTH, "auth"),
        (Request.TEST, "test"),
    ],
)
def test_response_topic_of_each_request(request_: Request, leaf: str) -> None:
    assert TOPICS.response("home", request_) == f"b/transmitter/home/{leaf}/response"


def test_a_transmitter_without_a_reach_has_a_primary_receiver() -> None:
    assert TOPICS.reach("home") == Reach({"primary": ""}, {}, level=None)
    assert not TOPICS.is_stale("b/transmitter/home/receiver/primary/state")
    assert TOPICS.is_stale("b/transmitter/home/receiver/secondary/state")


def test_active_alarms() -> None:
    alarms = [
        ActiveAlarm(AlarmIdentity("FA", "", "1", "2"), NOW, "r"),
        ActiveAlarm(AlarmIdentity("BA"), NOW, None),
    ]
    since = timestamp(NOW)
    assert active_payload(alarms) == [
        {"event_code": "FA", "section": "1", "detector": "2", "since": since, "reference": "r"},
        {"event_code": "BA", "section": None, "detector": None, "since": since, "reference": None},
    ]
    assert alarm_state(FIRE, alarms) == "ON"
    assert alarm_state(FIRE, alarms[1:]) == alarm_state(FIRE, []) == "OFF"


@pytest.mark.parametrize("value", ["true", "TRUE", " on ", "On", "yes", "1", 1, True])
def test_urgent_in_each_spelling(value: object) -> None:
    found = raised(urgent=value)
    assert found.alarm is not None
    assert found.alarm.urgent
    assert found.warnings == (() if value is True else ("urgent: use true or false; taken as true",))


@pytest.mark.parametrize("value", ["false", "", "no", "y", 0, 2, 1.0, [], {}])
def test_any_other_urgent_is_not(value: object) -> None:
    found = raised(urgent=value)
    assert found.alarm is not None
    assert not found.alarm.urgent
    assert found.warnings == ("urgent: use true or false; taken as false",)


@pytest.mark.parametrize(("count", "last"), [(19, "x18: unknown"), (20, "x19: unknown"), (21, "1 more")])
def test_at_most_twenty_warnings(count: int, last: str) -> None:
    warnings = raised(**{f"x{number}": 1 for number in range(count)}).warnings
    assert len(warnings) == count
    assert warnings[-1].startswith(last)


@pytest.mark.parametrize(
    ("field", "part"), [("transmitter_area", "area"), ("section", "section"), ("detector", "detector")]
)
@pytest.mark.parametrize(("length", "known"), [(5, "x" * 5), (6, "x" * 6), (50, "x" * 50), (51, "x" * 50 + "…")])
def test_a_place_that_cannot_be_sent_identifies_the_alarm(field: str, part: str, length: int, known: str) -> None:
    assert getattr(raised(**{field: "x" * length}).identity, part) == known


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_place(nothing: str | None) -> None:
    assert raised(transmitter_area=nothing, section=nothing, detector=nothing).identity == AlarmIdentity("BA")


@pytest.mark.parametrize("code", ["~X", "BA", "A'B", '5"', "0"])
def test_event_code_bare(code: str) -> None:
    found = parse(TOPICS, "b/transmitter/home/alarm/raise", code.encode())
    assert found.alarm is not None
    assert found.alarm.event_code == code


def test_named_alarm() -> None:
    topic = "b/transmitter/home/alarm/fire/set"
    on, off = (parse(TOPICS, topic, word) for word in (b"ON", b"OFF"))
    assert (on.request, off.request) == (Request.ALARM, Request.RESTORE)
    assert on.alarm is not None
    assert off.alarm == replace(on.alarm, urgent=False)
    assert on.alarm.urgent
    assert on.identity == off.identity == AlarmIdentity("FA", "", "1", "2")


@pytest.mark.parametrize(
    ("topics", "leaf", "payload", "words"),
    [
        (Topics("b", {}), "home/ping", "", "unknown transmitter 'home'; known: none"),
        (TOPICS, "attic/ping", "", "unknown transmitter 'attic'; known: home, shed"),
        (replace(TOPICS, others=MANY), "8888x/ping", "", "unknown transmitter '8888x'; did you mean '8888'?"),
        (
            replace(TOPICS, others=MANY),
            "attic/ping",
            "",
            "unknown transmitter 'attic'; known: 0, 1, 10, 100, 1000, 1001, 1002, 1003, 1004, 1005 and 9992 more",
        ),
        (TOPICS, "shed/alarm/fire/set", "ON", "transmitter shed has no alarm 'fire'; configured: none"),
        (TOPICS, "home/alarm/x/set", "ON", "transmitter home has no alarm 'x'; configured: fire"),
        (TOPICS, "home/alarm/fire/set", "1", "'1' is neither ON nor OFF"),
        (
            TOPICS,
            "home/link",
            "",
            "unknown command 'link'; known: alarm/+/set, alarm/raise, alarm/restore, auth/rotate, ping",
        ),
        (
            TOPICS,
            "home/alarm/raise",
            "",
            'the payload is empty; give an event code such as BA, or {"event_code": "BA", ...}',
        ),
        (TOPICS, "home/alarm/raise", "{}", "event_code: is required, such as BA for burglary or FA for fire"),
        (TOPICS, "home/alarm/raise", '["BA"]', '["BA"] is not an event code; use BA, or {"event_code": "BA", ...}'),
    ],
)
def test_what_an_error_says(topics: Topics, leaf: str, payload: str, words: str) -> None:
    with pytest.raises(CommandError) as caught:
        parse(topics, f"b/transmitter/{leaf}", payload.encode())
    assert str(caught.value) == words


@pytest.mark.parametrize(("payload", "reference"), [("", None), ("PRESS", None), ("press", "press"), ("~", "~")])
def test_reference_of_a_ping(payload: str, reference: str | None) -> None:
    assert parse(TOPICS, "b/transmitter/home/ping", payload.encode()).reference == reference
