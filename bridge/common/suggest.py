"""What was probably meant by a name that does not exist."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable
from difflib import get_close_matches

_COMPARED = 200
"""Of more names, the neighbours in the alphabet: to compare 10 000 takes 0.2 s, in which nothing else goes on."""


def closest(text: str, known: Iterable[str]) -> str | None:
    """Return the name in `known` that was probably meant, in any case; None if none is close."""
    names = {name.lower(): name for name in map(str, known)}
    close = get_close_matches(text.strip().lower(), names, n=1)
    return names[close[0]] if close else None


def meant(text: str, known: Iterable[str], most: int | None = None) -> str:
    """Return what was probably meant, else what there is, to follow a message; at most `most` names."""
    names = sorted(map(str, known))
    place = bisect(names, text)
    close = closest(text, names[max(0, place - _COMPARED // 2) : place + _COMPARED // 2])
    if close:
        return f"; did you mean {close!r}?"
    listed = ", ".join(names[:most]) or "none"
    more = len(names) - len(names[:most])
    return f"; known: {listed}{f' and {more} more' if more else ''}"
