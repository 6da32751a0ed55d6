"""What was probably meant by a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def closest(text: str, known: Iterable[str]) -> str | None:
    """Return the name in `known` that was probably meant, in any case; None if none is close."""
    names = {name.lower(): name for name in map(str, known)}
    close = get_close_matches(text.strip().lower(), names, n=1)
    return names[close[0]] if close else None


def meant(text: str, known: Iterable[str]) -> str:
    """Return what was probably meant, else what there is, to follow a message."""
    names = sorted(map(str, known))
    close = closest(text, names)
    return f"; did you mean {close!r}?" if close else f"; known: {', '.join(names) or 'none'}"
