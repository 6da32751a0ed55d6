"""Every example (PROTOCOL.md, Example messages) whole, byte by byte and glued, both ways; and arbitrary bytes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.g90 import (
    ARMED_AWAY,
    COMMAND_ARM_AWAY,
    COMMAND_STATUS,
    DISCOVERY,
    DISCOVERY_ANSWER,
    DOOR_OPENED,
    GUID,
    HELLO,
    HELLO_ANSWER,
    NEW_YEAR,
    NOTIFICATION,
    NOW,
    PING,
    SMOKE_ALARM,
    STREAM,
)

from bridge.g90.state.model import Now, PanelState
from bridge.g90.state.reducer import reduce
from bridge.g90.state.storage import from_json, to_json
from bridge.g90.wire import answers, commands, messages
from bridge.g90.wire.constants import AlertType, ArmCode
from bridge.g90.wire.events import Alert, Form, Notice
from bridge.g90.wire.frames import FrameBuffer, FrameError, MessageError
from bridge.g90.wire.messages import (
    CommandRequest,
    CommandResponse,
    Discovery,
    DiscoveryAnswer,
    FromPanel,
    Hello,
    HelloAck,
    HelloInfo,
    Ping,
)
from bridge.g90.wire.session import PanelSession, ReceivedMessage, Unreadable

MOMENT = Now(1000.0, NOW)
SMOKE = Alert(
    form=Form.STATUS, type=AlertType.ALARM, event=9, state=254, sensor_type=4, name="Kitchen smoke", time=NEW_YEAR
)
TOLD = Alert(
    form=Form.ALERT,
    type=AlertType.ALARM,
    event=9,
    source=1,
    state=254,
    name="Kitchen smoke",
    guid=GUID,
    time=NEW_YEAR,
)
MESSAGES: tuple[FromPanel, ...] = (
    Hello(GUID, "206"),
    Discovery(GUID, "206"),
    Ping(),
    Alert(form=Form.STATUS, type=AlertType.STATE_CHANGE, event=4, time=NEW_YEAR),
    Alert(
        form=Form.STATUS,
        type=AlertType.SENSOR_ACTIVITY,
        event=7,
        source=1,
        state=1,
        name="Front door",
        time=NEW_YEAR,
    ),
    SMOKE,
    TOLD,
)


def session() -> PanelSession:
    return PanelSession("192.0.2.10", 5678, lambda: NEW_YEAR)


def readings(session: PanelSession, pieces: list[bytes]) -> list[ReceivedMessage]:
    """Feed pieces; take what there is after each."""
    found = []
    for piece in pieces:
        session.feed(piece)
        while reading := session.read():
            found.append(reading)
    return found


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 5, 7, 100, 10_000])
def test_every_message_of_a_panel_in_any_pieces(size: int) -> None:
    found = readings(session(), cut(b"".join(STREAM), size))
    assert tuple(reading.message for reading in found) == MESSAGES
    assert tuple(reading.raw for reading in found) == STREAM
    answers = [reading.answer for reading in found]
    assert answers == [HELLO_ANSWER, DISCOVERY_ANSWER, PING, b"", b"", b"", b""]


@pytest.mark.parametrize("size", [1, 5, 10_000])
def test_every_message_of_a_cloud_in_any_pieces(size: int) -> None:
    buffer, found = FrameBuffer(), []
    for piece in cut(HELLO_ANSWER + DISCOVERY_ANSWER + PING + COMMAND_ARM_AWAY + COMMAND_STATUS, size):
        buffer.feed(piece)
        while frame := buffer.take():
            found.append(messages.parse_from_cloud(frame))
    assert found == [
        HelloAck(),
        HelloAck(),
        HelloInfo(5678),
        DiscoveryAnswer("192.0.2.10", 5678, NEW_YEAR),
        Ping(),
        CommandRequest(7, 101, b"[101,[1]]"),
        CommandRequest(6, 100, b""),
    ]


def test_the_bytes_that_we_build_are_those_of_the_page() -> None:
    assert messages.build_hello(Hello(GUID, "206")) == HELLO
    assert messages.build_hello(Discovery(GUID, "206")) == DISCOVERY
    assert messages.build_report(SMOKE, as_json=False) == SMOKE_ALARM
    assert messages.build_report(TOLD, as_json=True) == NOTIFICATION
    door = MESSAGES[4]
    assert isinstance(door, Alert)
    assert messages.build_report(door, as_json=False) == DOOR_OPENED
    state = MESSAGES[3]
    assert isinstance(state, Alert)
    assert messages.build_report(state, as_json=False) == ARMED_AWAY.replace(b"x" * 34, bytes(34))
    assert messages.build_command(CommandRequest(7, 101, b"[101,[1]]")) == COMMAND_ARM_AWAY
    assert messages.build_command(CommandRequest(6, 100, b"")) == COMMAND_STATUS


@pytest.mark.parametrize(
    "notice",
    [
        Notice(kind=1, value=3),
        Notice(kind=4, sensor=3, name="New", value=1),
        Notice(kind=5, sensor=0, name=""),
        Notice(kind=6, sensor=1, name="Garage ÅÄÖ"),
    ],
)
def test_notices_go_there_and_back(notice: Notice) -> None:
    (reading,) = readings(session(), [messages.build_report(notice, as_json=True)])
    assert reading.message == notice


def test_a_command_response_goes_there_and_back() -> None:
    response = CommandResponse(0x12345, 100, b'[100,[3,"","G90","206","206"]]')
    (reading,) = readings(session(), [messages.build_response(response)])
    assert reading.message == response
    twisted = messages.build_response(response).replace(b"\x45\x23\x01\x00", b"\x46\x23\x01\x00", 1)
    (reading,) = readings(session(), [twisted])
    assert isinstance(reading.message, Unreadable)


@pytest.mark.parametrize("length", [-1, 0, 7, 65537])
def test_a_length_that_cannot_be_ends_the_session(length: int) -> None:
    connection = session()
    connection.feed(PING + struct.pack("<BBBBi", 1, 16, 0, 0, length))
    assert connection.read() is not None
    with pytest.raises(FrameError, match=f"length {length} is"):
        connection.read()


@pytest.mark.parametrize(
    "frame",
    [
        bytes.fromhex("55 10 00 20 08 00 00 00"),
        bytes.fromhex("21 10 00 20 0c 00 00 00 01 00 00 00"),
        bytes.fromhex("21 10 00 20 0c 00 00 00 02 00 00 00"),
        bytes.fromhex("01 10 00 20 0e 00 00 00 01 00 00 00 41 42"),
        bytes.fromhex("01 00 00 20 0a 00 00 00 01 00"),
        HELLO.replace(GUID.encode(), b"B/+/#          "),
        NOTIFICATION.replace(b"[208,", b"[999,"),
        NOTIFICATION.replace(b",9,1,", b",-,1,"),
        NOTIFICATION.replace(b"Kitchen smoke", b"Kitchen smok\\"),
        NOTIFICATION.replace(b'"GB7F20C14D05A91"', b"12345678901234567"),
        struct.pack("<BBBBiHH", 0x22, 0x10, 0, 0x20, 12 + 60_000, 1, 0) + b"[" * 60_000,
        struct.pack("<BBBBiHH", 0x22, 0x10, 0, 0x20, 12 + 60_000, 1, 0) + b"9" * 60_000,
        bytes.fromhex("22 10 00 20 0c 00 00 00 01 00 00 00"),
    ],
)
def test_a_message_that_cannot_be_understood_is_skipped(frame: bytes) -> None:
    connection = session()
    first, second = readings(connection, [frame + PING])
    assert isinstance(first.message, Unreadable)
    assert first.answer == b""
    assert second.message == Ping()


def test_names_are_made_fit_to_be_shown() -> None:
    broken = SMOKE_ALARM.replace(b"Kitchen smoke", b"Kit\xff\n\x1b[31mmoke")
    (reading,) = readings(session(), [broken])
    assert isinstance(reading.message, Alert)
    assert reading.message.name == "Kit\ufffd\\n\\x1b[31mmoke"
    alone = NOTIFICATION.replace(b"Kitchen smoke", b"Kitchen\\ud800")
    (reading,) = readings(session(), [alone])
    assert isinstance(reading.message, Alert)
    assert reading.message.name.encode() == b"Kitchen\\ud800"


def test_the_guid_is_that_of_the_last_hello_else_of_the_first_alert() -> None:
    connection = session()
    readings(connection, [NOTIFICATION])
    assert connection.guid == GUID
    readings(connection, [HELLO.replace(b"A91", b"A92"), NOTIFICATION])
    assert connection.guid == "GB7F20C14D05A92"


_GARBAGE = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(STREAM),
    st.builds(
        lambda head, body: struct.pack("<BBBBiHH", *head, 12 + len(body), 1, 0) + body,
        st.tuples(
            st.sampled_from([0x01, 0x21, 0x22]),
            st.sampled_from([0x00, 0x10, 0x30]),
            st.just(0),
            st.sampled_from([0x00, 0x20]),
        ),
        st.one_of(
            st.binary(max_size=130),
            st.recursive(st.none() | st.integers() | st.text(max_size=5), st.lists, max_leaves=8)
            .map(repr)
            .map(str.encode),
            st.tuples(st.integers(0, 5), st.binary(min_size=107, max_size=107)).map(lambda t: bytes([t[0]]) + t[1]),
        ),
    ),
)


@settings(max_examples=300, deadline=None)
@given(chunks=st.lists(_GARBAGE, max_size=8), size=st.integers(1, 64))
def test_arbitrary_bytes_are_read_skipped_or_the_end_and_the_same_in_any_pieces(chunks: list[bytes], size: int) -> None:
    def outcome(pieces: list[bytes]) -> tuple[list[FromPanel | Unreadable], bool]:
        connection, found = session(), []
        try:
            for piece in pieces:
                connection.feed(piece)
                while reading := connection.read():
                    found.append(reading.message)
        except FrameError:
            return found, True
        return found, False

    data = b"".join(chunks)
    assert outcome([data]) == outcome(cut(data, size))
    state = PanelState(guid=GUID)
    for message in outcome([data])[0]:
        if isinstance(message, Alert | Notice):
            try:
                state = reduce(state, message, MOMENT).state
            except MessageError:
                continue
    assert from_json(to_json(state, MOMENT), MOMENT) == state


@settings(max_examples=300, deadline=None)
@given(text=st.one_of(st.binary(max_size=80), st.text(max_size=60).map(lambda t: t.encode("utf-8", "replace"))))
def test_arbitrary_answers_over_udp_are_data_or_an_error_that_is_ours(text: bytes) -> None:
    for datagram in (text, b"ISTART" + text + b"IEND\0", b"ISTART[102,[[1,1,1]," + text + b"]]IEND\0"):
        try:
            data = commands.answer_data(102, commands.unwrap(datagram))
            for read in (commands.host_status, commands.host_info, answers.page):
                read(data or [])
        except (MessageError, commands.CommandRefused):
            continue


def test_local_requests_and_answers_are_those_of_the_page() -> None:
    assert commands.local_request(100, None) == b'ISTART[100,100,""]IEND\0'
    assert commands.local_request(101, [1]) == b"ISTART[101,101,[101,[1]]]IEND\0"
    assert commands.local_request(102, [1, 10]) == b"ISTART[102,102,[102,[1,10]]]IEND\0"
    pointed = commands.point_datagram("192.0.2.10", 5678)
    assert pointed == b'ISTART[0,100,"AT^IWT=1,78=192.0.2.10&192.0.2.10&5678,IWT"]IEND\0'
    assert commands.answer_data(101, b"") == []
    assert commands.answer_data(100, b"[101,[1]]") is None
    for failure in (b"fail", b"error101,1", b"error\xff\x1b"):
        with pytest.raises(commands.CommandRefused):
            commands.answer_data(101, failure)


def test_what_a_panel_answers_is_read() -> None:
    status = commands.host_status([1, "", "G90B", "206", "206"])
    assert (status.arm, status.product) == (ArmCode.ARMED_AWAY, "G90B")
    info = commands.host_info([GUID, "G90B", "1.2", "1.1", "206", "205", 3, 3, 0, 2, "4100", 70, 90])
    assert (info.guid, info.firmware, info.battery_mv, info.gsm_signal, info.wifi_signal) == (
        GUID,
        "206/205",
        4100,
        70,
        90,
    )
    record = ["Rem\x07ote", 3, 0, 10, 0, 0, 33, 0, 0, 16, 2, 0, ""]
    page = answers.page([[12, 11, 1], record])
    sensor = commands.sensor_record(page.records[0])
    assert (page.total, page.first, sensor.type_name) == (12, 11, "remote")
    assert [node.name for node in commands.expand(sensor)] == ["Rem\\x07ote#1", "Rem\\x07ote#2"]
    with pytest.raises(answers.TruncatedAnswer):
        answers.page([[1, 1, 2], record])
