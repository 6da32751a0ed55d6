"""Durations as people write them: 90s, 5m, 24h, 7d."""

from __future__ import annotations

import re

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_WRITTEN = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*([smhd])")

LONGEST_S = 36500 * 86400.0
"""A hundred years: no sum of a date and a duration leaves the calendar."""


def seconds(written: str) -> float:
    """Return the seconds of `written`. Raises ValueError saying how it should look."""
    match = _WRITTEN.fullmatch(written.strip().lower())
    if match is None:
        raise ValueError(f"{written!r} is no duration; write a number with s, m, h or d, such as 90s, 5m, 24h or 7d")
    found = float(match[1]) * _UNITS[match[2]]
    if found > LONGEST_S:
        raise ValueError(f"{written!r} is longer than {LONGEST_S / 86400:.0f}d, which is for ever")
    return found
