"""Durations as people write them: 90s, 5m, 24h, 7d."""

from __future__ import annotations

import re

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_WRITTEN = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*([smhd])")


def seconds(written: str) -> float:
    """Return the seconds of `written`. Raises ValueError saying how it should look."""
    match = _WRITTEN.fullmatch(written.strip().lower())
    if match is None:
        raise ValueError(f"{written!r} is no duration; write a number with s, m, h or d, such as 90s, 5m, 24h or 7d")
    return float(match[1]) * _UNITS[match[2]]
