"""History, relays, flags, host info and discovery on the wire, both ways."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.g90 import GUID, NEW_YEAR

from bridge.common.errors import BridgeError
from bridge.g90.wire import answers, commands
from bridge.g90.wire.answers import AlertFlag, Page, ProbeAnswer, TruncatedAnswer
from bridge.g90.wire.commands import CommandRefused, SensorRecord
from bridge.g90.wire.constants import AlertType, Source
from bridge.g90.wire.events import Alert, Form
from bridge.g90.wire.frames import MessageError

RECORDS: list[list[object]] = [
    [3, 9, 1, 254, "Kitchen smoke", NEW_YEAR + 60, ""],
    [2, 4, 0, 0, "", NEW_YEAR, ""],
    [1, 0, 0, 0, "", NEW_YEAR - 5, ""],
]
HISTORY = (
    b'ISTART[200,[[3,1,3],[3,9,1,254,"Kitchen smoke",1767225660,""],[2,4,0,0,"",1767225600,""],'
    b'[1,0,0,0,"",1767225595,""]]]IEND\0'
)


def history(kind: int, event: int, **more: object) -> Alert:
    fields = {"source": 0, "time": NEW_YEAR, **more}
    return Alert(form=Form.HISTORY, type=kind, event=event, **fields)  # type: ignore[arg-type]


def test_a_page_of_history_both_ways() -> None:
    data = commands.answer_data(commands.GET_HISTORY, commands.unwrap(HISTORY))
    assert data is not None
    page = answers.page(data)
    assert (page.total, page.first) == (3, 1)
    alerts = [answers.history_record(record) for record in page.records]
    assert alerts == [
        history(AlertType.ALARM, 9, source=Source.SENSOR, state=254, name="Kitchen smoke", time=NEW_YEAR + 60),
        history(AlertType.STATE_CHANGE, 4),
        history(AlertType.PANEL_SOS, 0, time=NEW_YEAR - 5),
    ]
    assert [answers.history_data(alert) for alert in alerts] == RECORDS
    records: list[object] = [answers.history_data(alert) for alert in alerts]
    assert commands.local_response(commands.GET_HISTORY, answers.page_data(records, 1, 10)) == HISTORY


@pytest.mark.parametrize(
    ("kind", "source", "written"),
    [(AlertType.ALARM, None, 0), (AlertType.ALARM, 1, 1), (AlertType.PANEL_SOS, None, 0), (AlertType.PANEL_SOS, 1, 0)],
)
def test_the_source_of_a_record_is_the_panel_where_there_is_none(
    kind: AlertType, source: int | None, written: int
) -> None:
    assert answers.history_data(history(kind, 9, source=source))[2] == written


def test_a_page_is_asked_for_by_first_and_last() -> None:
    assert answers.page_request(1) == [1, 10]
    assert answers.page_request(11, 5) == [11, 15]
    request = commands.local_request(commands.GET_HISTORY, answers.page_request(1, 5))
    assert request == b"ISTART[200,200,[200,[1,5]]]IEND\0"


def test_an_empty_answer_is_the_end_a_short_page_is_cut_off() -> None:
    assert answers.page([]) == Page(0, 1, ())
    assert answers.page([[3, 4, 0]]) == Page(3, 4, ())
    with pytest.raises(TruncatedAnswer):
        answers.page([[3, 1, 3], RECORDS[0]])
    wrong: list[list[object]] = [[[3, 1]], ["x"], [[-1, 1, 0]], [{}]]
    for data in wrong:
        with pytest.raises(CommandRefused):
            answers.page(data)


@pytest.mark.parametrize("record", [[], None, "x", [1, 2], ["a", 1, 1, 1, "n", 3], [3, 9, 1, 254, "n", "now"]])
def test_a_record_that_cannot_be_read_keeps_its_place(record: object) -> None:
    assert answers.history_record(record) == Alert(form=Form.HISTORY, type=0, event=0)


def test_relays_and_switching_them() -> None:
    record = ["Strip", 12, 0, 128, 0, 0, 1, 0, 0, 16, 2, 0, ""]
    relay = commands.sensor_record(record)
    assert relay == SensorRecord(12, "Strip", 128, nodes=2, flags=1)
    assert answers.channels(relay) == ((1, "Strip#1"), (2, "Strip#2"))
    assert answers.channels(SensorRecord(1, "Lamp", 128)) == ((1, "Lamp"),)
    request = commands.local_request(commands.SWITCH_RELAY, answers.switch_request(12, 2, on=False))
    assert request == b"ISTART[137,137,[137,[12,1,1]]]IEND\0"
    assert answers.switched([12, 1, 1]) == (12, 2, False)
    with pytest.raises(MessageError):
        answers.switched([12, 2, 0])


@given(st.integers(0, 999), st.integers(1, 16), st.booleans())
def test_any_switch_command_is_read_as_it_was_built(index: int, channel: int, on: bool) -> None:  # noqa: FBT001
    assert answers.switched(answers.switch_request(index, channel, on=on)) == (index, channel, on)


def test_alert_flags() -> None:
    flags = answers.alert_flags([AlertFlag.DOOR_OPEN | AlertFlag.AC_POWER_LOST | 2048])
    assert AlertFlag.DOOR_OPEN in flags
    assert AlertFlag.DOOR_CLOSE not in flags
    assert int(flags) == 128 + 1 + 2048
    wrong: list[list[object]] = [[], ["1"], [-1]]
    for data in wrong:
        with pytest.raises(CommandRefused):
            answers.alert_flags(data)


def test_host_info_has_the_status_of_both_radios() -> None:
    info = commands.host_info([GUID, "G90B", "1.2", "1.1", "206", "207", 3, 2, 0, 2, "4100", 70, 90])
    assert (info.firmware, info.gsm_status, info.wifi_status) == ("206/207", 3, 2)
    assert (info.battery_mv, info.gsm_signal, info.wifi_signal) == (4100, 70, 90)


def test_discovery() -> None:
    assert answers.probe(GUID) == b"IWTAC_PROBE_DEVICE,GB7F20C14D05A91\0"
    datagram = b"IWTAC_PROBE_DEVICE_ACK,G90B,1.2,1.1,206,207,3,2,3,,,70,90\0"
    assert answers.probe_answer(datagram) == ProbeAnswer("G90B", "206/207", "3", "2")
    for wrong in (b"", b"x\0", b"IWTAC_PROBE_DEVICE_ACK,1,2\0"):
        with pytest.raises(MessageError):
            answers.probe_answer(wrong)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_an_error(datagram: bytes) -> None:
    with contextlib.suppress(BridgeError):
        answers.probe_answer(datagram)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=14) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=30,
)


@given(st.lists(JSON, max_size=14))
def test_any_data_is_an_answer_or_an_error(data: list[object]) -> None:
    for read in (answers.page, answers.alert_flags, answers.switched, commands.host_info, commands.sensor_record):
        with contextlib.suppress(BridgeError):
            read(data)
    answers.history_record(data)


@given(
    st.lists(st.tuples(*[st.integers(0, 255)] * 4, st.text(max_size=9), st.integers(1, 2**32 - 1)), max_size=30),
    st.integers(1, 40),
)
def test_any_history_is_read_as_it_was_written(records: list[tuple[int, int, int, int, str, int]], first: int) -> None:
    written: list[object] = [[*record, ""] for record in records]
    data = json.loads(json.dumps(answers.page_data(written, first, first + 9)))
    page = answers.page(data)
    assert list(page.records) == written[first - 1 : first + 9]
    for record in page.records:
        alert = answers.history_record(record)
        again = answers.history_record(answers.history_data(alert))
        assert (again.type, again.event, again.state, again.time) == (alert.type, alert.event, alert.state, alert.time)
