"""Alarms whose details cannot be sent: the alarm goes without them, and only the event code is needed."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.common.errors import FieldError
from bridge.common.models import Alarm, PreparedAlarm
from bridge.sos_access.prepare import check_event_code, check_reference, prepare_leniently


def nested(depth: int) -> list[object]:
    found: list[object] = []
    for _ in range(depth):
        found = [found]
    return found


def lenient(**fields: Any) -> tuple[PreparedAlarm, tuple[str, ...]]:  # noqa: ANN401 - the values are the subject
    return prepare_leniently(Alarm(**{"event_code": "FA", **fields}))


@pytest.mark.parametrize(
    ("field", "value", "warning"),
    [
        ("reference", "x" * 51, "reference: has 51 characters; it must have 1 to 50; left out"),
        ("transmitter_area", "123456", "transmitter_area: has 6 characters; it must have 1 to 5; left out"),
        ("section", ["1"], "section: has type list; use text; left out"),
        ("section", True, "section: has type bool; use text; left out"),
        ("section", 1.5, "section: has type float; use text; left out"),
        ("detector", "å€", "detector: contains €, which is not a printable character of ISO-8859-1; left out"),
        ("section_text", {"a": 1}, "section_text: has type dict; use text; left out"),
        ("additional_info", b"x", "additional_info: has type bytes; use text, an object or a list; left out"),
        ("additional_info", nested(100_000), "additional_info: nested too deeply; left out"),
        ("transmitter_time", 5, "transmitter_time: has type int; use a date and time; left out"),
        ("position", {"x": 1, "y": 10_000_000}, "position: x and y must be metres with at most seven digits; left out"),
        ("position", {"x": "1", "y": 1}, "position: x: '1' is not a number; left out"),
        ("position", {"x": 1, "y": None}, "position: y: 'None' is not a number; left out"),
        ("position", {"lat": "1", "lon": 1}, "position: lat: '1' is not a number; left out"),
        ("position", {"lat": 1, "lon": []}, "position: lon: '[]' is not a number; left out"),
    ],
)
def test_a_detail_that_cannot_be_sent_is_left_out_with_a_warning(field: str, value: object, warning: str) -> None:
    assert lenient(**{field: value, "urgent": True}) == (PreparedAlarm("FA", urgent=True), (warning,))


@pytest.mark.parametrize(
    ("field", "value", "sent"),
    [
        ("section", " 1\n", "1"),
        ("reference", "\tr ", "r"),
        ("position", " N597295E0176288 ", "N597295E0176288"),
        ("section_text", 1.5, "1.5"),
        ("detector_text", True, "true"),
        ("detector_text", False, "false"),
    ],
)
def test_a_detail_whose_meaning_is_clear_is_sent_without_a_warning(field: str, value: object, sent: str) -> None:
    fitted, warnings = lenient(**{field: value})
    assert (getattr(fitted, field), warnings) == (sent, ())


def test_all_details_can_be_broken_at_once() -> None:
    fitted, warnings = lenient(
        reference=[], transmitter_area=[], section=[], detector=[], section_text=[1], transmitter_time=[], position=[],
        detector_text="\u2013",
    )  # fmt: skip
    assert fitted == PreparedAlarm("FA", detector_text="-")
    assert len(warnings) == 8
    assert warnings[0] == "detector_text: characters outside ISO-8859-1 were replaced"


def test_white_space_around_an_event_code_is_removed() -> None:
    assert lenient(event_code=" \t\r\nFA\n") == (PreparedAlarm("FA"), ())


@pytest.mark.parametrize("code", ["", " ", None, True, [], "x" * 26, "F€", "\xa0" * 26])
def test_an_event_code_that_cannot_be_sent_is_an_error(code: Any) -> None:  # noqa: ANN401 - the values are the subject
    with pytest.raises(FieldError, match="event_code"):
        lenient(event_code=code)
    with pytest.raises(FieldError, match="event_code"):
        check_event_code(code)


def test_codes_are_checked_alone() -> None:
    check_event_code("x" * 25)
    check_event_code(1)
    assert [check_reference(value) for value in (None, "", "r", 7, "x" * 50)] == [None, None, "r", "7", "x" * 50]
    with pytest.raises(FieldError, match="reference: has 51 characters"):
        check_reference("x" * 51)
