"""Each field that an input changes, at its limits in time, and what stores write and read."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from g90.test_reducer import LISTED, START, activity, arm, at, smoke, stored, types
from support.g90 import GUID, NEW_YEAR, NOW, alert

from bridge.g90.state.interpret import Interpretation, interpret, reported_type
from bridge.g90.state.model import (
    Commanded,
    Elapsed,
    FlagsRead,
    Heard,
    HistoryRead,
    InfoRead,
    Input,
    Now,
    Options,
    PanelState,
    Relay,
    RelaysRead,
    Sensor,
    SensorsRead,
    StatusRead,
    UpstreamLink,
)
from bridge.g90.state.reducer import reduce
from bridge.g90.state.storage import from_json, to_json
from bridge.g90.wire.answers import AlertFlag
from bridge.g90.wire.commands import HostInfo, HostStatus, SensorRecord
from bridge.g90.wire.constants import AlertType, ArmCode, NoticeKind, SensorType, Source
from bridge.g90.wire.events import A_CLOCK, Alert, EventType, Form, Notice, PanelEvent, Report

_E = EventType
A, S, C = AlertType.ALARM, AlertType.SENSOR_ACTIVITY, AlertType.STATE_CHANGE
ALERT, STATUS, HISTORY = Form.ALERT, Form.STATUS, Form.HISTORY
SECOND_VERSION = Path(__file__).with_name("state_v2.json")
SECOND = timedelta(seconds=1)


def after(*steps: tuple[float, Input], begin: PanelState = LISTED) -> PanelState:
    state = begin
    for seconds, message in steps:
        state = reduce(state, message, at(seconds)).state
    return state


def events(state: PanelState, seconds: float, message: Input) -> list[PanelEvent]:
    return list(reduce(state, message, at(seconds)).events)


def record(kind: int, event: int, second: float, *, clock: int = 0, state: int = 254) -> Alert:
    source = Source.PANEL if kind == C else Source.SENSOR
    time = NEW_YEAR + int(second) + clock
    return Alert(form=HISTORY, type=kind, event=event, source=source, state=state, time=time)


def read(seconds: float, *records: Alert) -> HistoryRead:
    return HistoryRead(records, at(seconds).steady)


# What reports mean


@pytest.mark.parametrize(
    ("report", "kind", "meaning"),
    [
        (smoke(STATUS), SensorType.SMOKE, Interpretation(_E.ALARM, 9, on=True, alarms=True)),
        (alert(STATUS, A, 5, state=2), SensorType.SMOKE, Interpretation(_E.SOS, 5, on=True, alarms=True)),
        (alert(STATUS, A, 5, state=0), SensorType.SOS_BUTTON, Interpretation(_E.SOS, 5, alarms=True)),
        (alert(ALERT, A, 4, source=10, state=3), None, Interpretation(_E.SOS, 4, alarms=True)),
        (alert(STATUS, A, 5, state=3), SensorType.SMOKE, Interpretation(_E.TAMPER, 5, alarms=True)),
        (alert(STATUS, A, 5, state=4), SensorType.SMOKE, Interpretation(_E.LOW_BATTERY, 5)),
        (alert(STATUS, A, 12, state=0), SensorType.DOORBELL, Interpretation(_E.DOORBELL, 12)),
        (alert(STATUS, A, 12, state=1), SensorType.DOORBELL, Interpretation(_E.DOORBELL, 12)),
        (alert(STATUS, A, 12, state=254), SensorType.DOORBELL, Interpretation(_E.ALARM, 12, on=True, alarms=True)),
        (alert(STATUS, AlertType.PANEL_SOS, 7), None, Interpretation(_E.SOS, alarms=True)),
        (activity(STATUS, 1, 1), SensorType.DOOR, Interpretation(_E.DOOR_OPENED, 1, on=True)),
        (activity(STATUS, 1, 1), None, Interpretation(_E.DOOR_OPENED, 1, on=True)),
        (activity(STATUS, 1, 1), SensorType.GAS, Interpretation(_E.SENSOR_ACTIVITY, 1, on=True)),
        (activity(STATUS, 1, 0), SensorType.WIRED, Interpretation(_E.DOOR_CLOSED, 1, on=False)),
        (activity(STATUS, 1, 0), SensorType.GAS, Interpretation(None, 1, on=False)),
        (activity(STATUS, 1, 2), SensorType.GAS, Interpretation(_E.SOS, 1, on=True, alarms=True)),
        (activity(STATUS, 1, 3), SensorType.GAS, Interpretation(_E.TAMPER, 1)),
        (activity(STATUS, 1, 254), SensorType.GAS, Interpretation(_E.ALARM, 1, on=True, alarms=True)),
        (activity(STATUS, 4, 1, Source.REMOTE), None, Interpretation(_E.REMOTE_BUTTON, 4, "arm_home")),
        (activity(STATUS, 4, 3, Source.REMOTE), None, Interpretation(_E.SOS, 4, alarms=True)),
        (activity(STATUS, 11, 7, Source.RFID), None, Interpretation(_E.RFID, 11, "card_1")),
        (activity(STATUS, 11, 5, Source.RFID), None, Interpretation(_E.LOW_BATTERY, 11)),
        (activity(STATUS, 12, 0, Source.DOORBELL), None, Interpretation(_E.DOORBELL, 12)),
        (activity(STATUS, 2, 0, Source.INFRARED), SensorType.MOTION, Interpretation(_E.SENSOR_ACTIVITY, 2, on=True)),
        (arm(4), None, Interpretation(None, alarms=True)),
        (arm(2), None, Interpretation(_E.ARMED_HOME)),
        (Notice(kind=4, sensor=3, value=1), None, Interpretation(_E.SENSOR_CHANGED, 3, "added")),
        (Notice(kind=4, sensor=3, value=2), None, Interpretation(_E.SENSOR_CHANGED, 3, "changed")),
        (Notice(kind=5, sensor=3), None, Interpretation(_E.SENSOR_ACTIVITY, 3, on=True)),
        (Notice(kind=6, sensor=3), None, Interpretation(_E.DOOR_OPEN_WHEN_ARMING, 3, on=True)),
        (Notice(kind=8), None, Interpretation(None)),
    ],
)
def test_a_meaning_in_full(report: Report, kind: int | None, meaning: Interpretation) -> None:
    assert interpret(report, kind) == meaning


def test_the_type_that_a_report_implies() -> None:
    assert reported_type(alert(STATUS, A, 9, sensor_type=4, source=8)) == 4
    assert [reported_type(alert(ALERT, S, 9, source=source)) for source in (1, 8, 10, 11, 12, 15)] == [
        None, 8, 10, 11, 12, 15,
    ]  # fmt: skip


def test_an_event_in_full() -> None:
    (event,) = events(LISTED, 3, smoke(STATUS))
    assert event == PanelEvent(
        guid=GUID, type=_E.ALARM, at=at(3).wall, sensor=9, name="Kitchen smoke", sensor_type="smoke", source="sensor",
        panel_time=NEW_YEAR,
    )  # fmt: skip
    (event,) = events(LISTED, 3, activity(ALERT, 2, 0, Source.INFRARED))
    assert (event.source, event.name, event.sensor_type) == ("infrared", "Hall", "motion")
    (event,) = events(LISTED, 3, Notice(kind=5, sensor=1, name="Front door"))
    assert (event.source, event.panel_time, event.type) == ("sensor", None, "door_opened")
    (event,) = events(LISTED, 3, arm(1))
    assert (event.source, event.name, event.sensor, event.sensor_type) == ("panel", None, None, None)
    (event,) = events(START, 3, activity(STATUS, 77, 1))
    assert event.name is None
    (online,) = events(START, 3, Heard("192.0.2.1"))
    assert (online.source, online.at) == ("bridge", at(3).wall)


@pytest.mark.parametrize(
    ("report", "waits"),
    [
        (activity(ALERT, 99, 3), True),
        (activity(ALERT, 99, 4), True),
        (activity(ALERT, 99, 2), True),
        (activity(ALERT, 99, 254), True),
        (activity(ALERT, 99, 1), False),
        (activity(STATUS, 99, 254), False),
        (Notice(kind=5, sensor=99), True),
        (Notice(kind=6, sensor=99), False),
        (Notice(kind=5, sensor=1), False),
        (activity(ALERT, 1, 254), False),
        (alert(ALERT, AlertType.PANEL_SOS, 0), False),
    ],
)
def test_what_waits_for_a_better_form(report: Report, waits: bool) -> None:  # noqa: FBT001
    step = reduce(LISTED, report, at(0))
    assert (step.events == ()) is waits
    if waits:
        assert step.state.due == at(2).steady
        assert len(events(step.state, 2, Elapsed())) == 1


def test_a_form_that_says_no_more_goes_on_waiting() -> None:
    waiting = after((0, activity(ALERT, 99, 254)))
    assert events(waiting, 1, activity(ALERT, 99, 254)) == []
    again = after((1, Notice(kind=5, sensor=99)), begin=waiting)
    assert types(events(again, 2, Elapsed()))[0] == "alarm"
    (sure,) = events(waiting, 1, activity(STATUS, 99, 254))
    assert (sure.again, sure.at, sure.key) == (False, at(0).wall, sure.identity)


def test_alarmed_without_a_reason() -> None:
    step = reduce(LISTED, arm(4), at(0))
    assert (step.state.partition.triggered, step.state.due, step.events) == (True, at(5).steady, ())
    assert step.state.contact == at(0).wall
    (event,) = events(step.state, 5, Elapsed())
    assert (event.source, event.missed, event.at) == ("panel", False, at(0).wall)
    asked_before = StatusRead(HostStatus(ArmCode.DISARMED, ""), at(-1).steady)
    assert events(step.state, 1, asked_before) == []
    known = after((0, smoke(STATUS)), (1, arm(3)), (1.5, smoke(STATUS, time=NEW_YEAR + 9)), (2, arm(4)))
    assert events(known, 7, Elapsed()) == []
    assert after((0, smoke(STATUS))).partition.moved == at(0).steady
    assert after((0, smoke(STATUS)), (2, arm(4))).partition.moved == at(2).steady


# What inputs change


def test_an_input_replaces_only_the_values_that_it_changes() -> None:
    def same(seconds: float, message: Input) -> set[str]:
        state = after((seconds, message))
        names = ("link", "hardware", "partition", "sensors", "relays", "history")
        return {name for name in names if getattr(state, name) is getattr(LISTED, name)}

    assert same(0, activity(STATUS, 1, 1)) == {"link", "hardware", "partition", "relays", "history"}
    assert same(0, smoke(STATUS)) == {"link", "hardware", "relays", "history"}
    assert same(0, alert(STATUS, C, 1)) == {"link", "partition", "sensors", "relays", "history"}
    assert same(0, Heard("192.0.2.1")) == {"hardware", "partition", "sensors", "relays", "history"}
    assert same(0, read(0)) == {"link", "hardware", "partition", "sensors", "relays"}


def test_fields_of_the_panel() -> None:
    changes = {1: {"ac_power": False}, 2: {"ac_power": True, "battery_low": False}, 6: {"battery_low": True}}
    for code, wanted in (changes | {7: {"wifi": True}, 8: {"wifi": False}}).items():
        hardware = after((0, alert(STATUS, C, code))).hardware
        got = {name: getattr(hardware, name) for name in ("ac_power", "battery_low", "wifi")}
        assert {name: value for name, value in got.items() if value is not None} == wanted


@pytest.mark.parametrize(("seconds", "by"), [(10, "Key fob"), (11, "panel"), (-1, "panel")])
def test_who_armed_is_known_for_ten_seconds(seconds: float, by: str) -> None:
    steps: list[tuple[float, Input]] = [(0, activity(STATUS, 4, 0, Source.REMOTE, name="Key fob"))]
    state = after(*(steps if seconds > 0 else []), (seconds, arm(1)))
    assert (state.partition.arm, state.partition.changed_by, state.partition.actor) == (_E.ARMED_AWAY, by, None)
    assert after((0, activity(STATUS, 4, 0, Source.RFID)), (1, arm(1))).partition.changed_by == "rfid"
    assert after((0, activity(STATUS, 1, 1)), (1, arm(1))).partition.changed_by == "panel"
    assert after((0, Commanded()), (1, arm(1))).partition.changed_by == "mqtt"


def test_a_status_alone_says_not_who_armed() -> None:
    armed = after((0, arm(3)), (9, StatusRead(HostStatus(ArmCode.ARMED_HOME, "G90"), at(9).steady)))
    assert (armed.partition.arm, armed.partition.changed_by, armed.hardware.product) == (_E.ARMED_HOME, None, "G90")
    assert (
        after((10, StatusRead(HostStatus(ArmCode.ARMED_HOME, ""), at(10).steady)), begin=armed).hardware.product
        == "G90"
    )
    first = reduce(START, StatusRead(HostStatus(ArmCode.DISARMED, "G90"), at(0).steady), at(0))
    assert (first.state.partition.arm, first.events) == (_E.DISARMED, ())
    same = StatusRead(HostStatus(ArmCode.DISARMED, "G90"), at(0).steady)
    assert after((0, arm(1)), (0, same)).partition.arm == _E.DISARMED


def test_arming_ends_an_alarm_and_what_only_an_alarm_had_set() -> None:
    begin = after((0, smoke(STATUS)), (0, activity(STATUS, 2, 0, Source.INFRARED)), (0, activity(STATUS, 1, 1)))
    begin = after((0, activity(STATUS, 9, 3)), (0, activity(STATUS, 2, 1, Source.INFRARED)), begin=begin)
    ended = after((1, arm(3)), begin=begin)
    assert {index: sensor.on for index, sensor in ended.sensors.items()} == {1: True, 2: True, 5: False, 9: False}
    assert {index: sensor.tamper for index, sensor in ended.sensors.items()} == {1: None, 2: False, 5: None, 9: False}
    assert (ended.partition.triggered, ended.partition.moved) == (False, at(1).steady)


@pytest.mark.parametrize(
    ("seconds", "value", "stays"),
    [(60, 1, True), (60, 2, True), (61, 1, False), (1, 3, False)],
)
def test_a_door_open_while_arming_is_marked_for_that_arming(seconds: float, value: int, stays: bool) -> None:  # noqa: FBT001
    begin = after((0, Notice(kind=NoticeKind.DOOR_OPEN_WHEN_ARMING, sensor=1, name="Front door")))
    assert begin.sensors[1].open_while_arming
    assert after((seconds, arm(value)), begin=begin).sensors[1].open_while_arming is stays


@pytest.mark.parametrize(
    ("report", "options", "flags", "off_after"),
    [
        (activity(STATUS, 2, 0, Source.INFRARED), Options(), 0, 30),
        (activity(STATUS, 2, 0, Source.INFRARED), Options(motion_off=7), 0, 7),
        (Notice(kind=5, sensor=2, name="Hall"), Options(motion_off=7), 0, 7),
        (activity(STATUS, 6, 1), Options(motion_off=7), 0, 7),
        (activity(STATUS, 1, 1), Options(), None, None),
        (activity(STATUS, 1, 1), Options(), int(AlertFlag.DOOR_CLOSE), None),
        (activity(STATUS, 1, 1), Options(), int(AlertFlag.DOOR_OPEN), 60),
        (activity(STATUS, 1, 1), Options(door_off=9), int(AlertFlag.DOOR_OPEN), 9),
        (activity(STATUS, 1, 1), Options(door_off=9), int(AlertFlag.DOOR_CLOSE), 9),
        (activity(STATUS, 3, 1), Options(), None, 60),
        (activity(STATUS, 3, 1), Options(door_off=9), None, 9),
        (smoke(STATUS), Options(door_off=9), 0, None),
        (alert(STATUS, A, 2, sensor_type=8, state=0), Options(motion_off=7), 0, 7),
    ],
)
def test_when_a_sensor_goes_off_by_itself(
    report: Report, options: Options, flags: int | None, off_after: float | None
) -> None:
    more = (SensorRecord(3, "Window", SensorType.WIRED), SensorRecord(6, "Gas", SensorType.GAS))
    begin = after((0, SensorsRead((*RECORDS, *more))))
    begin = begin if flags is None else after((0, FlagsRead(flags)), begin=begin)
    step = reduce(begin, report, at(0), options)
    sensor = step.state.sensors[report.event if isinstance(report, Alert) else 2]
    assert (sensor.on, sensor.last_activity) == (True, NOW)
    wanted = None if off_after is None else at(off_after).steady
    assert (sensor.off_at, step.state.due) == (wanted, wanted)


RECORDS = (SensorRecord(1, "Front door", SensorType.DOOR), SensorRecord(2, "Hall", SensorType.MOTION))


def test_the_earliest_deadline_counts() -> None:
    state = after((0, activity(STATUS, 2, 0, Source.INFRARED)), (5, activity(ALERT, 99, 254)))
    assert state.due == at(7).steady
    state = after((7, Elapsed()), begin=state)
    assert state.due == at(30).steady
    assert after((29, Elapsed()), begin=state) is state
    assert after((30, Elapsed()), begin=state).due is None
    assert after((0, activity(ALERT, 99, 254)), (1, activity(STATUS, 2, 0, Source.INFRARED))).due == at(2).steady


def test_marks_of_a_sensor() -> None:
    state = after((0, activity(STATUS, 1, 4)))
    assert (state.sensors[1].battery_low, state.sensors[1].tamper) == (True, None)
    state = after((1, activity(STATUS, 1, 3)), begin=state)
    assert (state.sensors[1].battery_low, state.sensors[1].tamper, state.sensors[1].on) == (False, True, False)
    state = after((2, Notice(kind=4, sensor=1, name="Front door", value=2)), begin=state)
    assert (state.sensors[1].tamper, state.sensors[1].last_activity) == (False, at(2).wall)
    assert after((2, Notice(kind=4, sensor=2, name="Hall", value=2))).sensors[2].tamper is None
    assert after((0, activity(STATUS, 1, 1))).sensors[1].battery_low is None


def test_names_and_types_that_reports_have() -> None:
    assert after((0, activity(STATUS, 77, 1, name="New")), begin=START).sensors[77].name == "New"
    renamed = after((0, activity(ALERT, 1, 1, name="Back door")))
    assert (renamed.sensors[1].name, renamed.sensors[1].type) == ("Back door", 1)
    assert after((0, activity(ALERT, 1, 1, name=""))).sensors[1].name == "Front door"
    assert after((0, activity(ALERT, 1, 1, name="Front"))).sensors[1].name == "Front door"
    typed = after((0, activity(STATUS, 77, 1)), (1, alert(STATUS, A, 77, sensor_type=4, state=254)))
    assert typed.sensors[77].type == 4
    assert after((0, alert(STATUS, A, 1, sensor_type=4, state=254))).sensors[1].type == 1


def test_of_too_many_sensors_one_goes_that_was_never_listed_and_is_off() -> None:
    named = {index: Sensor(index=index, flags=1) for index in range(998)}
    begin = replace(LISTED, sensors={**named, 2000: Sensor(index=2000, on=True), 2001: Sensor(index=2001)})
    state = after((0, activity(STATUS, 255, 1, name="x")), (0, activity(ALERT, 5000, 1)), begin=begin)
    assert len(state.sensors) == 1000
    assert 2001 not in state.sensors
    assert {2000, 5000} <= state.sensors.keys()
    full = replace(LISTED, sensors={index: Sensor(index=index) for index in range(999)})
    assert len(after((0, activity(ALERT, 5000, 1)), begin=full).sensors) == 1000


def test_an_index_of_one_byte_and_the_name_tell_the_sensor() -> None:
    begin = replace(LISTED, sensors={1: Sensor(index=1, name="A"), 257: Sensor(index=257, name="B")})
    assert after((0, activity(STATUS, 1, 1, name="B")), begin=begin).sensors[257].on
    assert after((0, activity(STATUS, 1, 1, name="A")), begin=begin).sensors[1].on
    assert after((0, activity(STATUS, 1, 1, name="C")), begin=begin).sensors[1].on
    assert after((0, activity(STATUS, 1, 1)), begin=begin).sensors[1].on
    assert after((0, activity(ALERT, 1, 1, name="B")), begin=begin).sensors[1].on


def test_what_the_panel_lists_of_itself() -> None:
    info = HostInfo(GUID, "", "206", None, None, None, 3, None)
    state = after((0, StatusRead(HostStatus(ArmCode.DISARMED, "G90"), at(0).steady)), (1, InfoRead(info)))
    assert (state.hardware.info, state.hardware.wifi, state.hardware.product) == (info, None, "G90")
    for status, up in ((0, False), (1, False), (2, True), (3, True)):
        assert after((0, InfoRead(replace(info, wifi_status=status)))).hardware.wifi is up
    assert after((0, UpstreamLink(connected=True))).link.upstream_connected is True
    assert after((0, UpstreamLink(connected=False))).link.upstream_connected is False
    listed = after((0, SensorsRead((SensorRecord(1, "Gate", SensorType.GAS, flags=3),))))
    assert listed.sensors == {1: Sensor(index=1, name="Gate", type=3, flags=3)}
    relays = after((0, RelaysRead((SensorRecord(12, "Lamp", 128),)))).relays
    assert relays == {"12": Relay(index=12, name="Lamp", type=128)}


@pytest.mark.parametrize("whole", [None, True, False])
def test_what_a_whole_list_lacks_is_gone(whole: bool | None) -> None:  # noqa: FBT001 - None: the default
    more = {} if whole is None else {"whole": whole}
    one, other = SensorRecord(12, "Lamp", 128), SensorRecord(13, "Fan", 128)
    kept = [12, 13] if whole is False else [13]
    relays = after((0, RelaysRead((one,))), (1, RelaysRead((other,), **more))).relays
    assert [relay.index for relay in relays.values()] == kept
    sensors = after((0, SensorsRead((one,))), (1, SensorsRead((other,), **more))).sensors
    assert list(sensors) == kept


def test_an_answer_is_noted_every_ten_minutes() -> None:
    state = after((0, FlagsRead(1)))
    assert state.link.last_read == NOW
    assert after((599, FlagsRead(1)), begin=state) is state
    assert after((600, FlagsRead(1)), begin=state).link.last_read == at(600).wall
    assert after((-600, FlagsRead(1)), begin=state).link.last_read == at(-600).wall


def test_a_sign_of_life_in_full() -> None:
    state = after((0, Heard("192.0.2.1", "206")), begin=START)
    assert (state.link.online, state.link.address, state.link.firmware) == (True, "192.0.2.1", "206")
    assert (state.link.connected_since, state.link.last_seen, state.contact) == (NOW, NOW, NOW)
    later = after((9, Heard("192.0.2.2")), begin=state)
    assert (later.link.address, later.link.firmware) == ("192.0.2.2", "206")
    assert (later.link.connected_since, later.link.last_seen, later.contact) == (NOW, at(9).wall, NOW)
    again = replace(state, link=replace(state.link, online=False))
    assert after((9, Heard("192.0.2.1")), begin=again).link.connected_since == at(9).wall


@pytest.mark.parametrize(
    ("time", "offset"),
    [(NEW_YEAR - 40, 40.0), (A_CLOCK, float(NEW_YEAR - A_CLOCK)), (A_CLOCK - 1, None), (None, None)],
)
def test_how_far_the_panels_clock_is_off(time: int | None, offset: float | None) -> None:
    state = after((0, activity(STATUS, 1, 1, time=time)))
    assert state.clock_offset == offset
    if time == NEW_YEAR - 40:
        assert after((1, activity(STATUS, 1, 0, time=time)), begin=state).clock_offset == 40.0
        assert after((1.5, activity(STATUS, 1, 0, time=time)), begin=state).clock_offset == 41.5


# The history


def known(*records: Alert, begin: PanelState = LISTED, seconds: float = 0) -> PanelState:
    return after((seconds, Heard("192.0.2.1")), (seconds, read(seconds, *records)), begin=begin)


D, H, ON = (record(C, code, second) for code, second in ((3, -30), (5, -20), (4, -10)))


def test_new_is_what_lies_above_the_longest_known_run() -> None:
    alarm = record(A, 9, 50)
    state = known(ON, H, D)
    assert types(events(state, 60, read(60, alarm, ON, H, D))) == ["alarm"]
    assert types(events(state, 60, read(60, alarm, H, D))) == ["alarm"]
    assert types(events(state, 60, read(60, D, alarm, ON, H))) == ["alarm", "disarmed"]
    assert types(events(state, 60, read(60, ON, alarm, D))) == ["alarm", "armed_away"]
    assert events(state, 60, read(60, ON, H, alarm, D)) == []
    assert events(state, 60, read(60, ON, H, D)) == []
    assert events(known(), 60, read(60)) == []


def test_what_was_read_stays_known_where_later_readings_are_short() -> None:
    state = after((70, read(60, record(C, 5, 50))), begin=known(ON, H, D))
    assert [signature[1] for signature in state.history.records] == [5, 4, 5, 3]
    assert (state.history.read_at, state.contact) == (at(60).wall, at(70).wall)
    assert events(state, 90, read(90, ON, H, D)) == []
    many = [record(S, 1, second, state=1) for second in range(70, 10, -1)]
    assert len(known(*many).history.records) == 50


def test_reading_the_same_again_changes_nothing_for_ten_minutes() -> None:
    state = known(ON)
    assert after((60, read(60, ON)), begin=state) is state
    assert after((0, read(0, ON)), begin=state) is state
    assert after((600, read(600, ON)), begin=state).history.read_at == at(600).wall
    assert after((-1, read(-1, ON)), begin=state).history.read_at == at(-1).wall
    assert after((70, read(60, ON)), begin=state) is state


@pytest.mark.parametrize("clock", [0, -5000, 5000])
@pytest.mark.parametrize(
    ("second", "young"), [(-3, False), (-2, False), (-1, True), (0, True), (59, True), (62, True), (64, False)]
)
def test_where_nothing_is_known_new_is_what_is_younger_than_the_last_contact(
    second: float,
    young: bool,  # noqa: FBT001
    clock: int,
) -> None:
    begin = after((-99, Heard("192.0.2.1")), (0, activity(STATUS, 1, 1, time=NEW_YEAR + clock)))
    begin = replace(begin, ledger=START.ledger)
    found = events(begin, 60, read(60, record(A, 9, second, clock=clock)))
    assert types(found) == (["alarm"] if young else [])
    for event in found:
        assert event.at == max(at(min(second, 60)).wall, NOW + timedelta(milliseconds=1))


@pytest.mark.parametrize(("time", "young"), [(A_CLOCK, True), (A_CLOCK - 1, False)])
def test_a_clock_counts_from_2001_on(time: int, young: bool) -> None:  # noqa: FBT001
    begin = after((-99, Heard("192.0.2.1")), (0, activity(STATUS, 1, 1, time=A_CLOCK)))
    begin = replace(begin, ledger=START.ledger)
    found = events(begin, 60, read(60, record(A, 9, 0, clock=time - NEW_YEAR)))
    assert [event.at for event in found] == ([NOW + timedelta(milliseconds=1)] if young else [])


def test_without_a_clock_nothing_unknown_is_new_but_after_an_empty_history() -> None:
    unset = Alert(form=HISTORY, type=A, event=9, source=1, state=254, time=A_CLOCK - 1)
    assert events(replace(LISTED, contact=NOW), 60, read(60, unset)) == []
    assert events(replace(LISTED, contact=NOW), 60, read(60, replace(unset, time=None))) == []
    emptied = known()
    assert emptied.history.read_at == NOW
    (event,) = events(emptied, 60, read(60, unset))
    assert event.at == at(60).wall
    assert events(replace(emptied, clock_offset=0.0), 60, read(60, unset)) == []
    assert events(LISTED, 60, read(60, record(A, 9, 50))) == []


def test_a_moment_lies_between_what_is_known_and_now() -> None:
    state = known(D)
    found = events(state, 60, read(60, record(A, 9, 9999), record(A, 1, -500), record(A, 5, 30), D))
    assert [(event.sensor, event.at) for event in found] == [
        (5, at(30).wall),
        (1, at(30.001).wall),  # newer than what lies below it, whatever its clock says
        (9, at(60).wall),
    ]
    clock = replace(known(D), clock_offset=100.0)
    (event,) = events(clock, 600, read(600, record(A, 9, 50), D))
    assert event.at == at(150).wall


def test_what_comes_after_an_alarm_in_the_history_ends_it() -> None:
    state = known(D)
    for code, arming in ((3, _E.DISARMED), (4, _E.ARMED_AWAY), (5, _E.ARMED_HOME)):
        found = events(state, 60, read(60, record(C, code, 50), record(A, 9, 40), D))
        assert [(event.type, event.ended_by) for event in found] == [(_E.ALARM, (arming,)), (arming, ())]
    again = stored(after((60, read(60, record(C, 3, 50), record(A, 9, 40), D)), begin=state), at(60))
    assert [entry.event.ended_by for entry in again.ledger][-2:] == [(_E.DISARMED,), ()]
    (event,) = events(state, 60, read(60, record(C, 1, 50), record(A, 9, 40), D))[:1]
    assert not event.over


@pytest.mark.parametrize(("second", "over"), [(5, False), (50, False), (51, True)])
def test_only_a_later_arming_that_the_history_lacks_ends_an_alarm(second: int, over: bool) -> None:  # noqa: FBT001
    state = after((second, alert(STATUS, C, 3, time=NEW_YEAR + second)), begin=known(D))
    (event,) = events(state, 60, read(60, record(A, 9, 50), D))
    assert event.over is over


def test_a_record_that_a_newer_report_outdates_changes_no_state() -> None:
    state = after((55, activity(STATUS, 1, 0, time=NEW_YEAR + 55)), begin=known(D))
    state = after((60, read(60, record(S, 1, 40, state=1), D)), begin=state)
    assert not state.sensors[1].on
    state = after((55, activity(STATUS, 1, 3, time=NEW_YEAR + 55)), begin=known(D))
    assert not after((60, read(60, record(S, 1, 40, state=1), D)), begin=state).sensors[1].on
    state = after((55, activity(STATUS, 2, 1, Source.INFRARED, time=NEW_YEAR + 55)), begin=known(D))
    assert after((60, read(60, record(S, 1, 40, state=1), D)), begin=state).sensors[1].on
    state = after((55, alert(STATUS, C, 3, time=NEW_YEAR + 55)), begin=known(D))
    assert not after((60, read(60, record(A, 9, 40), D)), begin=state).partition.triggered
    state = after((55, smoke(STATUS, time=NEW_YEAR + 55)), begin=known(D))
    assert after((60, read(60, record(C, 4, 40), D)), begin=state).partition.triggered


# The store


def test_what_this_version_stores_stays_readable() -> None:
    stored: dict[str, Any] = json.loads(SECOND_VERSION.read_text("utf-8"))
    state = from_json(stored, at(62))
    assert json.loads(json.dumps(to_json(state, at(62)))) == stored
    assert (state.partition.arm, len(state.ledger)) == (_E.DISARMED, len(stored["ledger"]))
    waiting = (*(entry.due for entry in state.ledger), *(sensor.off_at for sensor in state.sensors.values()))
    assert state.due == min(each for each in waiting if each)
    assert state.ledger.newest == max(entry.time or 0 for entry in state.ledger)
    late = from_json(stored, Now(9.0, at(72).wall))
    assert [entry.heard for entry in late.ledger][-1] == 9.0 - 10 - (62 - 61)


def test_a_form_with_a_time_belongs_to_a_notice_before_a_restart() -> None:
    again = stored(after((0, Notice(kind=5, sensor=1, name="Front door"))), at(1))
    assert events(again, 1, activity(STATUS, 1, 1)) == []


def test_times_are_stored_to_the_millisecond() -> None:
    waiting = after((0, arm(4)))
    whole: dict[str, Any] = to_json(waiting, Now(at(0).steady + 0.12345, NOW))
    assert [(entry["heard"], entry["due"]) for entry in whole["ledger"]] == [(-0.123, 4.877)]


FIRST: dict[str, Any] = json.loads(Path(__file__).with_name("state_v1.json").read_text("utf-8"))
KNOWN = {
    "online": True,
    "address": "192.0.2.1",
    "firmware": "206",
    "connected_since": "2025-12-31T00:00:00+00:00",
    "last_seen": "2026-01-01T00:00:09+00:00",
    "arm": "armed_home",
    "ac_power": False,
    "battery_low": True,
    "wifi": True,
}


def old_entry(slot: str, sensor: int | None, *forms: str, **more: object) -> dict[str, object]:
    received = "2025-12-31T23:59:50+00:00"
    common: dict[str, object] = {"slot": slot, "sensor": sensor, "forms": forms, "received": received, "held": None}
    return common | {"panel_time": NEW_YEAR - 10} | more


def upgraded(now: Now, *entries: dict[str, object], **changed: object) -> dict[str, Any]:
    """Return a state of the first version as this version stores it."""
    read = from_json({**FIRST, "told": entries, **changed}, now)
    whole: dict[str, Any] = json.loads(json.dumps(to_json(read, now)))
    return whole


def test_what_the_first_version_knew_of_a_panel_is_taken_over() -> None:
    signals = {"battery_mv": 4100, "gsm_signal": 70, "wifi_signal": 90}
    found = upgraded(at(20), **KNOWN, product="G90B", **signals)
    unknown = {"gsm_status": None, "wifi_status": None}
    sensors = [{**each, "flags": None, "open_since": None} for each in FIRST["sensors"]]
    sensors[1]["off_at"] = 0.0  # now
    assert found == KNOWN | {
        "guid": GUID,
        "name": None,
        "clock_offset": None,
        "last_read": None,
        "product": "G90B",
        "info": {"guid": GUID, "product": "G90B", "firmware": ""} | signals | unknown,
        "alert_flags": None,
        "triggered": True,
        "changed_by": None,
        "contact": KNOWN["last_seen"],
        "sensors": sensors,
        "relays": [],
        "ledger": [],
        "history": [],
        "history_at": None,
        "stored_at": "2026-01-01T00:00:20+00:00",
    }
    assert upgraded(at(20))["info"]["product"] == ""


@pytest.mark.parametrize(
    ("entry", "changes", "forms", "alarms"),
    [
        (
            old_entry("alarm:9:", 9, "alert", "status", times=[NEW_YEAR - 11, NEW_YEAR - 10]),
            {"type": "alarm", "sensor": 9, "sensor_type": "smoke"},
            {"alert": NEW_YEAR - 11, "status": NEW_YEAR - 10},
            True,
        ),
        (
            old_entry("activity:2:", 2, "alert", "status", times=[]),
            {"type": "sensor_activity", "sensor": 2, "sensor_type": "motion"},
            {"alert": NEW_YEAR - 10, "status": NEW_YEAR - 10},
            False,
        ),
        (old_entry("armed_home::", None, "status"), {"type": "armed_home"}, {"status": NEW_YEAR - 10}, False),
        (
            old_entry("remote_button:4:arm_home", 4, "notice", panel_time=None),
            {"type": "remote_button", "sensor": 4, "action": "arm_home", "panel_time": None},
            {"notice": None},
            False,
        ),
    ],
)
def test_what_the_first_version_reported_is_known(
    entry: dict[str, object],
    changes: dict[str, object],
    forms: dict[str, object],
    alarms: bool,  # noqa: FBT001
) -> None:
    (found,) = upgraded(at(20), entry)["ledger"]
    plain = PanelEvent(guid=GUID, type=_E.ALARM, at=NOW, panel_time=NEW_YEAR - 10)
    event = {name: getattr(plain, name) for name in plain.__dataclass_fields__}
    event |= {"at": "2025-12-31T23:59:50+00:00", "ended_by": []} | changes
    assert found == {"event": event, "forms": forms, "heard": -30.0, "alarms": alarms, "due": None}
    (later,) = upgraded(at(-100), entry)["ledger"]
    assert later["heard"] == 0  # the clock was set back


def test_what_waited_in_the_first_version_is_reported_at_once() -> None:
    state = from_json({**FIRST, "alarm_due": "2026-01-01T00:00:25+00:00"}, at(20))
    assert [(entry.heard, entry.due, entry.alarms) for entry in state.ledger][-2:] == [
        (at(20).steady,) * 2 + (True,)
    ] * 2
    found = events(state, 20, Elapsed())
    assert [(event.type, event.sensor, event.source, event.at) for event in found] == [
        (_E.ALARM, 44, "sensor", NOW),
        (_E.ALARM, None, "panel", at(20).wall),
    ]
    assert [event.guid for event in found] == [GUID, GUID]


def test_an_arming_that_was_read_is_stored_as_no_alarm() -> None:
    state = after((0, arm(1)), (9, StatusRead(HostStatus(ArmCode.DISARMED, ""), at(9).steady)))
    assert [entry["alarms"] for entry in json.loads(json.dumps(to_json(state, at(9))))["ledger"]] == [False, False]
