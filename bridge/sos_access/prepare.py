"""Alarms as callers give them, made fit for the wire (protocol page, Characters and Position).

Free texts are mended: an alarm is not lost to a dash. Codes are not: another code would be another alarm.
`prepare` is idempotent.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from bridge.common.errors import FieldError
from bridge.common.models import Secret
from bridge.common.text import clean
from bridge.sos_access import elements
from bridge.sos_access.elements import WHITE_SPACE, Element, printable
from bridge.sos_access.positions import position

if TYPE_CHECKING:
    from bridge.common.models import Alarm

_CODES = (
    elements.EVENT_CODE,
    elements.REFERENCE,
    elements.TRANSMITTER_AREA,
    elements.SECTION,
    elements.DETECTOR,
)
_ONE_LINE = (elements.SECTION_TEXT, elements.DETECTOR_TEXT)
_NEW_LINE = "\r\n"

# The closest spelling of what neither ISO-8859-1 nor a decomposition has.
_SPELLINGS = str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-")
    | dict.fromkeys("\u2018\u2019\u201a\u201b\u2032", "'")
    | dict.fromkeys("\u201c\u201d\u201e\u201f\u2033", '"')
    | {"\u2039": "<", "\u203a": ">", "\u2022": "*", "\u2044": "/", "€": "EUR", "™": "TM", "\t": " "}
    | {"Ł": "L", "ł": "l", "Đ": "D", "đ": "d", "Ħ": "H", "ħ": "h", "Ŧ": "T", "ŧ": "t", "Ŋ": "N", "ŋ": "n"}
    | {"Œ": "OE", "œ": "oe", "ẞ": "SS", "ĸ": "k", "ƒ": "f", "\u0131": "i", "Ɓ": "B", "ɓ": "b", "Ɗ": "D", "ɗ": "d"}
)


def prepare(alarm: Alarm) -> tuple[Alarm, tuple[str, ...]]:
    """Return `alarm` with every field a text that can be sent, or None, and what was changed, in words.

    Raises `FieldError` for a code, time or position that cannot be sent.
    """
    warnings: list[str] = []
    fields: dict[str, str | None] = {element.field: _code(element, getattr(alarm, element.field)) for element in _CODES}
    for element in _ONE_LINE:
        fields[element.field] = _free_text(element, getattr(alarm, element.field), warnings)
    fields["additional_info"] = _additional_info(alarm.additional_info, warnings)
    fields["transmitter_time"] = _time(alarm.transmitter_time)
    fields["position"] = position(alarm.position)
    return replace(alarm, **fields), tuple(warnings)  # type: ignore[arg-type]  # the fields' names are those of Alarm


def transliterate(text: str) -> str:
    """Return `text` in printable ISO-8859-1, each other character in its closest spelling, else as `?`."""
    return "".join(c if printable(c) else _spell(c) for c in unicodedata.normalize("NFC", text))


def _spell(character: str) -> str:
    spelled = character.translate(_SPELLINGS)
    if spelled == character:
        parts = unicodedata.normalize("NFKD", character)
        # Marks and joiners have no width of their own: dropped, not shown as "?".
        spelled = "".join(c for c in parts if unicodedata.category(c) not in {"Mn", "Me", "Cf"}).translate(_SPELLINGS)
    return spelled if all(printable(c) for c in spelled) else "?"


def _plain(field: str, value: object) -> str | None:
    """Return a code or text that a JSON command may also give as a number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None or isinstance(value, str):
        return value or None
    raise FieldError(field, f"is of type {type(value).__name__} and should be text")


def _code(element: Element, value: object) -> str | None:
    text = _plain(element.field, value)
    element.check(text)
    return text


def _free_text(element: Element, value: object, warnings: list[str]) -> str | None:
    text = _plain(element.field, value)
    return _fit(element, " ".join(text.splitlines()), warnings) if text else None


def _fit(element: Element, text: str, warnings: list[str]) -> str | None:
    """Transliterate and cut `text`, which may have line ends only where the element may."""
    lines = [transliterate(line) for line in text.split(_NEW_LINE)]
    fitted = _NEW_LINE.join(lines).strip(WHITE_SPACE)
    if fitted != text.strip(WHITE_SPACE):
        warnings.append(f"{element.field}: characters that ISO-8859-1 does not have were replaced")
    if len(fitted) > element.longest:
        warnings.append(f"{element.field}: cut from {len(fitted)} to {element.longest} characters")
    return fitted[: element.longest].strip(WHITE_SPACE) or None


def _additional_info(value: object, warnings: list[str]) -> str | None:
    element = elements.ADDITIONAL_INFO
    if isinstance(value, bytes | bytearray | Secret):
        raise FieldError(element.field, f"is of type {type(value).__name__} and should be text, an object or a list")
    if isinstance(value, Mapping):
        return _lines([f"{_item(key)}: {_item(inner)}" for key, inner in value.items()], warnings)
    if isinstance(value, set | frozenset):
        return _lines(sorted(_item(item) for item in value), warnings)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return _lines([_item(item) for item in value], warnings)
    return _fit(element, _NEW_LINE.join(_item(value, "\n").split("\n")), warnings)


def _item(value: object, joined_by: str = " ") -> str:
    """Return one item as text; line ends inside become `joined_by`."""
    return "" if value is None else joined_by.join(str(value).splitlines())


def _lines(lines: list[str], warnings: list[str]) -> str | None:
    """Join `lines`, dropping whole ones from the end past the limit; a first line that is too long is cut."""
    element = elements.ADDITIONAL_INFO
    kept: list[str] = []
    for line in lines:
        if kept and len(_NEW_LINE.join(transliterate(part) for part in (*kept, line))) > element.longest:
            break
        kept.append(line)
    if len(kept) < len(lines):
        dropped = len(lines) - len(kept)
        warnings.append(f"{element.field}: {dropped} of {len(lines)} lines dropped past {element.longest} characters")
    return _fit(element, _NEW_LINE.join(kept), warnings)


def _time(value: object) -> str | None:
    """Return local time in the 23 characters of the wire; a time without a zone is local already."""
    field = elements.TRANSMITTER_TIME.field
    if value is None or value == "":
        return None
    if not isinstance(value, datetime | str):
        raise FieldError(field, f"is of type {type(value).__name__} and should be a date and time")
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else value
        if time.tzinfo is not None:
            time = time.astimezone().replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise FieldError(field, f"{clean(value)} should look like 2002-05-28 11:35:20.022") from None
    return time.isoformat(" ", "milliseconds")
