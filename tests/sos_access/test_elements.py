"""Every element with the lengths of its table, written and read (PROTOCOL.md, Alarm, Ping, New password)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from bridge.common.errors import FieldError
from bridge.common.models import Secret
from bridge.sos_access import elements
from bridge.sos_access.messages import AlarmRequest, AlarmResponse, NewAuthResponse, PingRequest
from bridge.sos_access.status import MalformedMessage, Status

CODES = {
    "reference": ("reference", 1, 50),
    "authentication": ("authentication", 15, 15),
    "receiver": ("receiver", 1, 20),
    "transmitter_type": ("transmittertype", 5, 5),
    "transmitter_code": ("transmittercode", 1, 15),
    "transmitter_area": ("transmitterarea", 1, 5),
    "event_code": ("eventcode", 1, 25),
    "section": ("section", 1, 5),
    "section_text": ("sectiontext", 1, 40),
    "detector": ("detector", 1, 5),
    "detector_text": ("detectortext", 1, 40),
    "additional_info": ("additionalinfo", 1, 2000),
}
"""Field, name in XML, shortest, longest."""
FORMATTED = {
    "transmitter_time": ("transmittertime", 23, 23, "2002-05-28 11:35:20.022"),
    "alarm_type": ("alarmtype", 2, 2, "AL"),
    "position": ("position", 15, 16, "N597295E0176288"),
}
MANDATORY = {"authentication", "receiver", "transmitter_type", "transmitter_code", "event_code"}
LENGTHS = [(field, *row) for field, row in CODES.items()] + [(field, *row[:3]) for field, row in FORMATTED.items()]


def alarm(**fields: object) -> AlarmRequest:
    whole: dict[str, Any] = {
        "event_code": "BA",
        "transmitter_type": "SV300",
        "transmitter_code": "1",
        "authentication": "p4ssw0rd-15-chr",
        "receiver": "R",
    }
    return AlarmRequest(**whole | fields)


def document(name: str, text: str) -> bytes:
    """Return an alarm whose element `name` holds `text`, written by hand."""
    held = {
        "authentication": "p4ssw0rd-15-chr",
        "receiver": "R",
        "transmittertype": "SV300",
        "transmittercode": "1",
        "eventcode": "BA",
        name: f"<pos>{text}</pos>" if name == "position" else text,
    }
    inside = "".join(f"<{each}>{value}</{each}>" for each, value in held.items())
    return f'<?xml version="1.0" encoding="ISO-8859-1"?>\n<alarmrequest>{inside}</alarmrequest>'.encode("iso-8859-1")


@pytest.mark.parametrize(("field", "name", "shortest", "longest"), [(field, *row) for field, row in CODES.items()])
def test_shortest_and_longest_text_is_sent_and_read(field: str, name: str, shortest: int, longest: int) -> None:
    for length in (shortest, longest):
        message = alarm(**{field: "x" * length})
        assert f"<{name}>{'x' * length}</{name}>".encode() in message.to_xml()
        assert AlarmRequest.from_xml(document(name, "x" * length)) == message


@pytest.mark.parametrize(("field", "name", "shortest", "longest"), LENGTHS)
def test_one_character_less_or_more_is_refused_with_the_limits(
    field: str, name: str, shortest: int, longest: int
) -> None:
    allowed = f"{shortest}" if shortest == longest else f"{shortest} to {longest}"
    for length in (shortest - 1, longest + 1):
        with pytest.raises(FieldError) as caught:
            alarm(**{field: "x" * length})
        assert (caught.value.field, caught.value.fault) == (
            field,
            f"has {length} characters; it must have {allowed}",
        )
        if length:
            with pytest.raises(MalformedMessage) as unread:
                AlarmRequest.from_xml(document(name, "x" * length))
            assert unread.value.reason == Status.WRONG_CONTENT


@pytest.mark.parametrize(("field", "name", "shortest", "longest", "text"), [(f, *row) for f, row in FORMATTED.items()])
def test_formatted_text_is_sent_and_read(field: str, name: str, shortest: int, longest: int, text: str) -> None:
    message = alarm(**{field: text})
    assert AlarmRequest.from_xml(document(name, text)) == message
    assert AlarmRequest.from_xml(message.to_xml()) == message


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("transmitter_time", "2002-05-28T11:35:20.022"),
        ("transmitter_time", "2002-02-30 11:35:20.022"),
        ("transmitter_time", "2002-05-28 24:35:20.022"),
        ("transmitter_time", "2002-05-28 11:35:20,022"),
        ("alarm_type", "al"),
        ("alarm_type", "XX"),
        ("position", "S597295E0176288"),
        ("position", "N597295W0176288"),
        ("position", "N5972950E017628"),
        ("position", "X1234567Y1234567"),
        ("position", "x1234567y123456 "),
    ],
)
def test_text_of_the_right_length_in_another_format_is_refused(field: str, text: str) -> None:
    with pytest.raises(FieldError) as caught:
        alarm(**{field: text})
    assert caught.value.field == field


def test_a_time_is_sent_as_text() -> None:
    time = datetime(2002, 5, 28, 11, 35, 20, 22_000)  # noqa: DTZ001 - local time
    assert alarm(transmitter_time=time).transmitter_time == "2002-05-28 11:35:20.022"


@pytest.mark.parametrize("text", ["AL", "RE"])
def test_alarm_types(text: str) -> None:
    assert alarm(alarm_type=text).alarm_type == text


@pytest.mark.parametrize("text", ["N597295E0176288", "x1234567y1234567"])
def test_position_is_written_in_an_element_of_its_own(text: str) -> None:
    assert f"<position><pos>{text}</pos></position>".encode() in alarm(position=text).to_xml()


@pytest.mark.parametrize("field", sorted({*CODES, *FORMATTED}))
def test_only_mandatory_elements_are_required(field: str) -> None:
    if field not in MANDATORY:
        assert getattr(alarm(**{field: None}), field) is None
        return
    with pytest.raises(FieldError, match=f"{field}: is missing; it is mandatory"):
        alarm(**{field: None})
    name = CODES[field][0]
    with pytest.raises(MalformedMessage) as caught:
        AlarmRequest.from_xml(document(name, ""))
    assert caught.value.reason == Status.MANDATORY_DATA_MISSING


@pytest.mark.parametrize("missing", ["authentication", "transmitter_code", "transmitter_type"])
def test_a_ping_needs_all_but_the_reference(missing: str) -> None:
    fields: dict[str, Any] = {
        "authentication": "p4ssw0rd-15-chr",
        "transmitter_code": "1",
        "transmitter_type": "SV300",
    }
    assert PingRequest(**fields).reference is None
    with pytest.raises(FieldError, match=f"{missing}: is missing"):
        PingRequest(**fields | {missing: None})


@pytest.mark.parametrize("field", sorted(CODES))
@pytest.mark.parametrize("character", ["\x1f", "\t", "\x7f", "\x80", "\x9f", "Ā", "€", "\n", "\r"])
def test_characters_outside_the_set_are_refused(field: str, character: str) -> None:
    length = max(3, CODES[field][1])
    text = f"a{character}{'b' * (length - 2)}"
    if field == "additional_info" and character in "\r\n":
        assert alarm(additional_info=text).additional_info == text
        return
    with pytest.raises(FieldError) as caught:
        alarm(**{field: text})
    assert caught.value.field == field
    assert "not a printable character of ISO-8859-1" in caught.value.fault


@pytest.mark.parametrize("character", [" ", "~", "\xa0", "\xff", "!", "}"])
def test_first_and_last_characters_of_the_set_are_sent(character: str) -> None:
    assert not elements.NOT_PRINTABLE.search(character)
    text = f"a{character}b"
    assert alarm(section_text=text).section_text == text
    assert alarm(additional_info=f"{text}\r\n{text}").additional_info == f"{text}\r\n{text}"


@pytest.mark.parametrize("character", [" ", "\t", "\r", "\n"])
def test_white_space_at_an_end_is_refused(character: str) -> None:
    for text in (f"{character}ab", f"ab{character}"):
        with pytest.raises(FieldError):
            alarm(additional_info=text)
    with pytest.raises(FieldError, match="begins or ends with white space"):
        alarm(additional_info=" ab")


def test_a_no_break_space_is_no_white_space() -> None:
    assert alarm(section_text="\xa0ab\xa0").section_text == "\xa0ab\xa0"


@pytest.mark.parametrize(("info", "text"), [(None, None), ("a", "a"), ({"a": 1}, "a: 1"), (["a", "b"], "a\r\nb")])
def test_additional_info_as_it_is_sent(info: object, text: str | None) -> None:
    assert alarm(additional_info=info).additional_info_text == text


def test_info_of_a_response_has_at_most_255_characters() -> None:
    assert AlarmResponse(0, "x" * 255).info == "x" * 255
    with pytest.raises(FieldError, match="info: has 256 characters; it must have 0 to 255"):
        AlarmResponse(0, "x" * 256)
    read = AlarmResponse.from_xml(b"<alarmresponse><status>0</status><info>%b</info></alarmresponse>" % (b"x" * 256))
    assert read.info == "x" * 255


@pytest.mark.parametrize(("length", "fits"), [(14, False), (15, True), (16, False)])
def test_a_new_password_has_15_characters(length: int, *, fits: bool) -> None:
    body = "<requestnewauthenticationresponse><status>{}</status><newauthentication>{}</newauthentication>"
    whole = (body + "</requestnewauthenticationresponse>").format(0, "x" * length).encode()
    if not fits:
        with pytest.raises(MalformedMessage):
            NewAuthResponse.from_xml(whole)
        return
    new = NewAuthResponse.from_xml(whole).new_authentication
    assert new is not None
    assert new == "x" * length


@pytest.mark.parametrize("length", [0, 1, 50, 51])
def test_a_reference_of_a_response_that_cannot_be_one_is_dropped(length: int) -> None:
    text = "x" * length
    body = f"<alarmresponse><reference>{text}</reference><status>0</status></alarmresponse>"
    assert AlarmResponse.from_xml(body.encode()).reference == (text if 1 <= length <= 50 else None)


@pytest.mark.parametrize("length", [0, 51])
def test_a_response_with_another_reference_cannot_be_written(length: int) -> None:
    with pytest.raises(FieldError, match="reference"):
        AlarmResponse(0, reference="x" * length)


def test_a_response_with_a_short_password_cannot_be_written() -> None:
    with pytest.raises(FieldError, match="new_authentication"):
        NewAuthResponse(0, new_authentication=Secret("short"))


def test_a_request_of_a_known_kind_needs_the_header_as_well() -> None:
    with pytest.raises(MalformedMessage) as caught:
        AlarmRequest.from_xml(document("receiver", "R").partition(b"\n")[2])
    assert caught.value.reason == Status.XML_HEADER_MISSING_OR_INVALID


@pytest.mark.parametrize("around", ["", "\n", "\r\n  ", "\t"])
@pytest.mark.parametrize("name", ["authentication", "receiver"])
def test_white_space_around_a_text_is_removed_when_it_is_read(name: str, around: str) -> None:
    text = "p4ssw0rd-15-chr"
    read = AlarmRequest.from_xml(document(name, f"{around}{text}{around}"))
    assert read == alarm(**{name: text})


def test_white_space_around_a_new_password_is_removed() -> None:
    read = NewAuthResponse.from_xml(
        b"<requestnewauthenticationresponse><status>0</status><newauthentication>\n  n3w-passw0rd-15\n"
        b"</newauthentication></requestnewauthenticationresponse>"
    )
    assert read == NewAuthResponse(0, new_authentication=Secret("n3w-passw0rd-15"))
