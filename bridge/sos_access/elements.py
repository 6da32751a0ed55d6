"""Elements of the messages: names, lengths and characters (PROTOCOL.md, Alarm, Ping and New password)."""

from __future__ import annotations

import re
from datetime import datetime
from typing import NamedTuple

from bridge.common.errors import FieldError
from bridge.common.text import clean

WHITE_SPACE = " \t\r\n"
"""White space of XML, which does not include the no-break space."""

NOT_PRINTABLE = re.compile(r"[^ -~\xa0-\xff]")
"""A character that no message may contain (PROTOCOL.md, Characters)."""
_NOT_PRINTABLE_IN_LINES = re.compile(r"[^ -~\xa0-\xff\r\n]")
_RT90 = re.compile(r"x[0-9]{7}y[0-9]{7}")
_WGS84 = re.compile(r"N[0-9]{6}E[0-9]{7}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}")


class Element(NamedTuple):
    """One element: `field` is its name in Python, `name` in XML; lengths are in characters."""

    field: str
    name: str
    shortest: int
    longest: int
    mandatory: bool = False
    lines: bool = False

    def check(self, value: object) -> None:
        """Raise `FieldError` unless `value` can be sent as it is."""
        if value is None:
            if self.mandatory:
                raise FieldError(self.field, "is missing; it is mandatory")
            return
        if not isinstance(value, str):
            raise FieldError(self.field, f"has type {type(value).__name__}; use text")
        self._check_length(len(value))
        self._check_characters(value)
        if value != value.strip(WHITE_SPACE):
            raise FieldError(self.field, "begins or ends with white space, which receivers strip; remove it")
        if (special := _SPECIAL.get(self.field)) is not None:
            special(self.field, value)

    def _check_length(self, length: int) -> None:
        if not self.shortest <= length <= self.longest:
            allowed = f"{self.shortest}" if self.shortest == self.longest else f"{self.shortest} to {self.longest}"
            raise FieldError(self.field, f"has {length} characters; it must have {allowed}")

    def _check_characters(self, value: str) -> None:
        if wrong := (_NOT_PRINTABLE_IN_LINES if self.lines else NOT_PRINTABLE).search(value):
            # Of a password, not even one character is shown.
            shown = clean(wrong[0]) if self.field not in PASSWORDS else "a character"
            raise FieldError(self.field, f"contains {shown}, which is not a printable character of ISO-8859-1")


PASSWORDS = ("authentication", "new_authentication")


def _check_time(field: str, value: str) -> None:
    if _TIME.fullmatch(value):
        try:
            datetime.fromisoformat(value)
        except ValueError:
            raise FieldError(field, f"{value} is not an existing date and time") from None
    else:
        raise FieldError(field, f"{clean(value)!r} is not a time; use for example 2002-05-28 11:35:20.022")


def _check_position(field: str, value: str) -> None:
    if not (_RT90.fullmatch(value) or _WGS84.fullmatch(value)):
        raise FieldError(
            field, f"{clean(value)!r} is not a position; use for example x1234567y1234567 or N597295E0176288"
        )


def _check_alarm_type(field: str, value: str) -> None:
    if value not in {"AL", "RE"}:
        raise FieldError(field, f"{clean(value)!r} is unknown; use AL (alarm) or RE (restore)")


_SPECIAL = {"transmitter_time": _check_time, "position": _check_position, "alarm_type": _check_alarm_type}

REFERENCE = Element("reference", "reference", 1, 50)
AUTHENTICATION = Element("authentication", "authentication", 15, 15, mandatory=True)
NEW_AUTHENTICATION = Element("new_authentication", "newauthentication", 15, 15)
RECEIVER = Element("receiver", "receiver", 1, 20, mandatory=True)
TRANSMITTER_TIME = Element("transmitter_time", "transmittertime", 23, 23)
ALARM_TYPE = Element("alarm_type", "alarmtype", 2, 2)
TRANSMITTER_TYPE = Element("transmitter_type", "transmittertype", 5, 5, mandatory=True)
TRANSMITTER_CODE = Element("transmitter_code", "transmittercode", 1, 15, mandatory=True)
TRANSMITTER_AREA = Element("transmitter_area", "transmitterarea", 1, 5)
EVENT_CODE = Element("event_code", "eventcode", 1, 25, mandatory=True)
SECTION = Element("section", "section", 1, 5)
SECTION_TEXT = Element("section_text", "sectiontext", 1, 40)
DETECTOR = Element("detector", "detector", 1, 5)
DETECTOR_TEXT = Element("detector_text", "detectortext", 1, 40)
ADDITIONAL_INFO = Element("additional_info", "additionalinfo", 1, 2000, lines=True)
POSITION = Element("position", "position", 15, 16)
INFO = Element("info", "info", 0, 255)
"""The protocol has no limit; 255 keeps a log line readable."""

ALARM_ELEMENTS = (
    REFERENCE,
    AUTHENTICATION,
    RECEIVER,
    TRANSMITTER_TIME,
    ALARM_TYPE,
    TRANSMITTER_TYPE,
    TRANSMITTER_CODE,
    TRANSMITTER_AREA,
    EVENT_CODE,
    SECTION,
    SECTION_TEXT,
    DETECTOR,
    DETECTOR_TEXT,
    ADDITIONAL_INFO,
    POSITION,
)
"""In the order of the wire (PROTOCOL.md, Order of elements)."""
LINK_ELEMENTS = (AUTHENTICATION, REFERENCE, TRANSMITTER_CODE, TRANSMITTER_TYPE)
"""Elements of a ping and of a request for a new password, in the order of the wire."""
