"""The reducer: what reports mean, which of them are one event, and what answers of the panel add to them."""

# ruff: noqa: ANN401 - settings, peers and parsed arguments of any type go through here
from __future__ import annotations

import itertools
import json
from datetime import timedelta
from typing import Any

import pytest
from support.g90 import GUID, NEW_YEAR, NOW, alert

from bridge.g90.state.model import Elapsed, Now, Options, PanelState, SensorsRead
from bridge.g90.state.reducer import reduce
from bridge.g90.state.storage import from_json, to_json
from bridge.g90.wire.commands import SensorRecord
from bridge.g90.wire.constants import AlertType, NoticeKind, SensorType, Source
from bridge.g90.wire.events import Alert, Form, Notice, PanelEvent, Report
from bridge.g90.wire.frames import MessageError

START = PanelState(guid=GUID)
A, S, C = AlertType.ALARM, AlertType.SENSOR_ACTIVITY, AlertType.STATE_CHANGE
ALERT, STATUS = Form.ALERT, Form.STATUS
SENSORS = (
    SensorRecord(1, "Front door", SensorType.DOOR),
    SensorRecord(2, "Hall", SensorType.MOTION),
    SensorRecord(5, "Panic", SensorType.SOS_BUTTON),
    SensorRecord(9, "Kitchen smoke", SensorType.SMOKE),
)


def at(seconds: float) -> Now:
    """Seconds after the tests' new year, by both clocks."""
    return Now(1000.0 + seconds, NOW + timedelta(seconds=seconds))


def stored(state: PanelState, now: Now = at(0)) -> PanelState:  # noqa: B008 - a frozen value
    """Return what a restart at `now` finds."""
    return from_json(json.loads(json.dumps(to_json(state, now))), now)


LISTED = reduce(START, SensorsRead(SENSORS), at(0)).state


def play(state: PanelState, *reports: Report, apart: float = 0.1) -> tuple[PanelState, list[PanelEvent]]:
    """Take reports one after the other, then let five seconds pass."""
    told: list[PanelEvent] = []
    for number, report in enumerate(reports):
        step = reduce(state, report, at(number * apart))
        state = step.state
        told += step.events
    step = reduce(state, Elapsed(), at(len(reports) * apart + 5))
    return step.state, [*told, *step.events]


def types(events: list[PanelEvent]) -> list[str]:
    return [event.type.value for event in events]


def activity(form: Form, index: int, state: int, source: int = Source.SENSOR, **more: Any) -> Alert:
    return alert(form, S, index, state=state, source=source, **more)


def smoke(form: Form, **more: Any) -> Alert:
    told = {"source": Source.SENSOR} if form is ALERT else {"sensor_type": SensorType.SMOKE}
    return alert(form, A, 9, state=254, name="Kitchen smoke", **told, **more)


def arm(value: int) -> Notice:
    return Notice(kind=NoticeKind.ARM_DISARM, value=value)


@pytest.mark.parametrize(
    ("report", "told", "sensor", "action"),
    [
        (alert(STATUS, AlertType.PANEL_SOS, 0), "sos", None, None),
        (alert(ALERT, AlertType.PANEL_SOS, 3, source=0), "sos", None, None),
        (alert(ALERT, A, 4, source=Source.REMOTE, state=3), "sos", 4, None),
        (alert(STATUS, A, 4, sensor_type=SensorType.REMOTE, state=254), "sos", 4, None),
        (alert(STATUS, A, 5, sensor_type=SensorType.SOS_BUTTON, state=254), "sos", 5, None),
        (alert(ALERT, A, 5, source=Source.SENSOR, state=254), "sos", 5, None),
        (activity(ALERT, 4, 3, Source.REMOTE), "sos", 4, None),
        (alert(STATUS, A, 5, sensor_type=SensorType.SOS_BUTTON, state=3), "tamper", 5, None),
        (alert(ALERT, A, 5, source=Source.SENSOR, state=4), "low_battery", 5, None),
        (smoke(ALERT), "alarm", 9, None),
        (smoke(STATUS), "alarm", 9, None),
        (alert(ALERT, A, 9, source=Source.SENSOR, state=3), "tamper", 9, None),
        (alert(ALERT, A, 9, source=Source.TAMPER, state=0), "tamper", 9, None),
        (alert(ALERT, A, 2, source=Source.INFRARED, state=1), "tamper", 2, None),
        (alert(STATUS, A, 2, sensor_type=SensorType.MOTION, state=1), "tamper", 2, None),
        (alert(STATUS, A, 2, sensor_type=SensorType.MOTION, state=0), "alarm", 2, None),
        (alert(ALERT, A, 2, source=Source.INFRARED, state=2), "low_battery", 2, None),
        (activity(STATUS, 2, 0, Source.INFRARED), "sensor_activity", 2, None),
        (activity(STATUS, 2, 1, Source.INFRARED), "tamper", 2, None),
        (activity(STATUS, 2, 2, Source.INFRARED), "low_battery", 2, None),
        (activity(STATUS, 1, 1), "door_opened", 1, None),
        (activity(STATUS, 1, 0), "door_closed", 1, None),
        (activity(STATUS, 1, 3), "tamper", 1, None),
        (activity(STATUS, 1, 4), "low_battery", 1, None),
        (activity(STATUS, 9, 254), "alarm", 9, None),
        (activity(STATUS, 12, 0, Source.DOORBELL), "doorbell", 12, None),
        (activity(STATUS, 12, 1, Source.DOORBELL), "doorbell", 12, None),
        (activity(STATUS, 4, 0, Source.REMOTE), "remote_button", 4, "arm_away"),
        (activity(STATUS, 4, 2, Source.REMOTE), "remote_button", 4, "disarm"),
        (activity(STATUS, 11, 1, Source.RFID), "rfid", 11, "arm_home"),
        (activity(STATUS, 11, 5, Source.RFID), "low_battery", 11, None),
        (activity(STATUS, 11, 10, Source.RFID), "rfid", 11, "card_4"),
        (alert(STATUS, C, 1), "ac_power_lost", None, None),
        (alert(STATUS, C, 2), "ac_power_restored", None, None),
        (alert(STATUS, C, 3), "disarmed", None, None),
        (alert(ALERT, C, 4, source=0), "armed_away", None, None),
        (alert(STATUS, C, 5), "armed_home", None, None),
        (alert(STATUS, C, 6), "panel_battery_low", None, None),
        (alert(STATUS, C, 7), "wifi_connected", None, None),
        (alert(STATUS, C, 8), "wifi_disconnected", None, None),
        (arm(1), "armed_away", None, None),
        (arm(2), "armed_home", None, None),
        (arm(3), "disarmed", None, None),
        (Notice(kind=NoticeKind.SENSOR_CHANGE, sensor=3, name="New", value=1), "sensor_changed", 3, "added"),
        (Notice(kind=NoticeKind.SENSOR_ACTIVITY, sensor=2, name="Hall"), "sensor_activity", 2, None),
        (Notice(kind=NoticeKind.DOOR_OPEN_WHEN_ARMING, sensor=1, name="D"), "door_open_when_arming", 1, None),
    ],
)
def test_what_a_report_means(report: Report, told: str, sensor: int | None, action: str | None) -> None:
    _, events = play(LISTED, report)
    assert [(e.type.value, e.sensor, e.action) for e in events] == [(told, sensor, action)]


@pytest.mark.parametrize(
    "report",
    [
        alert(STATUS, C, 99),
        alert(STATUS, AlertType(4), 1, source=Source.SENSOR, state=77),
        Alert(form=ALERT, type=9, event=1),
        arm(9),
        Notice(kind=7),
    ],
)
def test_what_has_no_known_meaning_is_an_error_of_that_message(report: Report) -> None:
    with pytest.raises(MessageError):
        reduce(START, report, at(0))


@pytest.mark.parametrize("order", list(itertools.permutations([ALERT, STATUS])))
@pytest.mark.parametrize("begin", [START, LISTED])
def test_an_alarm_told_in_two_forms_is_one_event_that_knows_the_type(order: list[Form], begin: PanelState) -> None:
    _, events = play(begin, *(smoke(form) for form in order))
    assert [(e.type.value, e.sensor_type, e.name) for e in events] == [("alarm", "smoke", "Kitchen smoke")]


def test_an_alarm_whose_type_nothing_tells_is_told_after_two_seconds_also_over_a_restart() -> None:
    step = reduce(START, smoke(ALERT), at(0))
    assert step.events == ()
    assert step.state.state == "triggered"
    assert step.state.due == at(2).steady
    again = stored(step.state)
    assert reduce(again, Elapsed(), at(1)).events == ()
    (event,) = reduce(again, Elapsed(), at(2)).events
    assert (event.type.value, event.sensor, event.sensor_type) == ("alarm", 9, None)


def test_what_is_held_is_told_before_a_disarm_so_that_the_disarm_restores_it() -> None:
    _, events = play(START, smoke(ALERT), arm(3))
    assert types(events) == ["alarm", "disarmed"]


def test_all_orders_of_three_forms_of_a_door_opening_are_one_event() -> None:
    forms: list[Report] = [
        Notice(kind=NoticeKind.SENSOR_ACTIVITY, sensor=1, name="Front door"),
        activity(ALERT, 1, 1),
        activity(STATUS, 1, 1),
    ]
    for begin, order in itertools.product((START, LISTED), itertools.permutations(forms)):
        state, events = play(begin, *order)
        assert types(events) == ["door_opened"]
        assert state.sensors[1].on


@pytest.mark.parametrize(("sensor", "event"), [(1, "door_opened"), (2, "sensor_activity"), (44, "sensor_activity")])
def test_a_notice_alone_is_an_opening_where_the_sensor_is_a_door(sensor: int, event: str) -> None:
    state, events = play(LISTED, Notice(kind=NoticeKind.SENSOR_ACTIVITY, sensor=sensor, name="It"))
    assert types(events) == [event]
    assert state.sensors[sensor].on


def test_whole_sequences_told_twice_one_after_the_other_or_interleaved() -> None:
    moves = [(1, NEW_YEAR), (0, NEW_YEAR), (1, NEW_YEAR + 1), (0, NEW_YEAR + 1)]
    one = [activity(ALERT, 1, state, time=time) for state, time in moves]
    two = [activity(STATUS, 1, state, time=time) for state, time in moves]
    pairs = [report for pair in zip(one, two, strict=True) for report in pair]
    for order in (one + two, two + one, pairs, one[:2] + two[:3] + one[2:] + two[3:]):
        state, events = play(LISTED, *order)
        assert types(events) == ["door_opened", "door_closed"] * 2
        assert not state.sensors[1].on


def test_one_form_alone_tells_what_happened_within_a_second_and_repeats_nothing() -> None:
    opened, closed = activity(STATUS, 1, 1), activity(STATUS, 1, 0)
    state, events = play(LISTED, opened, closed, opened)
    assert types(events) == ["door_opened", "door_closed", "door_opened"]
    assert state.sensors[1].on
    assert types(play(LISTED, opened, opened)[1]) == ["door_opened"]


def test_arming_and_disarming_quickly_in_all_forms_is_told_as_often_as_it_happened() -> None:
    reports: list[Report] = []
    for step, (code, notice) in enumerate([(4, 1), (3, 3), (4, 1), (3, 3)]):
        reports += [arm(notice), alert(STATUS, C, code, time=NEW_YEAR + 3 * step)]
        reports += [alert(ALERT, C, code, time=NEW_YEAR + 3 * step)]
    state, events = play(START, *reports, apart=1.0)
    assert types(events) == ["armed_away", "disarmed"] * 2
    assert state.state == "disarmed"


def test_a_late_second_form_does_not_trigger_again_after_the_disarm() -> None:
    state, events = play(LISTED, smoke(ALERT), arm(3), smoke(STATUS))
    assert types(events) == ["alarm", "disarmed"]
    assert state.state == "disarmed"


def test_two_forms_with_an_hour_between_their_times_are_two_events_however_close_they_come() -> None:
    _, events = play(LISTED, smoke(ALERT), smoke(STATUS, time=NEW_YEAR + 3600))
    assert types(events) == ["alarm", "alarm"]


def test_one_event_over_a_restart_is_one_event() -> None:
    step = reduce(LISTED, smoke(ALERT), at(0))
    restored = stored(step.state)
    assert restored == step.state
    assert reduce(restored, smoke(STATUS), at(300)).events == ()


@pytest.mark.parametrize("order", [(ALERT, STATUS), (STATUS, ALERT)])
def test_forms_a_second_apart_that_are_repeated_after_a_restart_are_one_event(order: tuple[Form, ...]) -> None:
    """The panel was not sure that we heard it."""
    reports = [smoke(form, time=NEW_YEAR + (form is STATUS)) for form in order]
    state, events = play(LISTED, *reports)
    restored = stored(state)
    assert restored == state
    _, again = play(restored, *reports, *reversed(reports))
    assert types(events + again) == ["alarm"]


@pytest.mark.parametrize("days", [-20000, -3, 5])
def test_what_is_repeated_after_our_clock_was_set_is_one_event(days: int) -> None:
    """Set while nobody looked, such as over a restart."""
    jump = timedelta(days=days)
    state = reduce(LISTED, smoke(STATUS, time=NEW_YEAR + 1), at(0)).state
    for index in (1, 2):
        state = reduce(state, activity(STATUS, index, 1, time=NEW_YEAR), Now(1300.0, NOW + jump)).state
    assert reduce(state, smoke(STATUS, time=NEW_YEAR + 1), Now(1300.0, NOW + jump)).events == ()
    assert reduce(state, smoke(ALERT), Now(1300.0, NOW + jump)).events == ()
    assert types(list(reduce(state, smoke(STATUS, time=NEW_YEAR + 5), Now(1300.0, NOW + jump)).events)) == ["alarm"]


def test_what_a_connection_held_back_is_nothing_new_after_what_came_later() -> None:
    opened, closed = activity(STATUS, 1, 1), activity(STATUS, 1, 0, time=NEW_YEAR + 5)
    assert types(play(LISTED, opened, closed, opened, closed)[1]) == ["door_opened", "door_closed"]


def test_alarmed_waits_for_its_reason_and_is_an_alarm_without_one_too() -> None:
    _, with_reason = play(LISTED, arm(4), smoke(STATUS))
    _, reason_first = play(LISTED, smoke(STATUS), arm(4))
    state, alone = play(LISTED, arm(4))
    assert types(with_reason) == types(reason_first) == types(alone) == ["alarm"]
    assert alone[0].sensor is None
    assert state.state == "triggered"
    _, disarmed = play(LISTED, arm(4), arm(3))
    assert types(disarmed) == ["alarm", "disarmed"]


@pytest.mark.parametrize(("notice", "state"), [(3, "disarmed"), (1, "armed_away"), (2, "armed_home")])
def test_triggered_stays_until_it_is_disarmed_or_armed(notice: int, state: str) -> None:
    after, _ = play(LISTED, smoke(STATUS), activity(STATUS, 1, 1))
    assert after.state == "triggered"
    assert after.sensors[9].on
    ended, _ = play(after, arm(notice))
    assert ended.state == state
    assert not ended.sensors[9].on
    assert ended.sensors[1].on


def test_motion_ends_by_itself_and_a_door_when_it_is_told_or_by_setting() -> None:
    state = reduce(LISTED, activity(STATUS, 2, 0, Source.INFRARED), at(0)).state
    state = reduce(state, activity(STATUS, 1, 1), at(0)).state
    assert (state.sensors[1].on, state.sensors[2].on) == (True, True)
    assert state.due == at(30).steady
    later = reduce(state, Elapsed(), at(30)).state
    assert (later.sensors[1].on, later.sensors[2].on) == (True, False)
    closing = Options(door_off=60)
    state = reduce(LISTED, activity(STATUS, 1, 1), at(0), closing).state
    assert not reduce(state, Elapsed(), at(60)).state.sensors[1].on


def test_flags_of_sensors_and_panel() -> None:
    state, _ = play(
        LISTED,
        activity(STATUS, 1, 3),
        activity(STATUS, 2, 2, Source.INFRARED),
        alert(STATUS, C, 1),
        alert(STATUS, C, 6),
        alert(STATUS, C, 8),
    )
    assert state.sensors[1].tamper
    assert state.sensors[2].battery_low
    assert (state.hardware.ac_power, state.hardware.battery_low, state.hardware.wifi) == (False, True, False)
    charging, _ = play(state, alert(STATUS, C, 2))
    assert (charging.hardware.ac_power, charging.hardware.battery_low) == (True, False)
    assert state.sensors[1].last_activity == NOW
    assert not play(state, arm(3))[0].sensors[1].tamper


def test_indices_that_somebody_makes_up_do_not_grow_the_state() -> None:
    state = LISTED
    for index in range(1200):
        state = reduce(state, activity(STATUS, index, 1), at(0)).state
    assert len(state.sensors) <= 1000
