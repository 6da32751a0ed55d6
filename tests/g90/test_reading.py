"""What a panel answers, beside what it reports: gaps, late and lost answers, and the history as the ledger.

Each `test_p...` is a finding about panels that were believed instead of read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest
from g90.test_reducer import LISTED, START, activity, arm, at, smoke, stored, types
from hypothesis import given, settings
from hypothesis import strategies as st
from support.g90 import GUID, NEW_YEAR, NOW, alert

from bridge.common.errors import StoreError
from bridge.g90.state import history
from bridge.g90.state.model import (
    Commanded,
    Elapsed,
    FlagsRead,
    Heard,
    HistoryRead,
    InfoRead,
    Input,
    Now,
    PanelState,
    RelaysRead,
    SensorsRead,
    Silent,
    StatusRead,
    Switched,
)
from bridge.g90.state.reducer import reduce
from bridge.g90.state.storage import from_json, to_json
from bridge.g90.wire.answers import AlertFlag, SensorFlag
from bridge.g90.wire.commands import HostInfo, HostStatus, SensorRecord
from bridge.g90.wire.constants import AlertType, ArmCode, NoticeKind, SensorType, Source, StateCode
from bridge.g90.wire.events import Alert, EventType, Form, Notice, PanelEvent

A, S, C = AlertType.ALARM, AlertType.SENSOR_ACTIVITY, AlertType.STATE_CHANGE
ALERT, STATUS, HISTORY = Form.ALERT, Form.STATUS, Form.HISTORY
WIRED = SensorRecord(3, "Window", SensorType.WIRED)
FIRST_VERSION = Path(__file__).with_name("state_v1.json")
_CODES = {1: StateCode.ARMED_AWAY, 2: StateCode.ARMED_HOME, 3: StateCode.DISARMED}


@dataclass
class Panel:
    """A panel with a history, and our state of it. `clock`: how far the panel's clock is ahead, in seconds."""

    state: PanelState = LISTED
    clock: int = 0
    records: list[Alert] = field(default_factory=list)
    events: list[PanelEvent] = field(default_factory=list)

    def take(self, message: Input, seconds: float) -> list[PanelEvent]:
        step = reduce(self.state, message, at(seconds))
        self.state = step.state
        self.events += step.events
        return list(step.events)

    def happens(self, seconds: float, kind: AlertType, event: int, *forms: Form, state: int = 0) -> None:
        """Let something happen, reported in `forms` alone."""
        source = Source.PANEL if kind in (C, AlertType.PANEL_SOS) else Source.SENSOR
        record = alert(HISTORY, kind, event, source=source, state=state, time=NEW_YEAR + int(seconds) + self.clock)
        self.records.insert(0, record)
        for form in forms:
            if form is Form.NOTICE:
                value = {StateCode.ARMED_AWAY: 1, StateCode.ARMED_HOME: 2, StateCode.DISARMED: 3}[StateCode(event)]
                self.take(arm(value), seconds)
            else:
                self.take(replace(record, form=form), seconds)

    def arms(self, seconds: float, value: int, *forms: Form) -> None:
        self.happens(seconds, C, _CODES[value], *forms)

    def alarms(self, seconds: float, *forms: Form, sensor: int = 9) -> None:
        self.happens(seconds, A, sensor, *forms, state=254)

    def read(self, seconds: float, count: int = 50, *, took: float = 0.0) -> list[PanelEvent]:
        asked = at(seconds - took).steady
        return self.take(HistoryRead(tuple(self.records[:count]), asked), seconds)

    def status(self, seconds: float, value: int, *, took: float = 0.0) -> list[PanelEvent]:
        return self.take(StatusRead(HostStatus(ArmCode(value), "G90"), at(seconds - took).steady), seconds)


def met() -> Panel:
    """A panel that was armed away, whose history was read."""
    panel = Panel()
    panel.take(Heard("192.0.2.1"), 0)
    panel.arms(1, 3)
    panel.read(2)
    panel.arms(10, 1, ALERT, STATUS)
    assert panel.state.state == "armed_away"
    panel.events.clear()
    return panel


# P1 to P14, and what belongs to them


@pytest.mark.parametrize("gap", [1, 5, 20, 60, 300])
def test_p1_an_alarm_in_a_gap_is_found(gap: float) -> None:
    panel = met()
    panel.alarms(100)
    panel.take(Heard("192.0.2.1"), 100 + gap)
    panel.status(100 + gap, 4)
    (event,) = panel.read(100 + gap + 1)
    assert (event.type, event.sensor, event.sensor_type) == ("alarm", 9, "smoke")
    assert (event.missed, event.over, event.at) == (True, False, at(100 + gap).wall)
    assert panel.state.state == "triggered"


def test_p1_an_arming_in_a_gap_is_found() -> None:
    panel = met()
    panel.arms(60, 3, ALERT, STATUS)
    panel.arms(100, 2)
    (event,) = panel.status(105, 2)
    assert (event.type, event.missed, panel.state.state) == ("armed_home", True, "armed_home")
    assert panel.read(106) == []


def test_p2_alarmed_in_the_status_is_an_alarm_and_does_not_mute_the_notice() -> None:
    panel = met()
    assert panel.status(100, 4) == []
    assert panel.state.state == "triggered"
    (event,) = panel.take(Elapsed(), 105)
    assert (event.type, event.source, event.missed) == ("alarm", "panel", True)
    panel.take(arm(4), 200)
    assert types(panel.take(Elapsed(), 205)) == ["alarm"]


def test_p3a_a_panic_that_the_status_does_not_show_stays_over_a_restart() -> None:
    panel = met()
    panel.arms(20, 3, ALERT)
    panel.take(alert(ALERT, AlertType.PANEL_SOS, 0, source=0, time=NEW_YEAR + 30), 30)
    panel.state = stored(panel.state, at(40))
    assert panel.status(50, 3) == []
    assert panel.state.state == "triggered"


def test_p3b_a_smoke_alarm_while_disarmed_is_not_ended_by_a_status() -> None:
    panel = met()
    panel.arms(20, 3, ALERT)
    panel.alarms(30, ALERT, STATUS)
    assert panel.status(40, 3) == []
    assert panel.state.state == "triggered"
    panel.arms(50, 3)
    (event,) = panel.read(60)
    assert (event.type, panel.state.state) == ("disarmed", "disarmed")


def test_p3c_an_answer_that_is_older_than_a_report_changes_nothing() -> None:
    panel = met()
    panel.arms(20, 3, ALERT)
    panel.arms(30, 1, ALERT)
    panel.alarms(30.2, ALERT)
    assert panel.status(30.5, 3, took=0.8) == []
    assert panel.state.state == "triggered"


def test_p4_forms_three_seconds_apart_are_one_alarm_of_which_the_later_knows_the_type() -> None:
    panel = Panel(START)
    panel.take(smoke(ALERT), 0)
    (first,) = panel.take(Elapsed(), 2)
    assert (first.sensor_type, first.again) == (None, False)
    (later,) = panel.take(smoke(STATUS), 3)
    assert (later.sensor_type, later.again, later.key) == ("smoke", True, first.key)
    assert panel.take(smoke(STATUS), 3.1) == []


def test_p5_an_alarm_without_a_reason_is_reported_and_keeps_its_key() -> None:
    panel = met()
    panel.take(arm(4), 100)
    (alone,) = panel.take(Elapsed(), 105)
    assert (alone.type, alone.sensor, alone.source) == ("alarm", None, "panel")
    panel.alarms(100)
    (reason,) = panel.read(110)
    assert (reason.sensor, reason.sensor_type, reason.again, reason.key) == (9, "smoke", True, alone.key)
    panel.take(smoke(STATUS, time=NEW_YEAR + 100), 111)
    assert types(panel.events) == ["alarm", "alarm"]


@pytest.mark.parametrize(("record", "seconds"), [(WIRED, 60), (SensorRecord(1, "Front door", SensorType.DOOR), 60)])
def test_p8_notices_open_wired_sensors_and_doors_and_unreported_closings_end(
    record: SensorRecord, seconds: float
) -> None:
    panel = Panel()
    panel.take(SensorsRead((record,)), 0)
    panel.take(FlagsRead(AlertFlag.DOOR_OPEN), 0)
    (event,) = panel.take(Notice(kind=NoticeKind.SENSOR_ACTIVITY, sensor=record.index, name=record.name), 1)
    assert event.type == "door_opened"
    assert panel.state.sensors[record.index].on
    panel.take(Elapsed(), seconds)
    assert panel.state.sensors[record.index].on
    panel.take(Elapsed(), seconds + 1)
    assert not panel.state.sensors[record.index].on


def test_p8_a_door_whose_closing_is_reported_stays_open_until_then() -> None:
    panel = Panel()
    panel.take(FlagsRead(AlertFlag.DOOR_OPEN | AlertFlag.DOOR_CLOSE), 0)
    panel.take(activity(STATUS, 1, 1), 1)
    panel.take(Elapsed(), 4000)
    assert panel.state.sensors[1].on
    panel.take(activity(STATUS, 1, 0, time=NEW_YEAR + 4001), 4001)
    assert not panel.state.sensors[1].on


@pytest.mark.parametrize("later", [0.5, 2, 9])
def test_p11_an_arming_in_another_form_after_a_disarm_is_an_arming(later: float) -> None:
    panel = Panel()
    panel.arms(1, 1, STATUS)
    panel.arms(2, 3, STATUS)
    (event,) = panel.take(arm(1), 2 + later)
    assert (event.type, panel.state.state) == ("armed_away", "armed_away")


def test_p11_an_opening_whose_notice_came_earlier_is_an_opening() -> None:
    panel = Panel(START)
    panel.take(Notice(kind=NoticeKind.SENSOR_ACTIVITY, sensor=1, name="Front door"), 0)
    (first,) = panel.take(Elapsed(), 2)
    panel.take(SensorsRead((SensorRecord(1, "Front door", SensorType.DOOR),)), 3)
    (event,) = panel.take(activity(ALERT, 1, 1), 5)
    assert (first.type, event.type, event.again, event.key) == ("sensor_activity", "door_opened", True, first.key)
    assert panel.state.sensors[1].on


def test_p13_a_status_read_after_a_command_arms() -> None:
    panel = met()
    panel.take(Commanded(), 20)
    step = reduce(panel.state, StatusRead(HostStatus(ArmCode.DISARMED, "G90"), at(20).steady, missed=False), at(21))
    (event,) = step.events
    assert (event.type, event.missed, step.state.state) == ("disarmed", False, "disarmed")
    assert step.state.partition.changed_by == "mqtt"
    assert reduce(step.state, arm(3), at(25)).events == ()


def test_p14_activity_clears_a_low_battery() -> None:
    panel = Panel()
    panel.take(activity(STATUS, 1, 4), 0)
    assert panel.state.sensors[1].battery_low
    panel.take(activity(STATUS, 1, 1, time=NEW_YEAR + 60), 60)
    assert panel.state.sensors[1].battery_low is False


def test_p15_eighty_alarms_that_wait_are_eighty_alarms() -> None:
    panel = Panel(START)
    for sensor in range(100, 180):
        panel.take(alert(ALERT, A, sensor, source=Source.SENSOR, state=254), sensor / 100)
    panel.take(Elapsed(), 10)
    assert len({event.sensor for event in panel.events if event.type is EventType.ALARM}) == 80


# The history


def test_a_first_reading_is_no_news() -> None:
    panel = Panel()
    panel.alarms(0)
    panel.take(Heard("192.0.2.1"), 10)
    assert panel.read(11) == []
    assert panel.read(12) == []


def test_what_a_report_said_is_no_second_event() -> None:
    panel = met()
    panel.alarms(100, ALERT, STATUS)
    assert types(panel.events) == ["alarm"]
    assert panel.read(110) == []
    assert panel.read(120) == []


@pytest.mark.parametrize("clock", [-86400, -3600, 3600, 400 * 86400])
def test_a_gap_is_found_however_wrong_the_panels_clock_is(clock: int) -> None:
    panel = Panel(clock=clock)
    panel.take(Heard("192.0.2.1"), 0)
    panel.arms(1, 3, ALERT)
    panel.read(2)
    panel.alarms(50)
    (event,) = panel.read(60)
    assert (event.type, event.missed) == ("alarm", True)
    assert abs((event.at - at(50).wall).total_seconds()) <= 2


@pytest.mark.parametrize("jump", [-86400, 86400])
def test_a_clock_that_is_set_in_a_gap_hides_nothing_and_makes_nothing_old(jump: int) -> None:
    panel = met()
    panel.clock = jump
    panel.alarms(50)
    panel.arms(55, 1, STATUS)
    events = panel.read(60)
    assert types(events) == ["alarm"]
    assert at(2).wall <= events[0].at <= at(60).wall


@pytest.mark.parametrize("jump", [-86400, 86400])
def test_equal_alarms_whose_times_a_set_clock_hides_have_times_of_their_own(jump: int) -> None:
    panel = met()
    panel.clock = jump
    for seconds in (50, 60, 70):
        panel.alarms(seconds)
    events = panel.read(80)
    assert types(events) == ["alarm"] * 3
    assert len({event.at.replace(microsecond=event.at.microsecond // 1000 * 1000) for event in events}) == 3


def test_equal_alarms_before_a_report_have_times_before_it() -> None:
    panel = met()
    panel.clock = 3600
    panel.alarms(20)
    panel.alarms(30)
    panel.clock = 0
    panel.alarms(40, ALERT)
    panel.read(41)
    times = [event.at.replace(microsecond=event.at.microsecond // 1000 * 1000) for event in panel.events]
    assert len(set(times)) == 3
    assert max(times) == times[0] == at(40).wall


@pytest.mark.parametrize("clock", [0, 3600])
def test_what_was_missed_before_a_report_happened_before_it(clock: int) -> None:
    panel = met()
    panel.alarms(20)
    panel.arms(30, 3)
    panel.clock = clock
    panel.alarms(40, ALERT, sensor=1)
    missed = [event for event in panel.read(41) if event.missed]
    assert types(missed) == ["alarm", "disarmed"]
    reported = next(event for event in panel.events if not event.missed)
    assert missed[0].at < missed[1].at <= reported.at


def test_what_came_after_a_report_is_new_also_where_the_history_was_empty_and_the_clock_is_set() -> None:
    panel = Panel()
    panel.take(Heard("192.0.2.1"), 0)
    panel.read(1)
    panel.arms(10, 1, ALERT)
    panel.clock = -30 * 86400
    panel.alarms(20)
    panel.alarms(30, sensor=1)
    assert [event.sensor for event in panel.read(40)] == [9, 1]


def test_what_is_found_behind_newer_reports_changes_no_state() -> None:
    panel = met()
    panel.arms(100, 3)
    panel.alarms(101)
    panel.arms(110, 1, ALERT, STATUS)
    events = panel.read(111)
    assert [(e.type, e.missed, e.over) for e in events] == [("disarmed", True, False), ("alarm", True, True)]
    assert panel.state.state == "armed_away"


def test_an_alarm_that_is_over_is_told_from_one_that_is_not() -> None:
    panel = met()
    panel.alarms(100)
    panel.arms(110, 3)
    panel.arms(120, 1)
    panel.alarms(130, sensor=1)
    events = panel.read(140)
    assert [(e.type, e.over) for e in events if e.type == "alarm"] == [("alarm", True), ("alarm", False)]
    assert panel.state.state == "triggered"


def test_a_status_before_the_history_does_not_bring_an_alarm_back() -> None:
    panel = met()
    panel.alarms(100)
    panel.arms(110, 3)
    assert types(panel.status(120, 3)) == ["disarmed"]
    (event,) = panel.read(121)
    assert (event.type, event.over, panel.state.state) == ("alarm", True, "disarmed")


def test_a_cleared_history_tells_what_is_younger_than_the_last_contact() -> None:
    panel = met()
    panel.records.clear()
    panel.alarms(-500)
    panel.alarms(100)
    assert [e.at for e in panel.read(110)] == [at(100).wall]


@pytest.mark.parametrize("clock", [None, 0, 3600])
def test_a_status_that_was_read_first_hides_nothing_that_was_missed_before_it(clock: int | None) -> None:
    panel = Panel(clock=clock or 0)
    panel.take(Heard("192.0.2.1"), 0)
    if clock is not None:
        panel.take(activity(STATUS, 2, 1, time=NEW_YEAR + clock), 0)  # says what its clock is
    panel.status(0, 3)
    panel.read(1)
    panel.alarms(20)
    panel.arms(30, 2)
    panel.alarms(40, sensor=1)
    panel.alarms(50, sensor=1)
    panel.status(3600, 2)
    events = panel.read(3601)
    assert [(e.type, e.sensor) for e in events] == [("alarm", 9), ("alarm", 1), ("alarm", 1)]
    if clock is not None:
        assert [e.at for e in events] == [at(20).wall, at(40).wall, at(50).wall]


@pytest.mark.parametrize("late", [2, 30])
def test_what_a_connection_held_back_restores_nothing_after_a_reading_said_it(late: int) -> None:
    panel = met()
    panel.arms(100, 3)
    panel.arms(110, 1)
    panel.alarms(120)
    panel.status(150, 4)
    assert types(panel.read(151)) == ["disarmed", "armed_away", "alarm"]
    seconds = 151 + late
    for value, record in zip((3, 1, 4), reversed(panel.records[:3]), strict=True):
        assert panel.take(arm(value), seconds) == []
        assert panel.state.state == "triggered"
        for form in (ALERT, STATUS):
            assert panel.take(replace(record, form=form), seconds) == []
    assert types(panel.take(Elapsed(), seconds + 5)) == ([] if late < 10 else ["alarm"])  # rather one too many


def test_a_notice_of_arming_after_a_reading_is_corrected_by_its_alert() -> None:
    panel = met()
    panel.arms(100, 3)
    panel.arms(110, 1)
    panel.read(151)
    panel.take(arm(3), 160)
    assert panel.state.state == "armed_away"
    panel.arms(160, 3, ALERT)
    assert panel.state.state == "disarmed"
    # No alert follows where the panel sends none of arming.
    panel.arms(170, 1)
    panel.arms(180, 3)
    panel.arms(190, 1)
    panel.take(FlagsRead(0), 195)
    panel.read(196)
    panel.take(arm(3), 200)
    assert panel.state.state == "disarmed"


def test_an_alarm_in_the_status_is_that_of_the_history_also_behind_missed_armings() -> None:
    panel = met()
    panel.alarms(90)
    panel.arms(100, 3)
    panel.arms(110, 1)
    panel.alarms(120, sensor=1)
    panel.status(150, 4)
    events = [*panel.read(151), *panel.take(Elapsed(), 160)]
    assert [(e.type, e.sensor, e.over) for e in events if e.type == "alarm"] == [
        ("alarm", 9, True),
        ("alarm", 1, False),
    ]


def test_a_history_that_went_out_of_reach_begins_at_what_was_reported() -> None:
    panel = met()
    for number in range(60):
        panel.happens(100 + 10 * number, S, 1, ALERT, state=1 - number % 2)
    panel.alarms(1000)
    assert types(panel.read(1010)) == ["alarm"]


def test_a_missed_alarm_over_a_restart_of_ours() -> None:
    panel = met()
    panel.state = stored(panel.state, at(20))
    panel.alarms(5000)
    panel.state = replace(panel.state, link=replace(panel.state.link, connected_since=None))
    panel.take(Heard("192.0.2.1"), 6000)
    panel.status(6000, 4)
    (event,) = panel.read(6001)
    assert (event.sensor, event.missed, event.over) == (9, True, False)
    assert panel.take(Elapsed(), 6010) == []


def test_records_that_mean_nothing_are_passed_over() -> None:
    panel = met()
    panel.records.insert(0, Alert(form=HISTORY, type=0, event=0))
    panel.happens(50, S, 1, state=77)
    panel.alarms(60)
    assert types(panel.read(70)) == ["alarm"]
    assert panel.read(80) == []


def test_pages_are_read_until_what_is_known() -> None:
    panel = met()
    for number in range(12):
        panel.happens(100 + 10 * number, S, 1, state=1 - number % 2)
    read = HistoryRead(tuple(panel.records), at(400).steady)
    assert not history.reaches(panel.state, replace(read, records=read.records[:10]), at(400))
    assert history.reaches(panel.state, read, at(400))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("adrhAs"), st.booleans(), st.booleans()), min_size=1, max_size=30),
    st.sampled_from([0, -7200, 7200]),
)
def test_any_life_with_gaps_is_told_once_and_ends_in_the_right_state(
    steps: list[tuple[str, bool, bool]], clock: int
) -> None:
    """After a reading, each alarm of the panel's history was told once, and the state is the panel's."""
    panel = Panel(clock=clock)
    panel.take(Heard("192.0.2.1"), 0)
    panel.arms(1, 3, ALERT)
    panel.read(2)
    wanted, truth, seconds = 0, "disarmed", 10.0
    for step, reported, reads in steps:
        forms = (ALERT, STATUS) if reported else ()
        if step in "adh":
            panel.arms(seconds, {"a": 1, "h": 2, "d": 3}[step], *forms)
            truth = {"a": "armed_away", "h": "armed_home", "d": "disarmed"}[step]
        elif step in "As":
            panel.alarms(seconds, *forms, sensor=9 if step == "A" else 1)
            wanted, truth = wanted + 1, "triggered"
        if reads or step == "r":
            panel.read(seconds + 3)
        seconds += 100
    panel.read(seconds)
    told = [event for event in panel.events if event.type is EventType.ALARM and not event.again]
    assert len(told) == len({event.key for event in told}) == wanted
    assert panel.state.state == truth


# What the panel lists of itself


def test_lists_infos_and_flags_are_taken_over() -> None:
    panel = Panel()
    panel.take(activity(STATUS, 1, 1), 0)
    door = SensorRecord(1, "Front door", SensorType.DOOR, flags=SensorFlag.CHIME)
    panel.take(SensorsRead((door,)), 1)
    sensor = panel.state.sensors[1]
    assert (list(panel.state.sensors), sensor.on, sensor.enabled) == ([1], True, False)
    info = HostInfo(GUID, "G90B", "206/206", 4100, 70, 90, 3, 2)
    panel.take(InfoRead(info), 2)
    assert (panel.state.hardware.info, panel.state.hardware.wifi, panel.state.hardware.product) == (info, True, "G90B")
    assert panel.take(InfoRead(replace(info, wifi_status=1)), 3) == []
    assert panel.state.hardware.wifi is False


def test_relays_have_channels_and_the_state_that_we_gave_them() -> None:
    panel = Panel()
    strip = (SensorRecord(12, "Strip", 128, nodes=2), SensorRecord(13, "Lamp", 128))
    panel.take(RelaysRead(strip), 0)
    assert [(r.number, r.name, r.on) for r in panel.state.relays.values()] == [
        ("12", "Strip#1", None),
        ("12-2", "Strip#2", None),
        ("13", "Lamp", None),
    ]
    panel.take(Switched("12-2", on=True), 1)
    panel.take(Switched("99", on=True), 1)
    panel.take(RelaysRead(strip), 2)
    assert {number: relay.on for number, relay in panel.state.relays.items()} == {"12": None, "12-2": True, "13": None}


def test_answers_that_say_nothing_new_leave_the_state_alone() -> None:
    panel = met()
    panel.status(20, 1)
    before = panel.state
    panel.status(30, 1)
    panel.take(FlagsRead(0), 31)
    assert panel.state is not before
    before = panel.state
    panel.take(FlagsRead(0), 32)
    panel.status(33, 1)
    assert panel.state is before


def test_a_door_open_while_arming_is_no_opening_and_ends_with_the_next_arming() -> None:
    panel = Panel()
    panel.take(Notice(kind=NoticeKind.DOOR_OPEN_WHEN_ARMING, sensor=1, name="Front door"), 0)
    panel.take(arm(1), 30)
    assert (panel.state.sensors[1].on, panel.state.sensors[1].open_while_arming) == (False, True)
    panel.take(arm(3), 40)
    assert not panel.state.sensors[1].open_while_arming


def test_who_armed() -> None:
    panel = Panel()
    panel.take(activity(STATUS, 4, 0, Source.REMOTE, name="Key fob"), 0)
    panel.take(arm(1), 1)
    assert panel.state.partition.changed_by == "Key fob"
    panel.take(arm(3), 60)
    assert panel.state.partition.changed_by == "panel"


def test_a_name_that_0x21_cuts_and_an_index_that_it_cannot_hold() -> None:
    long = "A door with a name of more than thirty-two bytes"
    panel = Panel()
    panel.take(SensorsRead((SensorRecord(44, "Other", 1), SensorRecord(300, long[:20], 1), WIRED)), 0)
    panel.take(activity(STATUS, 44, 1, name=long[:20]), 1)
    assert (panel.state.sensors[300].on, panel.state.sensors[44].on) == (True, False)
    panel.take(SensorsRead((SensorRecord(1, long, SensorType.DOOR),)), 2)
    panel.take(activity(STATUS, 1, 1, name=long[:32]), 3)
    assert panel.state.sensors[1].name == long


def test_the_wall_clock_moves_no_deadline() -> None:
    state = reduce(LISTED, activity(STATUS, 2, 1), at(0)).state
    for wall in (NOW - timedelta(days=400), NOW + timedelta(days=20000)):
        assert reduce(state, Elapsed(), Now(1029.0, wall)).state.sensors[2].on
        assert not reduce(state, Elapsed(), Now(1030.0, wall)).state.sensors[2].on


def test_online_and_offline() -> None:
    first = reduce(START, Heard("192.0.2.1", "206"), at(0))
    assert types(list(first.events)) == ["panel_online"]
    assert reduce(first.state, Heard("192.0.2.1"), at(1)).events == ()
    gone = reduce(first.state, Silent(), at(2))
    assert types(list(gone.events)) == ["panel_offline"]
    assert reduce(gone.state, Silent(), at(3)).events == ()
    assert (gone.state.link.online, gone.state.link.connected_since, gone.state.link.firmware) == (False, None, "206")


# The store


def test_what_waits_goes_on_over_a_restart_by_the_wall_clock() -> None:
    state = reduce(LISTED, activity(STATUS, 2, 1), at(0)).state
    state = reduce(state, arm(4), at(0)).state
    later = Now(5.0, at(3).wall)  # another boot: its steady clock began anew
    again = from_json(json.loads(json.dumps(to_json(state, at(0)))), later)
    assert reduce(again, Elapsed(), Now(6.0, later.wall)).events == ()
    step = reduce(again, Elapsed(), Now(7.0, later.wall))
    assert types(list(step.events)) == ["alarm"]
    assert step.state.sensors[2].on
    assert not reduce(step.state, Elapsed(), Now(32.0, later.wall)).state.sensors[2].on


def test_a_wall_clock_that_went_back_over_a_restart_loses_nothing() -> None:
    state = reduce(LISTED, arm(4), at(0)).state
    later = Now(5.0, NOW - timedelta(days=400))
    again = from_json(json.loads(json.dumps(to_json(state, at(0)))), later)
    assert types(list(reduce(again, Elapsed(), Now(10.0, later.wall)).events)) == ["alarm"]


def test_everything_that_is_known_is_stored() -> None:
    panel = met()
    panel.take(RelaysRead((SensorRecord(12, "Lamp", 128),)), 20)
    panel.take(Switched("12", on=True), 21)
    panel.take(InfoRead(HostInfo(GUID, "G90B", "206/206", 4100, 70, 90, 3, 3)), 22)
    panel.take(FlagsRead(128), 23)
    panel.take(Notice(kind=NoticeKind.DOOR_OPEN_WHEN_ARMING, sensor=1, name="Front door"), 24)
    panel.alarms(30, ALERT, STATUS)
    assert stored(panel.state, at(31)) == panel.state


def test_a_state_of_the_first_version_is_taken_over() -> None:
    """A typed smoke alarm, motion, and an alarm of sensor 44 that waits for its type."""
    state = from_json(json.loads(FIRST_VERSION.read_text("utf-8")), at(1))
    assert (state.state, state.sensors[9].on, state.sensors[2].on) == ("triggered", True, True)
    assert reduce(state, smoke(STATUS), at(1)).events == ()
    step = reduce(state, Elapsed(), at(1))
    assert [(event.type, event.sensor) for event in step.events] == [("alarm", 44)]
    assert not step.state.sensors[2].on


def test_a_stored_state_that_is_none_is_an_error_of_the_store() -> None:
    whole = to_json(LISTED, at(0))
    for wrong in ({}, {**whole, "sensors": 3}, {**whole, "arm": "sideways"}, {**whole, "ledger": [{}]}, {"told": 1}):
        with pytest.raises(StoreError):
            from_json(wrong, at(0))
