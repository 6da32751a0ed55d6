"""Topics and payloads: what a command says, in words where it says nothing sensible, and what is published."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from itertools import product

import paho.mqtt.client as paho
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub
from support.outbox import HOME, NOW

from bridge.common.models import ActiveAlarm, Alarm, AlarmIdentity, NamedAlarm, Outcome, PreparedAlarm, Request, Result
from bridge.common.payloads import CommandError
from bridge.common.text import timestamp
from bridge.sos_access.prepare import prepare
from bridge.transmitters.commands import ParsedCommand
from bridge.transmitters.commands import parse as parse_command
from bridge.transmitters.topics import (
    Reach,
    Topics,
    active_payload,
    alarm_state,
)

BURGLARY = NamedAlarm("burglary", "Burglary", PreparedAlarm("BA", section="1", section_text="House"), "BR")
SHED = Reach({"primary": "a:1", "secondary": "b:1"}, {"mobile": "wwan0"})
TOPICS = Topics("base/one", {HOME: {"burglary": BURGLARY}, "shed": {}}, {"shed": SHED})
LEAVES = ("alarm/raise", "alarm/restore", "alarm/burglary/set", "ping", "auth/rotate")


def parse(leaf: str, payload: str | bytes | object) -> ParsedCommand:
    if not isinstance(payload, str | bytes):
        payload = json.dumps(payload)
    return parse_command(
        TOPICS, f"base/one/transmitter/{leaf}", payload.encode() if isinstance(payload, str) else payload
    )


@pytest.mark.parametrize(("leaf", "request_"), [("raise", Request.ALARM), ("restore", Request.RESTORE)])
def test_an_event_code_bare_or_in_an_object(leaf: str, request_: Request) -> None:
    bare = parse(f"home/alarm/{leaf}", " BA\n")
    assert bare == parse(f"home/alarm/{leaf}", {"event_code": "BA"})
    assert (bare.transmitter, bare.request, bare.identity) == (HOME, request_, AlarmIdentity("BA"))
    assert bare.alarm == PreparedAlarm("BA")


def test_every_field_of_an_alarm() -> None:
    fields = {
        "event_code": "FA",
        "reference": 4711,
        "transmitter_area": "2",
        "section": 3,
        "section_text": "K\u00fcche \u2013 hinten",
        "detector": "4",
        "detector_text": "Rauch",
        "transmitter_time": "2026-01-31 06:30:00.123",
        "additional_info": {"who": "me"},
        "position": {"x": 1, "y": 2},
    }
    found = parse("shed/alarm/raise", fields)
    assert found.identity == AlarmIdentity("FA", "2", "3", "4")
    assert found.reference == "4711"
    assert found.alarm
    assert found.alarm.section_text == "K\u00fcche - hinten"
    assert found.alarm.transmitter_time == "2026-01-31 06:30:00.123"
    assert found.alarm.additional_info == "who: me"
    assert any("section_text" in warning for warning in found.warnings)


@pytest.mark.parametrize("payload", ["ON", "on", " On "])
def test_a_named_alarm_is_raised(payload: str) -> None:
    found = parse("home/alarm/burglary/set", payload)
    assert (found.request, found.alarm) == (Request.ALARM, BURGLARY.alarm)


def test_a_named_alarm_is_restored_with_a_code_of_its_own_and_known_by_its_own() -> None:
    found = parse("home/alarm/burglary/set", "OFF")
    assert found.request is Request.RESTORE
    assert found.alarm == replace(BURGLARY.alarm, event_code="BR")
    assert found.identity == AlarmIdentity.of(BURGLARY.alarm)


@pytest.mark.parametrize(("leaf", "request_"), [("ping", Request.PING), ("auth/rotate", Request.AUTH)])
@pytest.mark.parametrize(
    ("payload", "reference"),
    [("", None), ("PRESS", None), ("{}", None), ('{"reference": ""}', None), ("abc", "abc"), ('{"reference": 7}', "7")],
)
def test_a_ping_or_rotation_with_or_without_a_reference(
    leaf: str, request_: Request, payload: str, reference: str | None
) -> None:
    assert parse(f"home/{leaf}", payload) == ParsedCommand(HOME, request_, reference=reference)


ALARM_FAULTS = [
    ("", "the payload is empty; give an event code"),
    ('"BA', "is not an event code; use BA"),
    ('""', "event_code: is missing"),
    ("['BA']", "is not an event code; use BA"),
    ('{"event_code": "BA"', "invalid JSON: "),
    ("{" * 50_000, "invalid JSON: "),
    ('{"event_code": "BA", "event_code": "FA"}', "event_code: duplicate field with different values"),
    ({"section": "1"}, "event_code: is required"),
    ({"event_code": ""}, "event_code: is required"),
    ({"event_code": True}, "event_code: has type bool; use text"),
    ({"event_code": "B" * 200}, "event_code: "),
    (b"\xff\xfe", "not UTF-8"),
    (b"B" * 100_001, "has 100001 bytes; the limit is 100000"),
]


@pytest.mark.parametrize(("payload", "words"), ALARM_FAULTS)
@pytest.mark.parametrize(("leaf", "request_"), [("raise", Request.ALARM), ("restore", Request.RESTORE)])
def test_a_wrong_alarm_is_told_in_words(leaf: str, request_: Request, payload: object, words: str) -> None:
    with pytest.raises(CommandError) as caught:
        parse(f"home/alarm/{leaf}", payload)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()
    assert (caught.value.transmitter, caught.value.request) == (HOME, request_)


def test_a_json_string_is_an_event_code() -> None:
    assert parse("home/alarm/raise", '"FA"') == parse("home/alarm/raise", "FA")
    assert parse("home/alarm/raise", {"event_code": " FA\n"}) == parse("home/alarm/raise", "FA")


BROKEN_DETAILS = [
    ({"sektion": "1"}, None, "sektion: unknown field, ignored"),
    ({"section": ["1"]}, "section", "section: has type list; use text; left out"),
    ({"section": True}, "section", "section: has type bool; use text; left out"),
    ({"section": "123456789"}, "section", "section: has 9 characters; it must have 1 to 5; left out"),
    ({"reference": "x" * 51}, "reference", "reference: has 51 characters; it must have 1 to 50; left out"),
    ({"transmitter_time": "noon"}, "transmitter_time", "transmitter_time: 'noon' is not a time"),
    ({"position": {"lat": 1}}, "position", "position: use"),
    ({"position": "57.7N"}, "position", "position: has 5 characters"),
    ({"position": {"x": 10**400, "y": 1}}, "position", "position: x: "),
    ({"position": {"x": 1e999, "y": 1}}, "position", "position: x: "),
    ({"section_text": {"a": 1}}, "section_text", "section_text: has type dict; use text; left out"),
]


@pytest.mark.parametrize(("fields", "left_out", "words"), BROKEN_DETAILS)
@pytest.mark.parametrize("leaf", ["raise", "restore"])
def test_a_broken_detail_does_not_drop_the_alarm(
    leaf: str, fields: dict[str, object], left_out: str | None, words: str
) -> None:
    found = parse(f"home/alarm/{leaf}", {"event_code": "FA", "detector": "7", **fields})
    assert found.alarm
    assert (found.alarm.event_code, found.alarm.detector) == ("FA", "7")
    assert left_out is None or getattr(found.alarm, left_out) is None
    [warning] = found.warnings
    assert warning.startswith(words)


def test_details_are_taken_as_they_are_meant() -> None:
    found = parse(
        "home/alarm/raise", {"event_code": "FA", "section": " 1 ", "section_text": 1.5, "detector": "12345678901"}
    )
    assert found.alarm
    assert (found.alarm.section, found.alarm.section_text) == ("1", "1.5")
    twice = parse("home/alarm/raise", '{"event_code": "FA", "section": "1", "section": "2"}')
    assert twice.alarm
    assert twice.alarm.section == "2"
    assert twice.warnings == ("section: duplicate field, the last value counts",)


def test_a_restore_whose_place_cannot_be_sent_ends_only_its_own_alarm() -> None:
    raised, restored = (
        parse(f"home/alarm/{leaf}", {"event_code": "FA", "section": "Kitchen"}) for leaf in ("raise", "restore")
    )
    assert raised.identity == restored.identity == AlarmIdentity("FA", "", "Kitchen", "")
    assert restored.alarm == PreparedAlarm("FA")
    assert not restored.identity.whole_code


@pytest.mark.parametrize(
    ("given", "urgent", "warned"),
    [(True, True, False), (False, False, False), (None, False, False), ("true", True, True), ("no", False, True),
     (1, True, True), ([], False, True)],
)  # fmt: skip
def test_an_urgent_alarm(given: object, *, urgent: bool, warned: bool) -> None:
    found = parse("home/alarm/raise", {"event_code": "FA", "urgent": given})
    assert found.alarm
    assert found.alarm.urgent is urgent
    assert bool(found.warnings) is warned


def test_warnings_are_bounded() -> None:
    found = parse("home/alarm/raise", {"event_code": "FA", **{f"x{n}": n for n in range(1000)}})
    assert len(found.warnings) == 21
    assert found.warnings[-1] == "980 more"


def test_a_named_alarm_is_urgent_when_raised() -> None:
    topics = Topics("b", {HOME: {"fire": replace(BURGLARY, key="fire", alarm=PreparedAlarm("FA", urgent=True))}})
    raised, restored = (parse_command(topics, f"b/transmitter/{HOME}/alarm/fire/set", word) for word in (b"ON", b"OFF"))
    assert raised.alarm
    assert restored.alarm
    assert (raised.alarm.urgent, restored.alarm.urgent) == (True, False)


@pytest.mark.parametrize(
    ("leaf", "payload", "words"),
    [
        ("home/alarm/burglary/set", "TOGGLE", "'TOGGLE' is neither ON nor OFF"),
        ("home/alarm/burglary/set", "", "'' is neither ON nor OFF"),
        ("home/alarm/fire/set", "ON", "transmitter home has no alarm 'fire'; configured: burglary"),
        ("shed/alarm/fire/set", "ON", "configured: none"),
        ("attic/ping", "", "unknown transmitter 'attic'; known: home, shed"),
        ("home/ping", "x" * 51, "reference: "),
        ("home/ping", '{"reference": true}', "reference: has type bool; use text"),
        ("home/auth/rotate", '{"event_code": "BA"}', "event_code: unknown field; known fields: reference"),
        ("home/alarm/raise/now", "BA", "unknown command 'alarm/raise/now'"),
        ("home/link", "", "unknown command 'link'"),
    ],
)
def test_a_wrong_command_is_told_in_words(leaf: str, payload: str, words: str) -> None:
    with pytest.raises(CommandError) as caught:
        parse(leaf, payload)
    assert words in str(caught.value)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=60),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
_fields = st.dictionaries(st.sampled_from([*Alarm.__dataclass_fields__, "odd"]), _json, max_size=4)
_objects = st.builds(lambda code, more: {**more, "event_code": code}, st.just("BA") | _json, _fields)
_payloads = st.binary(max_size=80) | st.one_of(_json, _fields, _objects).map(lambda value: json.dumps(value).encode())


@given(st.sampled_from(LEAVES), _payloads | st.text(max_size=80).map(lambda text: text.encode()))
def test_any_payload_is_a_command_or_a_command_error(leaf: str, payload: bytes) -> None:
    try:
        found = parse(f"home/{leaf}", payload)
    except CommandError as error:
        assert str(error).isprintable()  # noqa: PT017 - most payloads raise, some do not
        assert error.transmitter == HOME  # noqa: PT017
    else:
        assert found.transmitter == HOME
        assert (found.alarm is None) == (found.request in (Request.PING, Request.AUTH))


_codes = st.text("ABCXYZ0123456789", min_size=1, max_size=25) | st.integers(0, 10**24)


@given(_codes, _fields, st.sampled_from(["raise", "restore"]))
def test_any_object_with_a_good_event_code_is_an_alarm(code: str | int, more: dict[str, object], leaf: str) -> None:
    found = parse(f"home/alarm/{leaf}", {**more, "event_code": code})
    assert found.alarm
    assert found.alarm.event_code == str(code)
    assert prepare(found.alarm) == (found.alarm, ())
    assert all(warning.isprintable() for warning in found.warnings)


@pytest.mark.parametrize("depth", [900, 950, 980, 985, 990, 995])
def test_a_deeply_nested_payload_is_a_command_or_a_command_error(depth: int) -> None:
    nested = "[" * depth + "]" * depth
    payload = f'{{"event_code": "BA", "additional_info": {nested}}}'
    try:
        found = parse("home/alarm/raise", payload)
    except CommandError as error:
        assert "JSON" in str(error)  # noqa: PT017 - how deep is too deep is Python's business
    else:
        assert found.alarm


_SAMPLES = [
    *(f"transmitter/{name}/{leaf}" for name, leaf in product((HOME, "attic"), LEAVES)),
    *(f"transmitter/{HOME}/alarm/{key}/set" for key in ("response", "state", "active")),
    *(f"transmitter/{HOME}/alarm/{key}/state" for key in ("burglary", "raise", "set")),
    *(f"transmitter/{HOME}/{leaf}" for leaf in ("alarm/response", "ping/response", "auth/response", "alarm/active")),
    *(f"transmitter/{HOME}/{leaf}" for leaf in ("link", "outbox", "problem", "problem/info")),
    *(f"transmitter/{HOME}/{leaf}" for leaf in ("receiver/primary/state", "receiver/primary/info", "path/a/info")),
    *(f"bridge/{leaf}" for leaf in ("state", "info", "health", "problem", "problem/info")),
]


@pytest.mark.parametrize("topic", _SAMPLES)
def test_a_topic_is_a_command_or_a_state_and_never_both(topic: str) -> None:
    full = f"base/one/{topic}"
    commands = [each for each in TOPICS.commands if topic_matches_sub(each, full)]
    states = [each for each in TOPICS.states if topic_matches_sub(each, full)]
    assert len(commands) + len(states) == 1
    assert bool(commands) == topic.endswith(("/raise", "/restore", "/set", "/ping", "/rotate"))


@pytest.mark.parametrize(
    ("topic", "stale"),
    [
        ("bridge/state", False),
        ("transmitter/home/link", False),
        ("transmitter/attic/link", True),
        ("transmitter/home/alarm/burglary/state", False),
        ("transmitter/home/alarm/fire/state", True),
        ("transmitter/shed/alarm/burglary/state", True),
        ("transmitter/home/alarm/active", False),
        ("transmitter/home/receiver/primary/state", False),
        ("transmitter/home/receiver/secondary/info", True),
        ("transmitter/shed/receiver/secondary/info", False),
        ("transmitter/home/path/mobile/state", True),
        ("transmitter/shed/path/mobile/info", False),
        ("transmitter/attic/problem/info", True),
        ("bridge/problem/info", False),
    ],
)
def test_what_is_configured_no_more_is_stale(topic: str, *, stale: bool) -> None:
    assert TOPICS.is_stale(f"base/one/{topic}") is stale


def test_responses_have_a_topic_each() -> None:
    found = {TOPICS.response(HOME, request) for request in Request}
    assert found == {f"base/one/transmitter/home/{leaf}/response" for leaf in ("alarm", "ping", "auth", "test")}


def test_a_result_leaves_out_what_does_not_apply() -> None:
    assert Result(request=Request.PING, outcome=Outcome.UNREACHABLE).as_json() == {
        "request": "ping",
        "outcome": "unreachable",
    }
    whole = Result(
        request=Request.ALARM, outcome=Outcome.ACCEPTED, status=0, attempts=1, completed_at=NOW, warnings=("cut",)
    )
    found = json.loads(json.dumps(whole.as_json()))
    assert found["status"] == 0
    assert found["warnings"] == ["cut"]
    assert set(found) == {"request", "outcome", "status", "attempts", "completed_at", "warnings"}
    assert datetime.fromisoformat(found["completed_at"]) == NOW


@pytest.mark.parametrize("moment", [NOW, datetime(2026, 7, 1, 12, 0, 0, 123456)])  # noqa: DTZ001 - local is one case
def test_a_timestamp_has_an_offset_and_milliseconds(moment: datetime) -> None:
    read = datetime.fromisoformat(timestamp(moment))
    assert read.utcoffset() is not None
    assert read == moment.astimezone().replace(microsecond=moment.microsecond // 1000 * 1000)
    assert len(timestamp(moment)) == len("2026-07-01T12:00:00.123+00:00")


def test_active_alarms() -> None:
    active = ActiveAlarm(AlarmIdentity("BA", "", "1", ""), NOW, None)
    [found] = active_payload([active])
    assert found == {
        "event_code": "BA", "section": "1", "detector": None, "since": timestamp(NOW), "reference": None,
    }  # fmt: skip
    assert alarm_state(BURGLARY, [active]) == "ON"
    assert alarm_state(BURGLARY, [replace(active, identity=AlarmIdentity("BA"))]) == "OFF"
    assert alarm_state(BURGLARY, []) == "OFF"


def test_a_wrong_topic_is_no_other_one() -> None:
    """Overlapping subscriptions may bring a command twice."""
    mistakes = Topics("b", {}).mistakes
    leaves = ("alarm", "alarm/rise", "alarm/set", "alarm/trigger", "alarm/clear", "raise", "restore", "rotate")
    assert mistakes == tuple(f"b/transmitter/+/{leaf}" for leaf in leaves)
    for pattern in (*Topics("b", {}).commands, *Topics("b", {}).states):
        assert not [each for each in mistakes if paho.topic_matches_sub(pattern, each)]


def test_topics_of_shards() -> None:
    """Shard 0 answers for names that nobody has; none touches what belongs to another."""
    first = Topics("b", {HOME: {}}, shard=0, others=frozenset({"shed"}))
    second = Topics("b", {"shed": {}}, shard=1, others=frozenset({HOME}))
    assert (first.bridge("state"), second.bridge("state")) == ("b/bridge/state", "b/shard/1/state")
    assert (first.bridge("event"), second.bridge("event")) == ("b/bridge/event", "b/bridge/event")
    ping = "b/transmitter/+/ping"
    assert ping in first.commands
    assert ([*first.to_subscribe(ping)], [*second.to_subscribe(ping)]) == ([ping], ["b/transmitter/shed/ping"])
    assert [*second.to_subscribe("b/shard/1/state")] == ["b/shard/1/state"]
    assert [first.is_elsewhere(f"b/transmitter/{name}/ping") for name in (HOME, "shed", "none")] == [False, True, False]
