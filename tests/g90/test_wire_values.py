"""Numbers and names of the protocol, and single values at their limits."""

from __future__ import annotations

from enum import IntEnum, IntFlag

import pytest
from support.g90 import COMMAND_STATUS, DISCOVERY, DISCOVERY_ANSWER, GUID, HELLO, HELLO_ANSWER, NEW_YEAR, NOW, PING

from bridge.common.errors import FieldError
from bridge.g90.wire import answers, commands, constants, messages
from bridge.g90.wire.answers import AlertFlag, GsmStatus, SensorFlag, TruncatedAnswer, WifiStatus, page
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
from bridge.g90.wire.frames import Frame, FrameBuffer, FrameError, MessageError, basic, versioned
from bridge.g90.wire.messages import is_guid
from bridge.g90.wire.reports import build_notification, build_status, load_json, parse_notification
from bridge.g90.wire.session import PanelSession

NUMBERS: dict[type[IntEnum | IntFlag], list[int]] = {
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
    AlertFlag: [1 << bit for bit in range(10)],
    SensorFlag: [1 << bit for bit in range(7)],
    GsmStatus: [0, 1, 2, 3],
    WifiStatus: [0, 1, 2, 3],
}
RECORD = ["Hall", 7, 0, 8, 0, 0, 0, 0, 0, 0, 1]


def test_ports_and_codes_of_the_protocol() -> None:
    assert (constants.CLOUD_PORT, constants.LOCAL_PORT) == (5678, 12368)
    assert (answers.DISCOVERY_PORT, answers.DISCOVERY_ANSWER_PORT) == (12900, 12901)
    assert (commands.GET_STATUS, commands.SET_STATUS, commands.GET_SENSORS, commands.GET_HOST_INFO) == (
        100,
        101,
        102,
        206,
    )
    assert (commands.GET_ALERT_FLAGS, commands.SWITCH_RELAY, commands.GET_RELAYS, commands.GET_HISTORY) == (
        117,
        137,
        138,
        200,
    )
    assert constants.REMOTE_BUTTONS == {0: "arm_away", 1: "arm_home", 2: "disarm", 3: "sos"}
    assert constants.RFID_BATTERY_LOW == 5


@pytest.mark.parametrize("kind", NUMBERS, ids=lambda kind: kind.__name__)
def test_the_numbers_of_the_protocol(kind: type[IntEnum | IntFlag]) -> None:
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
    assert host_info([*fields, "more"]) == host_info(fields)
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


# What stands at a limit


@pytest.mark.parametrize(("index", "known"), [(-1, False), (0, True), (0xFFFF, True), (0x10000, False)])
def test_two_bytes_number_a_sensor(index: int, known: bool) -> None:  # noqa: FBT001
    record = ["Hall", index, *RECORD[2:]]
    notice = b'[170,[5,[%d,"Hall"]]]\0' % index
    if known:
        assert sensor_record(record).index == index
        assert parse_notification(notice) == Notice(kind=NoticeKind.SENSOR_ACTIVITY, sensor=index, name="Hall")
    else:
        with pytest.raises(CommandRefused):
            sensor_record(record)
        with pytest.raises(MessageError, match="out of range"):
            parse_notification(notice)


def test_optional_fields_of_a_sensor() -> None:
    assert sensor_record([*RECORD[:6], "1", *RECORD[7:10], "2"]) == SensorRecord(7, "Hall", 8, nodes=1, flags=None)
    assert SensorRecord(7, "Hall", 8).nodes == 1
    assert SensorRecord(7, "Hall", 8).type_name == "motion"
    assert len(expand(SensorRecord(7, "Hall", 8, 64))) == len(expand(SensorRecord(7, "Hall", 8, 65))) == 64
    assert len(answers.channels(SensorRecord(7, "Strip", 128, 16))) == 16
    assert len(answers.channels(SensorRecord(7, "Strip", 128, 17))) == 16


@pytest.mark.parametrize(
    ("time", "kept"), [(0, None), (1, 1), ((1 << 32) - 1, (1 << 32) - 1), (1 << 32, None), (-1, None)]
)
def test_a_time_of_the_history(time: int, kept: int | None) -> None:
    alert = answers.history_record([3, 9, 1, 254, "Hall", time, ""])
    assert (alert.time, alert.source, alert.state) == (kept, 1, 254)
    assert answers.history_data(alert) == [3, 9, 1, 254, "Hall", kept or 0, ""]


def test_a_word_of_flags_has_32_bits() -> None:
    assert answers.alert_flags([(1 << 32) - 1]) == (1 << 32) - 1
    assert answers.alert_flags([0, "more"]) == 0
    with pytest.raises(CommandRefused):
        answers.alert_flags([1 << 32])


@pytest.mark.parametrize(
    ("field", "number"), [("9" * 9, 999999999), ("9" * 10, None), ("", None), ("\u0663", None), (7, 7)]
)
def test_a_number_as_text_has_nine_digits(field: object, number: int | None) -> None:
    assert host_info([GUID, "", "", "", "", "", 0, 0, 0, 0, field, 0, 0]).battery_mv == number


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (100, "status"),
        (101, "arm or disarm"),
        (102, "sensor list"),
        (117, "alert flags"),
        (137, "switch relay"),
        (138, "relay list"),
        (200, "history"),
        (206, "panel information"),
        (999, "999"),
    ],
)
def test_a_refusal_names_the_command(code: int, name: str) -> None:
    with pytest.raises(CommandRefused, match=f'the command "{name}" failed'):
        answer_data(code, b"fail")


def test_a_page_may_say_more_than_it_must() -> None:
    found = page([[0, 0, 1, "more"], RECORD, RECORD])
    assert (found.total, found.first, found.records) == (0, 0, (RECORD,))
    assert page([[1, 1, 0], RECORD]).records == page([[1, 1, -1], RECORD]).records == ()
    for wrong in ([0, -1, 0], [-1, 0, 0]):
        with pytest.raises(CommandRefused):
            page([wrong])
    assert answers.page_data([1, 2, 3, 4], 2, 3) == [[4, 2, 2], 2, 3]


def test_a_probe_answer_may_have_more_fields() -> None:
    fields = "IWTAC_PROBE_DEVICE_ACK,G90B,1.2,1.1,206,207,3,2,3,,,70"
    assert answers.probe_answer(f"{fields},90,more".encode()).wifi_status == "2"
    with pytest.raises(MessageError):
        answers.probe_answer(fields.encode())


# Frames and messages


def frame(data: bytes) -> Frame:
    buffer = FrameBuffer()
    buffer.feed(data)
    assert len(buffer) == len(data)
    found = buffer.take()
    assert found is not None
    assert len(buffer) == 0
    return found


def test_what_is_held_of_a_connection_is_what_was_not_taken() -> None:
    buffer = FrameBuffer()
    assert len(buffer) == 0
    buffer.feed(PING + PING + PING[:5])
    assert buffer.take() is not None
    assert len(buffer) == 13
    assert buffer.take() is not None
    assert buffer.take() is None
    assert len(buffer) == 5


@pytest.mark.parametrize(("length", "fits"), [(7, False), (8, True), (64 * 1024, True), (64 * 1024 + 1, False)])
def test_the_length_of_a_frame(length: int, fits: bool) -> None:  # noqa: FBT001
    data = bytes((1, 0x10, 0, 0)) + length.to_bytes(4, "little") + bytes(max(length - 8, 0))
    if fits:
        assert frame(data).raw == data
    else:
        with pytest.raises(FrameError):
            frame(data)


def test_a_versioned_header_has_twelve_bytes_and_version_one() -> None:
    assert frame(versioned(0x29, 0x50, 0x10, b"x", 7)).versioned() == (7, b"x")
    assert frame(versioned(0x29, 0x50, 0x10)).versioned() == (0, b"")
    with pytest.raises(MessageError, match="11 bytes"):
        frame(basic(0x29, 0x50, 0x10, bytes(3))).versioned()
    with pytest.raises(MessageError, match="version 2"):
        frame(basic(0x29, 0x50, 0x10, bytes((2, 0, 0, 0)))).versioned()


def test_what_asks_for_an_answer_and_what_is_one() -> None:
    asking = (messages.Ping(), messages.Hello(GUID, ""), messages.Discovery(GUID, ""), Notice(kind=8))
    assert [messages.asks_for(each) for each in asking] == ["ping", "hello", "discovery", ""]
    ack, hello, info = (HELLO_ANSWER[:13], HELLO_ANSWER[13:26], HELLO_ANSWER[26:])
    answered = [
        messages.answered_by(frame(each)) for each in (PING, ack, hello, info, DISCOVERY_ANSWER, COMMAND_STATUS)
    ]
    assert answered == [
        ("ping", True), ("hello", False), ("hello", False), ("hello", True), ("discovery", True), ("", False),
    ]  # fmt: skip


def test_a_message_that_names_the_server_gets_our_address() -> None:
    ack, info = HELLO_ANSWER[:13], HELLO_ANSWER[26:]
    assert messages.readdressed(frame(info), "10.0.0.1", 80) == info[:12] + (80).to_bytes(4, "little")
    more = versioned(0x63, 0x20, 0x10, b"\x01\0\0\0more", 3)
    assert messages.readdressed(frame(more), "10.0.0.1", 80) == more[:12] + (80).to_bytes(4, "little") + b"more"
    theirs = frame(DISCOVERY_ANSWER + b"").raw
    ours = messages.readdressed(frame(theirs), "10.0.0.1", 80)
    assert ours == messages.answer_discovery("10.0.0.1", 80, NEW_YEAR)
    longer = versioned(0x01, 0xD0, 0x10, theirs[12:] + b"more")
    assert messages.readdressed(frame(longer), "10.0.0.1", 80)[12:] == ours[12:] + b"more"
    for other in (ack, PING, versioned(0x63, 0x20, 0x10, b"\x01\0\0"), versioned(0x01, 0xD0, 0x10, bytes(31))):
        assert messages.readdressed(frame(other), "10.0.0.1", 80) == other


def test_a_response_may_be_empty() -> None:
    payload = messages.build_response(messages.CommandResponse(7, 100, b""))[8:-1]
    assert messages.parse(frame(basic(0x01, 0, 0x20, payload))) == messages.CommandResponse(7, 100, b"")
    with pytest.raises(MessageError, match="15 bytes"):
        messages.parse(frame(basic(0x01, 0, 0x20, payload[:-1])))
    with pytest.raises(MessageError, match="sequences"):
        messages.parse(frame(basic(0x01, 0, 0x20, payload[:8] + b"\x08" + payload[9:])))


@pytest.mark.parametrize("fault", ["short", "kind", "type", "guid"])
def test_a_message_that_cannot_be_read_says_why(fault: str) -> None:
    faults = {
        "short": (versioned(0x21, 0x10, 0x20, bytes(39)), "39 bytes"),
        "kind": (versioned(0x77, 0x10, 0x20), "77/10/20"),
        "type": (versioned(0x21, 0x10, 0x20, b"\x09" + bytes(39)), "type 9"),
        "guid": (versioned(0x01, 0x10, 0x20, bytes(36)), "GUID"),
    }
    data, text = faults[fault]
    with pytest.raises(MessageError, match=text):
        messages.parse(frame(data))
    assert messages.parse(frame(versioned(0x21, 0x10, 0x20, b"\x02" + bytes(39)))) is not None


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (versioned(0x63, 0x20, 0x10, bytes(3)), "only 3 bytes"),
        (versioned(0x01, 0xD0, 0x10, bytes(31)), "only 31 bytes"),
        (versioned(0x29, 0x50, 0x10, bytes(9)), "only 9 bytes"),
        (versioned(0x77, 0x20, 0x10), "77/20"),
        (basic(0x63, 0x20, 0x10), "8 bytes"),
    ],
)
def test_a_message_of_a_cloud_that_cannot_be_read_says_why(data: bytes, text: str) -> None:
    with pytest.raises(MessageError, match=text):
        messages.parse_from_cloud(frame(data))


def named(name: bytes) -> str:
    message = messages.parse(frame(versioned(0x21, 0x10, 0x20, b"\x03\x09\x04\xfe" + name.ljust(32, b"\0") + bytes(4))))
    assert isinstance(message, Alert)
    return message.name


def test_a_name_of_32_bytes_may_end_in_half_a_character() -> None:
    long = "x" * 31 + "\u00f6"
    assert named(long.encode()[:32]) == "x" * 31
    assert named(("x" * 30 + "\u00f6").encode()) == "x" * 30 + "\u00f6"
    assert named("\u5ba2\u5385".encode("gbk")) == "\u5ba2\u5385"
    assert named(("\u5ba2" * 16).encode("gbk")) == "\u5ba2" * 16
    report = Alert(form=Form.STATUS, type=AlertType.ALARM, event=9, name=long)
    assert build_status(report)[4:36] == long.encode()[:32]


def test_only_the_longest_names_are_cut() -> None:
    assert named(b"x" * 30 + b"\xc3") == "x" * 30 + "\ufffd"


def test_what_a_session_answers_and_whose_it_is() -> None:
    session = PanelSession("192.0.2.10", 5678, lambda: NEW_YEAR)
    alarm = build_notification(Alert(form=Form.ALERT, type=3, event=9, guid="GB2", time=NEW_YEAR))
    session.feed(versioned(0x22, 0x10, 0x20, alarm))
    received = session.read()
    assert received is not None
    assert (received.answer, session.guid) == (b"", "GB2")
    session.feed(versioned(0x22, 0x10, 0x20, alarm.replace(b"GB2", b"GB3")) + HELLO + DISCOVERY + PING)
    session.read()
    assert session.guid == "GB2"
    assert [r.answer for r in iter(session.read, None)] == [HELLO_ANSWER, DISCOVERY_ANSWER, PING]
    assert session.guid == GUID
