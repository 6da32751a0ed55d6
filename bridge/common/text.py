"""Text for logs and topics: peers' text made safe, and times."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

LONGEST_ERROR = 500
"""Characters of an error; it can end with the setting that pins a receiver's certificate."""
_LONGEST = 200
_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def clean(peer_text: object, longest: int = _LONGEST) -> str:
    """Return `peer_text` on one line, unprintable characters escaped, cut after `longest` characters."""
    text = str(peer_text)
    if len(text) <= longest and text.isprintable():
        return text
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:longest])
    return shown if len(text) <= longest and len(shown) <= longest else f"{shown[:longest]}…"


def timestamp(moment: datetime) -> str:
    """Return ISO 8601 with offset and milliseconds; a naive time is local."""
    return moment.astimezone().isoformat(timespec="milliseconds")


def present(fields: Mapping[str, object]) -> dict[str, object]:
    """Return `fields` as they are published: times as text, those that do not apply (None, ()) absent."""
    found = {name: value for name, value in fields.items() if value is not None and value != ()}
    return {name: timestamp(value) if isinstance(value, datetime) else value for name, value in found.items()}


def counted(number: int, noun: str) -> str:
    """Return for example "1 alarm" or "2 alarms"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def lasted(seconds: float) -> str:
    """Return a duration with its two largest units, for example "12 s", "2 min 43 s" or "3 h 5 min"."""
    left = round(max(seconds, 0.0))
    found: list[tuple[int, str]] = []
    for unit, size in _UNITS:
        number, left = divmod(left, size)
        if number or found:
            found.append((number, unit))
    return " ".join(f"{number} {unit}" for number, unit in found[:2] if number) or "0 s"
