# ruff: noqa: DTZ001 - the protocol's times are local and have no zone
"""Properties of reading and writing: round trips, and that nothing but `MalformedMessage` comes of any bytes."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.common.errors import FieldError
from bridge.common.models import Alarm, Secret
from bridge.sos_access.documents import LONGEST, DocumentBuffer
from bridge.sos_access.elements import NOT_PRINTABLE, WHITE_SPACE
from bridge.sos_access.messages import (
    AlarmRequest,
    AlarmResponse,
    NewAuthRequest,
    NewAuthResponse,
    PingRequest,
    PingResponse,
    parse_request,
)
from bridge.sos_access.prepare import prepare, transliterate
from bridge.sos_access.status import MalformedMessage

LETTERS = "".join(chr(code) for code in range(256) if not NOT_PRINTABLE.match(chr(code)))


def text(longest: int, shortest: int = 1) -> st.SearchStrategy[str]:
    drawn = st.text(LETTERS, min_size=shortest, max_size=longest)
    return drawn.filter(lambda value: value == value.strip(WHITE_SPACE))


def maybe(longest: int) -> st.SearchStrategy[str | None]:
    return st.none() | text(longest)


passwords = text(15, 15).map(Secret)
times = st.datetimes(min_value=datetime(1, 1, 1)).map(lambda t: t.replace(microsecond=t.microsecond // 1000 * 1000))
alarms = st.builds(
    AlarmRequest,
    event_code=text(25),
    transmitter_type=text(5, 5),
    transmitter_code=text(15),
    authentication=passwords,
    receiver=text(20),
    alarm_type=st.sampled_from(["AL", "RE", None]),
    transmitter_time=st.none() | times.map(lambda t: t.isoformat(" ", "milliseconds")),
    reference=maybe(50),
    transmitter_area=maybe(5),
    section=maybe(5),
    section_text=maybe(40),
    detector=maybe(5),
    detector_text=maybe(40),
    additional_info=maybe(2000),
    position=st.none() | st.from_regex(r"x[0-9]{7}y[0-9]{7}|N[0-9]{6}E[0-9]{7}", fullmatch=True),
)
links = [
    st.builds(
        kind, authentication=passwords, transmitter_code=text(15), transmitter_type=text(5, 5), reference=maybe(50)
    )
    for kind in (PingRequest, NewAuthRequest)
]
statuses = st.integers(-999_999_999, 999_999_999)
responses = [
    st.builds(
        kind,
        status=statuses,
        info=text(255, 0),
        arrival_time=st.none() | times,
        reference=maybe(50),
    )
    for kind in (AlarmResponse, PingResponse)
]
new_passwords = st.builds(
    NewAuthResponse,
    status=statuses,
    info=text(255, 0),
    arrival_time=st.none() | times,
    reference=maybe(50),
    new_authentication=passwords,
)
Message = AlarmRequest | PingRequest | NewAuthRequest | AlarmResponse | PingResponse | NewAuthResponse
messages: st.SearchStrategy[Message] = st.one_of(alarms, *links, *responses, new_passwords)


@given(messages)
def test_round_trip(message: Message) -> None:
    assert type(message).from_xml(message.to_xml()) == message


@given(messages, st.data())
def test_a_document_is_whole_however_it_is_cut(message: Message, data: st.DataObject) -> None:
    wire = message.to_xml()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    buffer = DocumentBuffer()
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        assert not buffer.complete
        buffer.feed(wire[start:end])
        if end == len(wire):
            break
    assert buffer.complete
    assert buffer.document == wire


mangled = st.builds(
    lambda wire, at, put: wire[: at % len(wire)] + put + wire[at % len(wire) + len(put) :],
    messages.map(lambda message: message.to_xml()),
    st.integers(0, 5000),
    st.binary(max_size=6)
    | st.sampled_from([b"<!--", b"]]>", b"<![CDATA[", b"&#0;", b"</", b"<?", b"/>", b"'", b"\x00"]),
)


@pytest.mark.parametrize(
    "read", [parse_request, AlarmResponse.from_xml, PingResponse.from_xml, NewAuthResponse.from_xml]
)
@given(st.binary(max_size=300) | mangled)
def test_any_bytes_are_read_or_malformed(read: object, data: bytes) -> None:
    assert callable(read)
    with suppress(MalformedMessage):
        read(data)


@given(st.binary(max_size=300) | mangled)
def test_bytes_one_by_one_mean_what_they_mean_at_once(data: bytes) -> None:
    def fed(pieces: list[bytes]) -> tuple[bool, bytes]:
        buffer = DocumentBuffer()
        try:
            for piece in pieces:
                buffer.feed(piece)
        except MalformedMessage:
            return False, b"malformed"
        return buffer.complete, buffer.document

    assert fed([data]) == fed([data[i : i + 1] for i in range(len(data))])


@pytest.mark.parametrize(
    "filling", [b"<!-- >", b"<a b='>", b"<![CDATA[ ]", b"<?a ?", b"<a>x</a>", b"]]", b"<<<", b"'\">"]
)
def test_a_hundred_thousand_characters_byte_by_byte_are_read_once(filling: bytes) -> None:
    """A byte costs the same wherever it stands, whatever construct it is in."""
    data = b"<alarmresponse>" + filling * (LONGEST // len(filling) + 1)
    first, last = (min(times) for times in zip(*(_feeding(data) for _ in range(3)), strict=True))
    assert last < 3 * first + 0.002


def test_a_document_has_a_hundred_thousand_characters_at_most() -> None:
    with pytest.raises(MalformedMessage, match="longer than 100000"):
        DocumentBuffer().feed(b"<a>" + b" " * LONGEST)


def _feeding(data: bytes) -> tuple[float, float]:
    """Return the seconds of processor time that the first and the last bytes take that a buffer accepts one by one."""
    buffer, times, step = DocumentBuffer(), list[float](), 5000
    for start in range(0, LONGEST - step, step):
        begun = time.process_time()
        try:
            for at in range(start, start + step):
                buffer.feed(data[at : at + 1])
        except MalformedMessage:  # nested too deep
            break
        times.append(time.process_time() - begun)
    return (times[0], times[-1]) if times else (0.0, 0.0)


@given(
    st.builds(
        Alarm,
        event_code=text(25),
        section_text=st.none() | st.text(max_size=60),
        detector_text=st.none() | st.text(max_size=60),
        additional_info=st.none()
        | st.text(max_size=2500)
        | st.lists(st.text(max_size=900), max_size=6)
        | st.dictionaries(st.text(max_size=20), st.none() | st.integers() | st.text(max_size=900), max_size=6)
        | st.sets(st.text(max_size=30)),
        transmitter_time=st.none() | times,
    )
)
def test_free_texts_always_end_up_fit_to_send(alarm: Alarm) -> None:
    fitted, _ = prepare(alarm)
    assert prepare(fitted) == (fitted, ())
    request = AlarmRequest(
        fitted.event_code,
        "SV300",
        "1",
        Secret("x" * 15),
        "42",
        section_text=fitted.section_text,
        detector_text=fitted.detector_text,
        additional_info=fitted.additional_info,
        transmitter_time=fitted.transmitter_time,
    )
    assert AlarmRequest.from_xml(request.to_xml()).section_text == fitted.section_text


@given(st.text())
def test_transliteration_leaves_only_what_may_be_sent(value: str) -> None:
    assert not NOT_PRINTABLE.search(transliterate(value))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from([name for name in Alarm.__dataclass_fields__ if name != "urgent"]), anything)
def test_any_json_is_fitted_or_a_field_error(field: str, value: object) -> None:
    with suppress(FieldError):
        fitted, _ = prepare(Alarm(**({"event_code": "BA"} | {field: value})))  # type: ignore[arg-type]
        assert isinstance(getattr(fitted, field), str | None)
