"""Numbers and names of the protocol, and single values at their limits."""

from __future__ import annotations

from enum import IntEnum

import pytest
from support.g90 import GUID, NEW_YEAR, NOW

from bridge.common.errors import FieldError
from bridge.g90.wire.answers import TruncatedAnswer, page
from bridge.g90.wire.commands import (
    CommandRefused,
    HostInfo,
    SensorRecord,
    answer_data,
    expand,
    host_info,
    host_status,
    local_request,
    local_response,
    point_datagram,
    sensor_record,
    unwrap,
)
from bridge.g90.wire.constants import (
    RFID_ACTIONS,
    SENSOR_TYPE_NAMES,
    AlertType,
    ArmCode,
    Direction,
    FrameCommand,
    InfraredCode,
    NoticeKind,
    SensorCode,
    SensorType,
    Source,
    StateCode,
    source_name,
    type_name,
)
from bridge.g90.wire.events import Alert, EventType, Form, Notice, PanelEvent
from bridge.g90.wire.frames import MessageError, basic, versioned
from bridge.g90.wire.messages import is_guid
from bridge.g90.wire.reports import build_notification, build_status, load_json, parse_notification

NUMBERS: dict[type[IntEnum], list[int]] = {
    Direction: [0x00, 0x10, 0x20, 0x30, 0x50, 0xD0],
    FrameCommand: [0x01, 0x21, 0x22, 0x29, 0x41, 0x63],
    AlertType: [1, 2, 3, 4],
    NoticeKind: [1, 4, 5, 6, 8],
    ArmCode: [1, 2, 3, 4],
    StateCode: [1, 2, 3, 4, 5, 6, 7, 8],
    Source: [0, 1, 3, 8, 10, 11, 12, 15],
    SensorType: [*range(1, 16), 126],
    SensorCode: [0, 1, 2, 3, 4, 254],
    InfraredCode: [0, 1, 2],
}
RECORD = ["Hall", 7, 0, 8, 0, 0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("kind", NUMBERS, ids=lambda kind: kind.__name__)
def test_the_numbers_of_the_protocol(kind: type[IntEnum]) -> None:
    assert [int(each) for each in kind] == NUMBERS[kind]


def test_types_and_sources_have_names() -> None:
    assert [type_name(kind) for kind in (None, 1, 4, 126)] == [None, "door", "smoke", "wired"]
    assert [type_name(kind) for kind in (16, 127, 128, 129)] == ["type_16", "type_127", "output", "output"]
    assert [source_name(source) for source in (None, 0, 15, 16)] == [None, "panel", "fingerprint", "source_16"]
    assert len(SENSOR_TYPE_NAMES) == 17
    assert {0: "arm_away", 1: "arm_home", 2: "disarm"} | {6 + n: f"card_{n}" for n in range(5)} == RFID_ACTIONS


def test_an_event_as_json_has_what_is_known() -> None:
    event = PanelEvent(guid=GUID, type=EventType.ALARM, at=NOW)
    assert event.as_json() == {"type": "alarm", "at": NOW.isoformat()}
    known = {
        "sensor": 0,
        "name": "Hall",
        "sensor_type": "motion",
        "source": "infrared",
        "action": "tamper",
        "panel_time": NEW_YEAR,
    }
    event = PanelEvent(guid=GUID, type=EventType.ALARM, at=NOW, **known)  # type: ignore[arg-type]
    assert event.as_json() == {"type": "alarm", **known, "at": NOW.isoformat()}


@pytest.mark.parametrize(
    ("time", "kept"), [(0, None), (1, 1), ((1 << 32) - 1, (1 << 32) - 1), (1 << 32, None), (-1, None)]
)
def test_a_time_that_no_clock_has_is_left_out(time: int, kept: int | None) -> None:
    report = parse_notification(b'[208,[3,9,1,254,"Hall","",%d,0,[""]]]\0' % time)
    assert isinstance(report, Alert)
    assert report.time == kept


@pytest.mark.parametrize("index", [-1, 1 << 16])
def test_an_index_that_no_sensor_has_is_an_error(index: int) -> None:
    with pytest.raises(MessageError):
        parse_notification(b'[170,[4,[%d,"Hall",1]]]\0' % index)


def test_names_hold_control_characters_and_half_a_character() -> None:
    assert load_json(b'["a\x07b\xff"]') == ["a\x07b\ufffd"]
    with pytest.raises(MessageError, match="JSON"):
        load_json(b"[" * 100_000)


@pytest.mark.parametrize(
    ("report", "text"),
    [
        (Notice(kind=NoticeKind.ARM_DISARM, value=3), b"[170,[1,[3]]]\0"),
        (Notice(kind=NoticeKind.SENSOR_CHANGE, sensor=7, name="", value=1), b'[170,[4,[7,"",1]]]\0'),
        (Notice(kind=NoticeKind.SENSOR_ACTIVITY, sensor=0, name="K\u00f6k"), '[170,[5,[0,"K\u00f6k"]]]\0'.encode()),
        (Notice(kind=NoticeKind.FIRMWARE_UPDATING), b"[170,[8,[]]]\0"),
        (Alert(form=Form.ALERT, type=3, event=9, state=254), b'[208,[3,9,0,254,"","",0,0,[""]]]\0'),
        (
            Alert(form=Form.ALERT, type=3, event=9, source=1, state=254, name="Hall", guid=GUID, time=NEW_YEAR),
            b'[208,[3,9,1,254,"Hall","%b",%d,0,[""]]]\0' % (GUID.encode(), NEW_YEAR),
        ),
    ],
)
def test_a_report_as_json(report: Notice | Alert, text: bytes) -> None:
    assert build_notification(report) == text


# Commands


def test_a_command_and_its_answer_over_udp() -> None:
    assert local_request(100, None) == b'ISTART[100,100,""]IEND\0'
    assert local_request(101, [1, "x"]) == b'ISTART[101,101,[101,[1,"x"]]]IEND\0'
    assert local_response(102, []) == b"ISTARTIEND\0"
    assert local_response(102, ["K\u00f6k"]) == 'ISTART[102,["K\u00f6k"]]IEND\0'.encode()
    assert unwrap(b"ISTARTxIEND\0") == b"x"
    for cut in (b"ISTARTx", b"xIEND\0"):
        with pytest.raises(MessageError):
            unwrap(cut)


def test_an_answer_is_data_another_commands_or_a_refusal() -> None:
    assert answer_data(100, b"") == []
    assert answer_data(100, b"[100,[1]]") == [1]
    assert answer_data(100, b"[101,[1]]") is None
    assert answer_data(100, b"[100]") == []
    assert answer_data(100, b"[101]") is None
    for refusal in (b"fail", b"error42"):
        with pytest.raises(CommandRefused):
            answer_data(100, refusal)
    with pytest.raises(MessageError):
        answer_data(100, b"[100,1]")


def test_a_host_info_has_thirteen_fields() -> None:
    fields: list[object] = [GUID, "TSV018", "1.2", "1.1", "206", "206", 0, 0, 0, 0, "4100", 70, "9" * 10]
    assert host_info(fields) == HostInfo(GUID, "TSV018", "206/206", 4100, 70, None, 0, 0)
    with pytest.raises(CommandRefused):
        host_info(fields[:-1])


@pytest.mark.parametrize("state", [0, 5, "1"])
def test_a_status_that_is_none_is_refused(state: object) -> None:
    assert host_status([4, "", "TSV018"]).arm == ArmCode.ALARMED
    with pytest.raises(CommandRefused):
        host_status([state, "", "TSV018"])


def test_a_page_of_sensors() -> None:
    found = page([[9, 1, 1], RECORD])
    assert (found.total, found.first, found.records) == (9, 1, (RECORD,))
    assert sensor_record(RECORD) == SensorRecord(7, "Hall", 8, nodes=1, flags=0)
    with pytest.raises(TruncatedAnswer):
        page([[9, 1, 2], RECORD])
    for wrong in (RECORD[:10], ["Hall", -1, *RECORD[2:]]):
        with pytest.raises(CommandRefused):
            sensor_record(wrong)


def test_a_sensor_with_nodes_is_several() -> None:
    assert expand(SensorRecord(7, "Hall", 8, 1)) == (SensorRecord(7, "Hall", 8, 1),)
    assert [each.name for each in expand(SensorRecord(7, "Hall", 8, 2))] == ["Hall#1", "Hall#2"]


def test_a_panel_is_pointed_at_an_address() -> None:
    assert point_datagram("192.0.2.1", 5678) == b'ISTART[0,100,"AT^IWT=1,78=192.0.2.1&192.0.2.1&5678,IWT"]IEND\0'
    with pytest.raises(FieldError, match="address"):
        point_datagram("panel.example", 5678)


@pytest.mark.parametrize("guid", ["", "GB 1", "a/b", "+", "x" * 200])
def test_a_guid_that_cannot_be_one(guid: str) -> None:
    assert is_guid(GUID)
    assert not is_guid(guid)


def test_a_status_without_source_and_time_has_zeros() -> None:
    payload = build_status(Alert(form=Form.STATUS, type=AlertType.SENSOR_ACTIVITY, event=9, state=1))
    assert payload[:4] == bytes((4, 9, 0, 1))
    assert payload[36:40] == bytes(4)
    payload = build_status(Alert(form=Form.STATUS, type=AlertType.ALARM, event=9, sensor_type=4, source=8, state=254))
    assert payload[:4] == bytes((3, 9, 4, 254))


def test_a_frame_may_be_empty() -> None:
    assert basic(0x01, 0x10, 0x20) == bytes((0x01, 0x10, 0, 0x20, 8, 0, 0, 0))
    assert versioned(0x01, 0x10, 0x20) == bytes((0x01, 0x10, 0, 0x20, 12, 0, 0, 0, 1, 0, 0, 0))
