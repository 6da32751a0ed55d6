"""The ledger: which reports are forms of one event, at the limits in time, in number, and by what comes between."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from support.g90 import GUID, NEW_YEAR, NOW

from bridge.g90.state.ledger import Entry, Ledger, knows_more, slot_of
from bridge.g90.wire.events import A_CLOCK, EventType, Form, PanelEvent

_E = EventType
ALERT, STATUS, NOTICE, HISTORY = Form.ALERT, Form.STATUS, Form.NOTICE, Form.HISTORY
DOOR = slot_of(PanelEvent(guid=GUID, type=_E.DOOR_OPENED, at=NOW, sensor=1))
T = NEW_YEAR


def event(kind: EventType = _E.DOOR_OPENED, sensor: int | None = 1, **more: Any) -> PanelEvent:  # noqa: ANN401
    return PanelEvent(guid=GUID, type=kind, at=NOW, sensor=sensor, **more)


def entry(
    heard: float,
    *forms: tuple[Form, int | None],
    kind: EventType = _E.DOOR_OPENED,
    sensor: int | None = 1,
    alarms: bool = False,
    due: float | None = None,
) -> Entry:
    what = event(kind, sensor)
    time = next((time for _, time in forms if time is not None), None)
    return Entry(slot_of(what), what, dict(forms), heard, alarms, due, time)


def book(*entries: Entry) -> Ledger:
    ledger = Ledger()
    for each in entries:
        ledger = ledger.added(each)
    return ledger


def test_forms_of_an_event_have_one_slot() -> None:
    assert slot_of(event(_E.DOOR_OPENED)) == slot_of(event(_E.SENSOR_ACTIVITY)) == ("activity", 1, "on")
    assert slot_of(event(_E.DOOR_CLOSED)) == ("activity", 1, "off")
    assert slot_of(event(_E.SOS)) == slot_of(event(_E.ALARM)) == ("alarm", 1, None)
    assert slot_of(event(_E.ARMED_AWAY, None))[0] == slot_of(event(_E.DISARMED, None))[0] == "arming"
    assert len({slot_of(event(kind, None)) for kind in (_E.ARMED_AWAY, _E.ARMED_HOME, _E.DISARMED)}) == 3
    assert slot_of(event(_E.REMOTE_BUTTON, 4, action="sos")) == ("remote_button", 4, "sos")


@pytest.mark.parametrize(("apart", "found"), [(-3, None), (-2, 0), (0, 0), (2, 0), (3, None)])
def test_times_of_one_event_are_two_seconds_apart_at_most(apart: int, found: int | None) -> None:
    assert book(entry(0, (ALERT, T))).find(DOOR, STATUS, T + apart, 1000) == found


def test_of_several_events_at_about_that_time_it_is_the_one_at_that_time_or_the_first_that_lacks_the_form() -> None:
    ledger = book(entry(0, (ALERT, T)), entry(1, (ALERT, T + 1)), entry(2, (ALERT, T + 2)))
    assert [ledger.find(DOOR, STATUS, T + second, 3) for second in (0, 1, 2)] == [0, 1, 2]
    assert ledger.find(DOOR, STATUS, T - 1, 3) == 0
    ledger = ledger.replaced(0, ledger[0].with_form(STATUS, T))
    assert ledger.find(DOOR, STATUS, T, 3) == 1


def test_a_report_that_is_repeated_belongs_to_its_event_unless_something_else_of_the_sensor_came_in_that_second() -> (
    None
):
    opened = entry(0, (STATUS, T))
    assert book(opened).find(DOOR, STATUS, T, 86400) == 0
    assert book(opened).find(DOOR, STATUS, T + 1, 1) is None
    closed = entry(1, (STATUS, T), kind=_E.DOOR_CLOSED)
    assert book(opened, closed).find(DOOR, STATUS, T, 2) is None
    elsewhere = entry(1, (STATUS, T), sensor=2)
    assert book(opened, elsewhere).find(DOOR, STATUS, T, 2) == 0
    later = entry(1, (STATUS, T + 9), kind=_E.DOOR_CLOSED)
    assert book(opened, later).find(DOOR, STATUS, T, 2) == 0


@pytest.mark.parametrize(("time", "repeated", "other_form"), [(A_CLOCK, True, True), (A_CLOCK - 1, False, False)])
def test_the_times_of_a_clock_that_was_never_set_count_for_a_while_only(
    time: int,
    repeated: bool,  # noqa: FBT001
    other_form: bool,  # noqa: FBT001
) -> None:
    ledger = book(entry(0, (STATUS, time)))
    assert ledger.find(DOOR, STATUS, time, 60) == 0
    assert (ledger.find(DOOR, STATUS, time, 61) == 0) is repeated
    assert ledger.find(DOOR, ALERT, time, 900) == 0
    assert (ledger.find(DOOR, ALERT, time, 901) == 0) is other_form


@pytest.mark.parametrize(
    ("form", "known", "time", "heard", "found"),
    [
        (NOTICE, (STATUS, T), None, 60, 1),
        (NOTICE, (STATUS, T), None, 61, None),
        (STATUS, (NOTICE, None), T, 60, 1),
        (STATUS, (NOTICE, None), T, 61, None),
        (HISTORY, (NOTICE, None), T, 900, 1),
        (HISTORY, (NOTICE, None), T, 901, None),
        (NOTICE, (NOTICE, None), None, 1, None),
        (STATUS, (ALERT, T), T + 9, 1, None),
    ],
)
def test_a_form_without_a_time_belongs_to_the_last_event(
    form: Form, known: tuple[Form, int | None], time: int | None, heard: float, found: int | None
) -> None:
    ledger = book(entry(0, (ALERT, T - 500)), entry(0, known))
    assert ledger.find(DOOR, form, time, heard) == found


@pytest.mark.parametrize(
    ("between", "found"),
    [
        (entry(1, (STATUS, T + 9), kind=_E.DOOR_CLOSED), None),
        (entry(1, (STATUS, T + 9), kind=_E.DISARMED, sensor=None), None),
        (entry(1, (STATUS, T + 9), sensor=2), 0),
        (entry(1, (STATUS, T + 9), kind=_E.ALARM, sensor=1, alarms=True), 0),
        (entry(1, (STATUS, T + 9), kind=_E.TAMPER), 0),
    ],
)
def test_what_comes_between_ends_the_reach_of_a_form_without_a_time(between: Entry, found: int | None) -> None:
    assert book(entry(0, (STATUS, T)), between).find(DOOR, NOTICE, None, 2) == found


@pytest.mark.parametrize("kind", [_E.ALARM, _E.DOOR_CLOSED])
def test_an_alarm_ends_the_reach_of_an_arming(kind: EventType) -> None:
    armed = entry(0, (STATUS, T), kind=_E.ARMED_AWAY, sensor=None)
    between = entry(1, (STATUS, T + 9), kind=kind, alarms=kind is _E.ALARM)
    found = book(armed, between).find(armed.slot, NOTICE, None, 2)
    assert found == (None if kind is _E.ALARM else 0)


def test_an_event_has_the_time_of_the_first_form_that_has_one() -> None:
    noticed = entry(0, (NOTICE, None))
    assert noticed.with_form(NOTICE, T) is noticed
    alerted = noticed.with_form(ALERT, T)
    assert (alerted.forms, alerted.time) == ({NOTICE: None, ALERT: T}, T)
    assert alerted.with_form(STATUS, T + 1).time == T
    ledger = book(noticed).replaced(0, alerted)
    assert ledger.find(DOOR, STATUS, T + 1, 2000) == 0


def test_the_oldest_goes_but_nothing_that_waits() -> None:
    ledger = book(*(entry(second, (STATUS, T + 9 * second)) for second in range(66)))
    assert [each.heard for each in ledger] == list(range(2, 66))
    waiting = entry(0, (ALERT, T), due=2.0)
    ledger = book(waiting, *(entry(second, (STATUS, T + 9 * second)) for second in range(1, 67)))
    assert len(ledger) == 64
    assert ledger[0] is waiting
    assert [each.heard for each in ledger.after(0)] == list(range(4, 67))
    ledger = book(*(entry(second, (STATUS, T + 9 * second), due=1.0) for second in range(67)))
    assert len(ledger) == 67
    assert ledger.place_of(ledger[64]) == 64
    assert ledger.place_of(waiting) is None


def alarm(heard: float, sensor: int | None = None, kind: EventType = _E.ALARM, form: Form = NOTICE) -> Entry:
    return entry(heard, (form, None), kind=kind, sensor=sensor, alarms=True)


def test_a_reason_explains_the_last_alarm_that_has_none() -> None:
    silent, reason = alarm(0), alarm(60, 9)
    assert book(silent).unexplained(reason) == 0
    assert book(silent).unexplained(alarm(61, 9)) is None
    assert book(silent).unexplained(alarm(61, 9, form=HISTORY)) == 0
    assert book(silent, alarm(1, 7), entry(2, (STATUS, T))).unexplained(reason) == 0
    assert book(silent, entry(1, (STATUS, T), kind=_E.DISARMED, sensor=None)).unexplained(reason) is None
    assert book(alarm(0, 7), alarm(1, None, _E.SOS)).unexplained(reason) is None
    assert book(alarm(0), alarm(1)).unexplained(reason) == 1
    assert Ledger().unexplained(reason) is None


def arming(heard: float, kind: EventType, form: Form = HISTORY) -> Entry:
    return entry(heard, (form, None if form is Form.READ else T), kind=kind, sensor=None)


@pytest.mark.parametrize(
    ("entries", "heard", "found"),
    [
        ([arming(1, _E.DISARMED)], 61, 1),
        ([arming(1, _E.DISARMED)], 61.5, None),
        ([arming(1, _E.DISARMED), arming(1, _E.ARMED_AWAY)], 2, 1),
        ([arming(1, _E.DISARMED, STATUS)], 2, None),
        ([alarm(1, 9, form=STATUS)], 2, None),
        ([alarm(1, 9, form=HISTORY)], 2, 1),
        ([entry(1, (STATUS, T))], 2, 1),
    ],
)
def test_a_late_notice_is_about_the_first_arming_that_was_read(
    entries: list[Entry], heard: float, found: int | None
) -> None:
    ledger = book(entry(1, (HISTORY, T - 9)), arming(1, _E.ARMED_AWAY), *entries)
    assert ledger.held_back(arming(0, _E.ARMED_AWAY).slot, heard) == found


def test_a_notice_of_arming_is_not_about_an_answer_to_a_status_request() -> None:
    read = arming(1, _E.ARMED_AWAY, Form.READ)
    assert book(read, arming(1, _E.DISARMED)).held_back(read.slot, 2) is None


def test_an_alarm_notice_is_about_an_alarm_of_ten_seconds_ago_at_most() -> None:
    ledger = book(alarm(0, 9), entry(1, (STATUS, T)))
    assert ledger.last_alarm(10) == 0
    assert ledger.last_alarm(11) is None
    assert book(alarm(0, 9), entry(1, (STATUS, T), kind=_E.ARMED_HOME, sensor=None)).last_alarm(2) is None
    assert book(entry(0, (STATUS, T))).last_alarm(1) is None


def test_what_outdates_a_report() -> None:
    report = entry(0, (STATUS, T))
    assert entry(1, (STATUS, T), kind=_E.DISARMED, sensor=None).outdates(report)
    assert entry(1, (STATUS, T), kind=_E.TAMPER).outdates(report)
    assert not entry(1, (STATUS, T), sensor=2).outdates(report)
    own = entry(0, (STATUS, T), kind=_E.AC_POWER_LOST, sensor=None)
    assert not entry(1, (STATUS, T), kind=_E.AC_POWER_RESTORED, sensor=None).outdates(own)


@pytest.mark.parametrize(
    ("known", "later", "more"),
    [
        (event(_E.ALARM, None), event(_E.ALARM, 9), True),
        (event(_E.ALARM, None), event(_E.ALARM, None, sensor_type="smoke"), False),
        (event(_E.ALARM, 9), event(_E.ALARM, 9, sensor_type="smoke"), True),
        (event(_E.ALARM, 9, sensor_type="smoke"), event(_E.ALARM, 9), False),
        (event(_E.ALARM, 9, sensor_type="smoke"), event(_E.ALARM, 9, sensor_type="smoke"), False),
        (event(_E.ALARM, 9), event(_E.SOS, 9), True),
        (event(_E.SOS, 9), event(_E.ALARM, 9), False),
        (event(_E.SENSOR_ACTIVITY), event(_E.DOOR_OPENED), True),
        (event(_E.DOOR_OPENED), event(_E.SENSOR_ACTIVITY), False),
    ],
)
def test_what_knows_more(known: PanelEvent, later: PanelEvent, more: bool) -> None:  # noqa: FBT001
    assert knows_more(later, known) is more


def test_the_key_of_an_event_is_that_of_all_its_forms() -> None:
    early = NOW - timedelta(days=1)
    assert event(panel_time=T).key == event(_E.SENSOR_ACTIVITY, panel_time=T).key == f"{GUID}:activity:1::{T}"
    assert event(_E.SOS, None, panel_time=A_CLOCK).key == f"{GUID}:alarm:::{A_CLOCK}"
    assert event(_E.REMOTE_BUTTON, 4, action="sos", panel_time=T).key == f"{GUID}:remote_button:4:sos:{T}"
    assert event(panel_time=A_CLOCK - 1).key == event().key == f"{GUID}:activity:1::{NOW.timestamp()}"
    assert PanelEvent(guid=GUID, type=_E.ALARM, at=early).key == f"{GUID}:alarm:::{early.timestamp()}"
    assert event(identity="known").key == "known"
    assert (event(ended_by=(_E.DISARMED,)).over, event().over) == (True, False)
    assert event(missed=True).as_json()["missed"] is True
