"""Rules: what they take, what they send, what restores it, what can never be."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from support.g90 import GUID, NEW_YEAR, NOW, OTHER

from bridge.common.errors import ConfigError, StoreError
from bridge.common.models import Alarm, Request
from bridge.g90.state.model import Elapsed, Now, PanelState
from bridge.g90.state.reducer import BETTER_FORM_S, reduce
from bridge.g90.wire.constants import AlertType, SensorCode, Source
from bridge.g90.wire.events import Alert, EventType, Form, PanelEvent
from bridge.panels.forwarding import Age, Forwarded, MaxAges, Rule, expire, fits, forward, until_due
from bridge.panels.rules import faults, parse_event, parse_restore_on, parse_sensor_type, uncovered, unknown_names

SMOKE = PanelEvent(
    guid=GUID,
    type=EventType.ALARM,
    at=NOW,
    sensor=9,
    name="Kitchen smoke",
    sensor_type="smoke",
    source="sensor",
    panel_time=NEW_YEAR,
)
FIRE = Rule(
    event=EventType.ALARM,
    sensor_type="smoke",
    transmitter="home",
    event_code="FA",
    restore_on=EventType.DISARMED,
)


def event(kind: EventType, guid: str = GUID, sensor: int | None = None) -> PanelEvent:
    return PanelEvent(guid=guid, type=kind, at=NOW + timedelta(minutes=3), sensor=sensor)


@pytest.mark.parametrize(
    ("of", "by_rule", "urgent"),
    [
        (SMOKE, None, True),
        (SMOKE, False, False),
        (replace(SMOKE, sensor_type="water"), None, True),
        (replace(SMOKE, sensor_type="motion"), None, False),
        (replace(SMOKE, sensor_type="motion"), True, True),
        (replace(SMOKE, sensor_type=None), None, True),
        (event(EventType.ALARM), None, True),
        (event(EventType.SOS), None, True),
        (replace(SMOKE, type=EventType.LOW_BATTERY), None, False),
    ],
)
def test_what_is_urgent_by_itself_and_by_rule(of: PanelEvent, *, by_rule: bool | None, urgent: bool) -> None:
    rule = replace(FIRE, event=of.type, sensor_type=None, urgent=by_rule)
    (raised,) = forward([rule], (), of).sendings
    assert raised.alarm.urgent is urgent


def test_an_alarm_whose_second_form_never_came_is_urgent_as_it_may_be_smoke() -> None:
    """0x21 has no sensor type; a panel that loses its connection in between never said what alarmed."""
    report = Alert(form=Form.ALERT, type=AlertType.ALARM, event=9, state=SensorCode.ALARM, source=Source.SENSOR)
    waiting = reduce(PanelState(guid=GUID), report, Now(0, NOW))
    assert waiting.events == ()
    (reported,) = reduce(waiting.state, Elapsed(), Now(BETTER_FORM_S, NOW)).events
    assert reported.sensor_type is None
    (raised,) = forward([replace(FIRE, sensor_type=None)], (), reported).sendings
    assert raised.alarm.urgent


def test_a_smoke_alarm_is_a_fire_alarm_with_index_and_name_restored_once_at_disarm() -> None:
    raised = forward([FIRE], (), SMOKE)
    (sending,) = raised.sendings
    assert (sending.transmitter, sending.request) == ("home", Request.ALARM)
    assert sending.alarm == Alarm("FA", NOW, detector="9", detector_text="Kitchen smoke", urgent=True)
    again = forward([FIRE], raised.active, replace(SMOKE, at=NOW + timedelta(minutes=1), panel_time=NEW_YEAR + 60))
    restored = forward([FIRE], again.active, event(EventType.DISARMED))
    (restore,) = restored.sendings
    assert restore.request is Request.RESTORE
    assert (restore.alarm.event_code, restore.alarm.detector) == ("FA", "9")
    assert not restore.alarm.urgent
    assert restore.alarm.transmitter_time == NOW + timedelta(minutes=3)
    assert restored.active == ()
    assert forward([FIRE], (), event(EventType.DISARMED)).sendings == ()


def test_the_key_of_what_is_sent_follows_from_the_physical_event_alone() -> None:
    heard_later = replace(SMOKE, at=NOW + timedelta(hours=1), sensor_type="smoke", source=None)
    keys = {forward([FIRE], (), e).sendings[0].key for e in (SMOKE, heard_later)}
    assert len(keys) == 1
    other = replace(SMOKE, panel_time=NEW_YEAR + 1)
    assert forward([FIRE], (), other).sendings[0].key not in keys


def test_an_alarm_and_the_sos_that_it_turns_out_to_be_have_one_key() -> None:
    assert SMOKE.key == replace(SMOKE, type=EventType.SOS).key


def test_one_event_goes_to_two_transmitters_but_once_to_each() -> None:
    rules = [FIRE, replace(FIRE, transmitter="office"), replace(FIRE, sensor_type=None, event_code="BA")]
    sendings = forward(rules, (), SMOKE).sendings
    assert [(s.transmitter, s.alarm.event_code) for s in sendings] == [("home", "FA"), ("office", "FA")]
    assert len({s.key for s in sendings}) == 2


@pytest.mark.parametrize(
    ("rule", "taken"),
    [
        (replace(FIRE, panel=GUID), True),
        (replace(FIRE, panel=OTHER), False),
        (replace(FIRE, sensor=9), True),
        (replace(FIRE, sensor="9"), True),
        (replace(FIRE, sensor=8), False),
        (replace(FIRE, sensor="kitchen*"), True),
        (replace(FIRE, sensor="Hall*"), False),
        (replace(FIRE, sensor_type="gas"), False),
        (replace(FIRE, event=EventType.TAMPER), False),
    ],
)
def test_a_rule_takes_what_it_names(rule: Rule, taken: bool) -> None:  # noqa: FBT001 - a column of the table
    assert fits(rule, SMOKE) is taken


def test_a_rule_for_a_sensor_takes_no_event_without_one() -> None:
    assert not fits(replace(FIRE, sensor="*", sensor_type=None), replace(SMOKE, sensor=None))


def test_templates_name_what_happened_and_leave_the_rest_alone() -> None:
    rule = replace(
        FIRE,
        section="{panel}",
        section_text="{event} {sensor_type} {unknown}",
        detector="Z{sensor}",
        detector_text="{name} ({guid})",
    )
    alarm = forward([rule], (), SMOKE, "House").sendings[0].alarm
    assert (alarm.section, alarm.section_text) == ("House", "alarm smoke {unknown}")
    assert (alarm.detector, alarm.detector_text) == ("Z9", f"Kitchen smoke ({GUID})")


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("{sensor}", "9"),
        ("{name}", "Kitchen smoke"),
        ("{sensor_type}", "smoke"),
        ("{source}", "sensor"),
        ("{event}", "alarm"),
        ("{action}", "tamper"),
        ("{panel}", "House"),
        ("{guid}", GUID),
    ],
)
def test_each_placeholder_is_known_and_filled(template: str, filled: str) -> None:
    rule = replace(FIRE, section_text=template)
    assert faults([rule], None) == ()
    known = replace(SMOKE, action="tamper")
    assert forward([rule], (), known, "House").sendings[0].alarm.section_text == filled
    bare = PanelEvent(guid=GUID, type=EventType.ALARM, at=NOW, sensor_type="smoke")
    text = forward([replace(rule, section="-" + template)], (), bare).sendings[0].alarm.section
    assert text == "-" + {"{event}": "alarm", "{panel}": GUID, "{guid}": GUID, "{sensor_type}": "smoke"}.get(
        template, ""
    )


@pytest.mark.parametrize(
    ("kind", "sensor_type"),
    [
        (EventType.DOOR_OPENED, "door"),
        (EventType.DOOR_OPENED, "wired"),
        (EventType.DOOR_CLOSED, "door"),
        (EventType.REMOTE_BUTTON, "remote"),
        (EventType.RFID, "rfid"),
        (EventType.DOORBELL, "doorbell"),
    ],
)
def test_events_of_one_sensor_type_take_that_type_alone(kind: EventType, sensor_type: str) -> None:
    rule = replace(FIRE, event=kind, sensor_type=sensor_type)
    assert faults([rule], None) == ()
    assert len(faults([replace(rule, sensor_type="gas")], None)) == 1


def test_a_panels_event_has_no_detector() -> None:
    rule = Rule(event=EventType.AC_POWER_LOST, transmitter="home", event_code="AT")
    step = forward([rule], (), event(EventType.AC_POWER_LOST))
    assert step.sendings[0].alarm.detector is None
    assert step.active == ()


def test_a_restore_has_its_own_event_code_where_the_rule_names_one() -> None:
    rule = Rule(
        event=EventType.AC_POWER_LOST,
        transmitter="home",
        event_code="AT",
        restore_event_code="AR",
        restore_on=EventType.AC_POWER_RESTORED,
    )
    active = forward([rule], (), event(EventType.AC_POWER_LOST)).active
    assert forward([rule], active, event(EventType.AC_POWER_RESTORED, OTHER)).sendings == ()
    assert forward([rule], active, event(EventType.AC_POWER_RESTORED)).sendings[0].alarm.event_code == "AR"


def test_a_sensors_event_restores_what_that_sensor_raised() -> None:
    rule = Rule(event=EventType.DOOR_OPENED, transmitter="home", event_code="BA", restore_on=EventType.DOOR_CLOSED)
    active = forward([rule], (), event(EventType.DOOR_OPENED, sensor=1)).active
    active = forward([rule], active, event(EventType.DOOR_OPENED, sensor=2)).active
    step = forward([rule], active, event(EventType.DOOR_CLOSED, sensor=2))
    assert [s.alarm.detector for s in step.sendings] == ["2"]
    assert [a.sensor for a in step.active] == [1]


def test_time_restores_what_says_so_and_a_new_alarm_begins_it_anew() -> None:
    rule = replace(FIRE, restore_on=timedelta(minutes=5))
    active = forward([rule], (), SMOKE).active
    active = forward([rule], active, replace(SMOKE, at=NOW + timedelta(minutes=2))).active

    def after(minutes: float) -> Age:
        return lambda _, at: (NOW + timedelta(minutes=minutes) - at).total_seconds()

    assert until_due(active, after(minutes=6)) == 60
    assert expire(active, NOW, after(minutes=6)).sendings == ()
    step = expire(active, NOW, after(minutes=7))
    assert [s.request for s in step.sendings] == [Request.RESTORE]
    assert (step.active, until_due(step.active, after(minutes=8))) == ((), math.inf)


def test_what_is_active_survives_a_restart() -> None:
    for restore_on in (EventType.DISARMED, timedelta(minutes=5)):
        (active,) = forward([replace(FIRE, restore_on=restore_on)], (), SMOKE).active
        assert Forwarded.from_json(json.loads(json.dumps(active.as_json()))) == active
    with pytest.raises(StoreError):
        Forwarded.from_json({"transmitter": "home"})


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        (replace(FIRE, event=EventType.DOOR_OPENED), "does not open or close"),
        (replace(FIRE, event=EventType.RFID), "does not come from a smoke sensor"),
        (replace(FIRE, event=EventType.PANEL_OFFLINE), "has no sensor"),
        (replace(FIRE, restore_on=EventType.ALARM), "restore_on is the event that raises the alarm"),
        (replace(FIRE, detector="{zone}"), "unknown placeholder {zone}"),
        (
            Rule(
                event=EventType.AC_POWER_LOST,
                transmitter="home",
                event_code="AT",
                restore_on=EventType.DOOR_CLOSED,
            ),
            "cannot restore an event of the panel",
        ),
    ],
)
def test_rules_that_can_never_do_what_they_say_are_told(rule: Rule, fault: str) -> None:
    (line,) = faults([rule], {GUID})
    assert fault in line
    assert line.startswith("forward: rule 1 ")


def test_a_rule_that_names_what_there_is_not_is_an_error() -> None:
    assert unknown_names(replace(FIRE, panel=OTHER), {GUID: "House"}, ["home"]) == [
        f"unknown panel '{OTHER}'; did you mean '{GUID}'?"
    ]
    for text, fault in (("smok", "unknown sensor type 'smok'; did you mean 'smoke'?"), ("x", "known: beam, button")):
        with pytest.raises(ConfigError, match=re.escape(fault)):
            parse_sensor_type(text)


def test_what_no_rule_covers_is_listed() -> None:
    every = Rule(event=EventType.ALARM, transmitter="home", event_code="BA")
    assert uncovered([FIRE], GUID)[:3] == ("alarm (other)", "alarm (gas)", "alarm (water)")
    assert uncovered([every], GUID) == ("sos", "tamper", "panel_offline", "ac_power_lost")
    assert "alarm (other)" in uncovered([replace(every, panel=OTHER)], GUID)


def test_the_nearest_event_is_suggested() -> None:
    with pytest.raises(ConfigError, match="did you mean 'disarmed'"):
        parse_event("disarm")


@pytest.mark.parametrize(
    ("age", "ended_by", "sent"),
    [(3600, (), 1), (3601, (), 0), (600, (EventType.DISARMED,), 1), (601, (EventType.DISARMED,), 0)],
)
def test_how_old_a_missed_alarm_may_be(age: float, ended_by: tuple[EventType, ...], sent: int) -> None:
    missed = replace(SMOKE, missed=True, ended_by=ended_by)
    now = SMOKE.at + timedelta(seconds=age)
    ages = MaxAges({"home": 3600}, over=600)
    assert ages.allow(missed, "home", now) is bool(sent)
    assert ages.allow(SMOKE, "home", now)
    assert ages.allow(replace(missed, ended_by=()), "a transmitter without an age", now)


def test_an_alarm_that_is_over_is_restored_at_once_and_once() -> None:
    step = forward([FIRE], (), replace(SMOKE, missed=True, ended_by=(EventType.DISARMED,)))
    assert [each.request for each in step.sendings] == ["alarm", "restore"]
    assert step.active == ()


def test_an_alarm_that_is_over_does_not_restore_a_later_one_of_its_sensor() -> None:
    raised = forward([FIRE], (), SMOKE)
    before = replace(SMOKE, at=NOW - timedelta(seconds=60), panel_time=NEW_YEAR - 60, missed=True)
    found = forward([FIRE], raised.active, replace(before, ended_by=(EventType.DISARMED,)))
    assert [sending.request for sending in found.sendings] == [Request.ALARM]
    assert found.active == raised.active


@pytest.mark.parametrize(("seconds", "restored"), [(-60, []), (0, []), (60, [Request.RESTORE])])
def test_a_disarm_that_was_missed_ends_what_was_raised_before_it(seconds: int, restored: list[Request]) -> None:
    raised = forward([FIRE], (), SMOKE)
    at = NOW + timedelta(seconds=seconds)
    missed = replace(event(EventType.DISARMED), at=at, missed=True, panel_time=NEW_YEAR + seconds)
    assert [sending.request for sending in forward([FIRE], raised.active, missed).sendings] == restored


def test_a_better_rule_sends_too_and_the_same_rule_once() -> None:
    burglary = replace(FIRE, sensor_type=None, event_code="BA")
    (first,) = forward([FIRE, burglary], (), replace(SMOKE, sensor_type=None)).sendings
    again = replace(SMOKE, again=True, identity=replace(SMOKE, sensor_type=None).key)
    (better,) = forward([FIRE, burglary], (), again).sendings
    (same,) = forward([burglary], (), again).sendings
    assert (first.raised_code, better.raised_code) == ("BA", "FA")
    assert (first.key != better.key, first.key == same.key) == (True, True)


def test_a_rule_behind_a_wider_one_is_told_and_a_narrower_one_before_it_is_not() -> None:
    wide = replace(FIRE, sensor_type=None)
    assert faults([FIRE, wide], None) == ()
    (line,) = faults([wide, FIRE], None)
    assert "rule 1 before it already sends all" in line
    assert faults([FIRE], panels=[])


@pytest.mark.parametrize(
    "other",
    [
        replace(FIRE, event=EventType.SOS, sensor_type=None),
        replace(FIRE, transmitter="office"),
        replace(FIRE, event=EventType.ALARM, sensor_type="gas"),
        replace(FIRE, panel=GUID, sensor_type="gas"),
    ],
)
def test_rules_for_different_events_or_transmitters_do_not_shadow_each_other(other: Rule) -> None:
    assert faults([FIRE, other], None) == ()
    assert faults([other, FIRE], None) == ()


def test_what_a_user_writes_is_read_or_told_with_what_there_is() -> None:
    def seconds(text: str) -> float:
        return float(text.removesuffix("s"))

    assert parse_restore_on("90s", seconds) == timedelta(seconds=90)
    assert parse_restore_on("disarmed", seconds) is EventType.DISARMED
    assert parse_event("Alarm") is EventType.ALARM
    with pytest.raises(ConfigError, match="panel_offline"):
        parse_event("fire")
