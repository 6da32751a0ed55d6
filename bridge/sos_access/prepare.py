"""Alarms made fit for the wire (PROTOCOL.md, Characters, Position and Additional info).

Free texts are changed to fit: a dash must not lose an alarm. Codes are not: another code is another alarm. `prepare` is
idempotent.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from bridge.common.errors import FieldError
from bridge.common.models import Alarm, PreparedAlarm, Secret
from bridge.common.text import clean
from bridge.sos_access import elements
from bridge.sos_access.elements import NOT_PRINTABLE, WHITE_SPACE, Element

_CODES = (
    elements.EVENT_CODE,
    elements.REFERENCE,
    elements.TRANSMITTER_AREA,
    elements.SECTION,
    elements.DETECTOR,
)
_ONE_LINE = (elements.SECTION_TEXT, elements.DETECTOR_TEXT)
_NEW_LINE = "\r\n"
_HUNDREDTHS = 6000
"""Hundredths of a minute in a degree."""

# The closest spelling of characters that are not in ISO-8859-1 and do not decompose into it.
_SPELLINGS = str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-")
    | dict.fromkeys("\u2018\u2019\u201a\u201b\u2032", "'")
    | dict.fromkeys("\u201c\u201d\u201e\u201f\u2033", '"')
    | {"\u2039": "<", "\u203a": ">", "\u2022": "*", "\u2044": "/", "€": "EUR", "™": "TM", "\t": " "}
    | {"Ł": "L", "ł": "l", "Đ": "D", "đ": "d", "Ħ": "H", "ħ": "h", "Ŧ": "T", "ŧ": "t", "Ŋ": "N", "ŋ": "n"}
    | {"Œ": "OE", "œ": "oe", "ẞ": "SS", "ĸ": "k", "ƒ": "f", "\u0131": "i", "Ɓ": "B", "ɓ": "b", "Ɗ": "D", "ɗ": "d"}
)


def prepare(alarm: Alarm) -> tuple[PreparedAlarm, tuple[str, ...]]:
    """Return `alarm` with every field a text that can be sent, or None, and a warning for each change.

    Raises `FieldError` for a code, time or position that cannot be sent.
    """
    warnings: list[str] = []
    fields = {element.field: _code(element, getattr(alarm, element.field)) for element in _CODES}
    for element in _ONE_LINE:
        fields[element.field] = _free_text(element, getattr(alarm, element.field), warnings)
    fields["additional_info"] = info_text(alarm.additional_info, warnings)
    fields["transmitter_time"] = time_text(alarm.transmitter_time)
    fields["position"] = _position(alarm.position)
    return PreparedAlarm(**fields, urgent=alarm.urgent), tuple(warnings)  # type: ignore[arg-type]  # event_code is mandatory: not None


def prepare_leniently(alarm: Alarm) -> tuple[PreparedAlarm, tuple[str, ...]]:
    """Return `alarm` as `prepare` does; what cannot be sent of it is left out, with a warning.

    A broken detail must not lose an alarm: raises `FieldError` only for an event code that cannot be sent. A code that
    is too long is not cut: that could be the code of another place, or the reference of another alarm.
    """
    if isinstance(alarm.event_code, str):
        alarm = replace(alarm, event_code=alarm.event_code.strip(WHITE_SPACE))
    check_event_code(alarm.event_code)
    faults: list[str] = []
    while True:
        try:
            fit, warnings = prepare(alarm)
        except FieldError as error:
            value = _closest(error.field, getattr(alarm, error.field))
            if value is None:
                faults.append(f"{error}; left out")
            alarm = replace(alarm, **{error.field: value})  # type: ignore[arg-type]  # a field that may be None
        except RecursionError:
            faults.append("additional_info: nested too deeply; left out")
            alarm = replace(alarm, additional_info=None)
        else:
            return fit, (*warnings, *faults)


def _closest(field: str, value: object) -> str | None:
    """Return the text that is meant by a value that cannot be sent, None if that is unclear."""
    if isinstance(value, str):
        stripped = value.strip()
        return stripped if stripped != value else None
    if isinstance(value, float | bool) and field in {element.field for element in _ONE_LINE}:
        return json.dumps(value)
    return None


def check_event_code(value: object) -> None:
    """Raise `FieldError` for an event code that cannot be sent."""
    _code(elements.EVENT_CODE, value)


def check_reference(value: object) -> str | None:
    """Return a reference as the text to send, None for an empty one. Raises `FieldError`."""
    return _code(elements.REFERENCE, value)


def transliterate(text: str) -> str:
    """Return `text` in printable ISO-8859-1, other characters in their closest spelling or as `?`."""
    return NOT_PRINTABLE.sub(lambda found: _spell(found[0]), unicodedata.normalize("NFC", text))


def _spell(character: str) -> str:
    spelled = character.translate(_SPELLINGS)
    if spelled == character:
        parts = unicodedata.normalize("NFKD", character)
        # Marks and joiners have no width of their own, so they are dropped.
        spelled = "".join(c for c in parts if unicodedata.category(c) not in {"Mn", "Me", "Cf"}).translate(_SPELLINGS)
    return "?" if NOT_PRINTABLE.search(spelled) else spelled


def _plain(field: str, value: object) -> str | None:
    """Return a text, also of a whole number; None if it is empty."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None or isinstance(value, str):
        return value or None
    raise FieldError(field, f"has type {type(value).__name__}; use text")


def _code(element: Element, value: object) -> str | None:
    text = _plain(element.field, value)
    element.check(text)
    return text


def _free_text(element: Element, value: object, warnings: list[str]) -> str | None:
    text = _plain(element.field, value)
    return _fit(element, " ".join(text.splitlines()), warnings) if text else None


def _fit(element: Element, text: str, warnings: list[str]) -> str | None:
    """Transliterate and cut `text`; it has line ends only if the element may have them."""
    lines = [transliterate(line) for line in text.split(_NEW_LINE)]
    fitted = _NEW_LINE.join(lines).strip(WHITE_SPACE)
    if fitted != text.strip(WHITE_SPACE):
        warnings.append(f"{element.field}: characters outside ISO-8859-1 were replaced")
    if len(fitted) > element.longest:
        warnings.append(f"{element.field}: cut from {len(fitted)} to {element.longest} characters")
    return fitted[: element.longest].strip(WHITE_SPACE) or None


def info_text(value: object, warnings: list[str]) -> str | None:
    """Return additional info as text (PROTOCOL.md, Additional info); adds a warning for each change."""
    element = elements.ADDITIONAL_INFO
    if isinstance(value, bytes | bytearray | Secret):
        raise FieldError(element.field, f"has type {type(value).__name__}; use text, an object or a list")
    if isinstance(value, Mapping):
        return _lines([f"{_item(key)}: {_item(inner)}" for key, inner in value.items()], warnings)
    if isinstance(value, set | frozenset):
        return _lines(sorted(_item(item) for item in value), warnings)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return _lines([_item(item) for item in value], warnings)
    return _fit(element, _NEW_LINE.join(_item(value, "\n").split("\n")), warnings)


def _item(value: object, joined_by: str = " ") -> str:
    """Return one item as text, with `joined_by` in place of line ends."""
    return "" if value is None else joined_by.join(str(value).splitlines())


def _lines(lines: list[str], warnings: list[str]) -> str | None:
    """Join `lines`, dropping whole lines past the limit; a first line that is too long is cut."""
    element = elements.ADDITIONAL_INFO
    kept: list[str] = []
    length = -len(_NEW_LINE)
    for line in lines:
        # Never longer than this when transliterated: each character becomes at least one.
        length += len(_NEW_LINE) + len(transliterate(line[: element.longest]))
        if kept and length > element.longest:
            break
        kept.append(line)
    if len(kept) < len(lines):
        dropped = len(lines) - len(kept)
        warnings.append(f"{element.field}: {dropped} of {len(lines)} lines dropped past {element.longest} characters")
    return _fit(element, _NEW_LINE.join(kept), warnings)


def time_text(value: object) -> str | None:
    """Return local time in 23 characters (PROTOCOL.md, Times); a time without a zone is local."""
    field = elements.TRANSMITTER_TIME.field
    if value is None or value == "":
        return None
    if not isinstance(value, datetime | str):
        raise FieldError(field, f"has type {type(value).__name__}; use a date and time")
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else value
        if time.tzinfo is not None:
            time = time.astimezone().replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise FieldError(field, f"{clean(value)!r} is not a time; use for example 2002-05-28 11:35:20.022") from None
    return time.isoformat(" ", "milliseconds")


def _position(value: object) -> str | None:
    """Return the text of {lat, lon}, of {x, y} or of a finished text (PROTOCOL.md, Position)."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        elements.POSITION.check(value)
        return value
    if isinstance(value, Mapping):
        if set(value) == {"lat", "lon"}:
            return _wgs84(_number("lat", value["lat"]), _number("lon", value["lon"]))
        if set(value) == {"x", "y"}:
            return _rt90(_number("x", value["x"]), _number("y", value["y"]))
    raise FieldError(elements.POSITION.field, 'use {"lat": ..., "lon": ...}, {"x": ..., "y": ...} or finished text')


def _number(name: str, value: object) -> float:
    # Not math.isfinite, which fails for a whole number that is too large for a float.
    if isinstance(value, int | float) and not isinstance(value, bool) and -math.inf < value < math.inf:
        return value
    raise FieldError(elements.POSITION.field, f"{name}: {clean(value, 40)!r} is not a number")


def _wgs84(lat: float, lon: float) -> str:
    if not (0 <= lat <= 90 and 0 <= lon <= 180):  # noqa: PLR2004 - what the format covers
        raise FieldError(
            elements.POSITION.field, "lat must be 0 to 90 degrees north and lon 0 to 180 east, the format has no other"
        )
    north, north_minutes = divmod(round(lat * _HUNDREDTHS), _HUNDREDTHS)
    east, east_minutes = divmod(round(lon * _HUNDREDTHS), _HUNDREDTHS)
    return f"N{north:02d}{north_minutes:04d}E{east:03d}{east_minutes:04d}"


def _rt90(x: float, y: float) -> str:
    if not (0 <= round(x) <= 9_999_999 and 0 <= round(y) <= 9_999_999):  # noqa: PLR2004 - seven digits each
        raise FieldError(elements.POSITION.field, "x and y must be metres with at most seven digits")
    return f"x{round(x):07d}y{round(y):07d}"
