"""Types of command line arguments; argparse shows their errors as wrong usage."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from functools import partial
from typing import Final

from bridge.common.text import clean
from bridge.config import types

_NUMBER: Final = re.compile("[0-9]{1,18}")
"""Up to what fits into an SQLite integer."""
_LONGEST_WAIT_S: Final = 3600.0


def number(text: str, least: int, most: int) -> int:
    if _NUMBER.fullmatch(text) and least <= int(text) <= most:
        return int(text)
    raise ArgumentTypeError(f"{clean(text, 40)!r} is not a number from {least} to {most}")


port = partial(number, least=0, most=types.LAST_PORT)
"""0 lets the system choose."""
count = partial(number, least=1, most=10**9)
row = partial(number, least=0, most=10**18)
"""Of the outbox."""
retries = partial(number, least=0, most=999)


def seconds(text: str) -> float:
    """Return a time of 0 to 3600 seconds."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= _LONGEST_WAIT_S:  # also false for NaN
        raise ArgumentTypeError(f"{clean(text, 40)!r} is not a time from 0 to {_LONGEST_WAIT_S:g} seconds")
    return found


def timeout(text: str) -> float:
    """Return a time above 0, up to 3600 seconds."""
    if found := seconds(text):
        return found
    raise ArgumentTypeError(f"{clean(text, 40)!r} is not above 0 seconds")


def host_port(text: str, default: int | None = None) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`, or of `HOST` if there is a default port."""
    try:
        return types.host_port(text, default)
    except ValueError as error:
        raise ArgumentTypeError(clean(error)) from None
