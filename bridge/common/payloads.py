"""Payloads of MQTT commands: UTF-8 text, or a JSON object."""

from __future__ import annotations

import json
from collections.abc import Sequence

from bridge.common.errors import BridgeError
from bridge.common.models import Request
from bridge.common.text import clean

_LONGEST_PAYLOAD = 100_000
"""Bytes (TOPICS.md, Transmitter commands)."""

_LONGEST_NUMBER = 400
"""Digits: more than any float has, fewer than Python takes."""


class CommandError(BridgeError):
    """A command that is invalid; the text says why, for its author."""

    def __init__(self, reason: str, transmitter: str | None = None, request: Request | None = None) -> None:
        super().__init__(reason)
        self.transmitter = transmitter
        self.request = request


def payload_text(payload: bytes) -> str:
    """Return the payload as text without surrounding white space. Raises CommandError."""
    if len(payload) > _LONGEST_PAYLOAD:
        raise CommandError(f"the payload has {len(payload)} bytes; the limit is {_LONGEST_PAYLOAD}")
    try:
        return payload.decode().strip()
    except UnicodeDecodeError:
        raise CommandError("the payload is not UTF-8 text") from None


def payload_object(
    text: str, known: Sequence[str] | None = None, repeated: list[str] | None = None
) -> dict[str, object]:
    """Return the JSON object in `text`, which begins with `{` and may have the fields `known` (None: any).

    Fields that are repeated with different values are added to `repeated`, and the last value counts; without it they
    are an error. Raises CommandError, which does not quote values: one may be a code.
    """

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) < len(pairs) and repeated is None:
            raise CommandError("duplicate field in the JSON object")
        if repeated is not None and len(found) < len(pairs):
            repeated.extend(dict.fromkeys(name for name, value in pairs if value != found[name]))
        return found

    try:
        value: dict[str, object] = json.loads(text, object_pairs_hook=unique, parse_int=_whole_number)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"invalid JSON{_place(error)}") from None
    for name in value:
        if known is not None and name not in known:
            raise CommandError(f"{clean(name, 40)}: unknown field; known fields: {', '.join(known)}")
    return value


def _whole_number(digits: str) -> int | str:
    """Return a number, or the text of one that Python refuses to read."""
    return int(digits) if len(digits) <= _LONGEST_NUMBER else digits


def _place(error: Exception) -> str:
    if not isinstance(error, json.JSONDecodeError):  # nested too deeply
        return ""
    return f": {error.msg[:1].lower()}{error.msg[1:]} at line {error.lineno}, column {error.colno}"
