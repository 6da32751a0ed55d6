# ruff: noqa: DTZ001, RUF001 - the protocol's times are local and have no zone; odd characters are the subject
"""Alarms as callers give them, made fit for the wire."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from bridge.common.errors import FieldError
from bridge.common.models import Alarm, PreparedAlarm, Secret
from bridge.sos_access.prepare import prepare, transliterate


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("Kök é Ø ß ½", "Kök é Ø ß ½"),
        ("– — ‘a’ “b” …", "- - 'a' \"b\" ..."),
        ("5 €", "5 EUR"),
        ("Łódź łąka Đuro", "Lódz laka Duro"),
        ("e\u0301 a\u030a", "é å"),
        ("ﬁre №5", "fire No5"),
        ("火", "?"),
        ("🔥\ufe0f", "?"),
        ("a\u200bb\u00a0c", "ab\u00a0c"),
        ("a\tb\x00", "a b?"),
        ("\ud800", "?"),
    ],
)
def test_each_character_in_its_closest_spelling(given: str, sent: str) -> None:
    assert transliterate(given) == sent


def test_a_plain_alarm_passes_untouched() -> None:
    alarm = PreparedAlarm(
        "BA", "2002-05-28 11:35:20.022", "r", "1", "2", "House", "3", "Door", "a\r\nb", "x1234567y1234567"
    )
    assert prepare(alarm) == (alarm, ())


def test_empty_optional_fields_are_absent() -> None:
    assert prepare(Alarm("BA", "", "", "", "", " ", "", "\n", "", "")) == (PreparedAlarm("BA"), ())
    assert prepare(Alarm("BA", additional_info=[]))[0].additional_info is None
    assert prepare(Alarm("BA", additional_info={}))[0].additional_info is None


def test_free_texts_are_mended_and_said_to_be() -> None:
    fitted, warnings = prepare(Alarm("BA", section_text="x" * 45, detector_text="火\nDoor", additional_info="y" * 2001))
    assert fitted.section_text == "x" * 40
    assert fitted.detector_text == "? Door"
    assert fitted.additional_info == "y" * 2000
    assert warnings == (
        "section_text: cut from 45 to 40 characters",
        "detector_text: characters outside ISO-8859-1 were replaced",
        "additional_info: cut from 2001 to 2000 characters",
    )


def test_whole_numbers_are_codes_too() -> None:
    fitted, _ = prepare(Alarm(1, section=2, detector=0, section_text=3))  # type: ignore[arg-type]
    assert (fitted.event_code, fitted.section, fitted.detector, fitted.section_text) == ("1", "2", "0", "3")


@pytest.mark.parametrize("field", ["event_code", "reference", "transmitter_area", "section", "detector"])
@pytest.mark.parametrize("value", [True, 1.5, [], {"a": 1}, "x" * 51, "å€", " a", "a\n"])
def test_a_bad_code_is_an_error_that_names_its_field(field: str, value: object) -> None:
    with pytest.raises(FieldError) as caught:
        prepare(Alarm(**({"event_code": "BA"} | {field: value})))  # type: ignore[arg-type]
    assert caught.value.field == field


def test_an_alarm_without_event_code_is_an_error() -> None:
    with pytest.raises(FieldError, match="event_code"):
        prepare(Alarm(""))


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"key": "test", "n": 1, "none": None}, "key: test\r\nn: 1\r\nnone:"),
        (["a", 2, "c\nd"], "a\r\n2\r\nc d"),
        (("a",), "a"),
        ({"b", "a", "c"}, "a\r\nb\r\nc"),
        ("a\nb\r\nc\rd", "a\r\nb\r\nc\r\nd"),
        (5, "5"),
        ([f"{n}" * 999 for n in "123"], "1" * 999 + "\r\n" + "2" * 999),
        (["x" * 2001, "y"], "x" * 2000),
        ({"x" * 1999: "y", "z": 1}, "x" * 1999 + ":"),
        (["€" * 600, "€" * 600], "EUR" * 600),
    ],
)
def test_additional_info_in_lines_whole_ones_dropped(given: object, sent: str) -> None:
    assert prepare(Alarm("BA", additional_info=given))[0].additional_info == sent  # type: ignore[arg-type]


def test_dropped_lines_are_counted() -> None:
    _, warnings = prepare(Alarm("BA", additional_info=["x" * 1500, "y" * 600, "z"]))
    assert warnings == ("additional_info: 2 of 3 lines dropped past 2000 characters",)


@pytest.mark.parametrize("value", [b"bytes", Secret("a secret value")])
def test_bytes_and_secrets_are_no_additional_info(value: object) -> None:
    with pytest.raises(FieldError, match="additional_info") as caught:
        prepare(Alarm("BA", additional_info=value))  # type: ignore[arg-type]
    assert "a secret" not in str(caught.value)


LOCAL = datetime(2024, 5, 5, 10, 0, 0, 123999)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (LOCAL, "2024-05-05 10:00:00.123"),
        (LOCAL.astimezone(UTC), "2024-05-05 10:00:00.123"),
        (LOCAL.astimezone(UTC).isoformat(), "2024-05-05 10:00:00.123"),
        ("2024-05-05T10:00:00", "2024-05-05 10:00:00.000"),
        ("2024-05-05 10:00:00.999", "2024-05-05 10:00:00.999"),
        (datetime(1, 1, 1), "0001-01-01 00:00:00.000"),
    ],
)
def test_times_become_local_in_23_characters(given: datetime | str, sent: str) -> None:
    assert prepare(Alarm("BA", transmitter_time=given))[0].transmitter_time == sent


def test_seconds_round_down_so_that_no_time_lies_ahead() -> None:
    late = datetime(2024, 5, 5) - timedelta(microseconds=1)
    assert prepare(Alarm("BA", transmitter_time=late))[0].transmitter_time == "2024-05-04 23:59:59.999"


@pytest.mark.parametrize("value", ["yesterday", 5, "2024-13-01 00:00:00.000", True, []])
def test_what_is_no_time_is_an_error(value: object) -> None:
    with pytest.raises(FieldError, match="transmitter_time"):
        prepare(Alarm("BA", transmitter_time=value))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"lat": 59.3293, "lon": 18.0686}, "N591976E0180412"),
        ({"lat": 0, "lon": 0}, "N000000E0000000"),
        ({"lat": 59.99999, "lon": 9.99999}, "N600000E0100000"),
        ({"lat": 90, "lon": 180}, "N900000E1800000"),
        ({"x": 6580822, "y": 1628294}, "x6580822y1628294"),
        ({"x": 6580822.4, "y": 28294}, "x6580822y0028294"),
        ("N597295E0176288", "N597295E0176288"),
    ],
)
def test_positions_in_the_two_formats(given: str | dict[str, float], sent: str) -> None:
    assert prepare(Alarm("BA", position=given))[0].position == sent


@pytest.mark.parametrize(
    "value",
    [
        {"lat": -1, "lon": 18},
        {"lat": 59, "lon": -1},
        {"lat": 91, "lon": 18},
        {"lat": 59, "lon": 180.5},
        {"x": -1, "y": 1},
        {"x": 1, "y": -1},
        {"lat": float("nan"), "lon": 18},
        {"lat": "59", "lon": 18},
        {"lat": True, "lon": 18},
        {"lat": 59},
        {"lat": 59, "lon": 18, "x": 1},
        {"x": 10_000_000, "y": 1},
        {"x": float("inf"), "y": 1},
        {"x": float("-inf"), "y": 1},
        "59.3, 18.1",
        7,
        [59, 18],
    ],
)
def test_a_position_that_the_format_does_not_have_is_an_error(value: object) -> None:
    with pytest.raises(FieldError, match="position"):
        prepare(Alarm("BA", position=value))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("odd", "plain"),
    [
        ("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-------"),
        ("\u2018\u2019\u201a\u201b\u2032", "'''''"),
        ("\u201c\u201d\u201e\u201f\u2033", '"""""'),
        ("\u2039\u203a\u2022\u2044€™a\tb", "<>*/EURTMa b"),
        ("ŁłĐđĦħŦŧŊŋ", "LlDdHhTtNn"),
        ("ŒœẞĸƒıƁɓƊɗ", "OEoeSSkfiBbDd"),
    ],
)
def test_characters_with_a_close_spelling(odd: str, plain: str) -> None:
    assert prepare(Alarm("BA", section_text=odd))[0].section_text == plain


def test_full_width_characters_become_ascii() -> None:
    assert transliterate("".join(chr(0xFF00 + n) for n in range(1, 95))) == "".join(chr(0x20 + n) for n in range(1, 95))


@pytest.mark.parametrize("mark", ["\u0301", "\u20dd", "\u200b", "\u200d", "\ufe0f", "\ufeff"])
def test_marks_and_joiners_are_dropped(mark: str) -> None:
    assert transliterate(f"x{mark}y") == "xy"


@pytest.mark.parametrize("lines", [["x"] * 15_000, [""] * 30_000])
def test_a_long_list_as_additional_info_holds_nobody_up(lines: list[str]) -> None:
    """A command is read by the thread that sends alarms."""
    began = time.process_time()
    prepare(Alarm("BA", additional_info=lines))
    assert time.process_time() - began < 0.05


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"x": 0, "y": 0}, "x0000000y0000000"),
        ({"x": 9_999_999, "y": 9_999_999}, "x9999999y9999999"),
        ({"lat": 0, "lon": 0}, "N000000E0000000"),
        ({"lat": 90, "lon": 180}, "N900000E1800000"),
    ],
)
def test_the_corners_of_a_position(value: dict[str, float], text: str) -> None:
    assert prepare(Alarm("BA", position=value))[0].position == text
