"""What a command topic and its payload ask for (TOPICS.md, Transmitter). Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, cast

from bridge.common.errors import FieldError
from bridge.common.models import NO_ALARM, Alarm, AlarmIdentity, NamedAlarm, PreparedAlarm, Request
from bridge.common.payloads import CommandError, payload_object, payload_text
from bridge.common.suggest import meant
from bridge.common.text import clean
from bridge.sos_access.prepare import check_reference, prepare_leniently
from bridge.transmitters.topics import COMMANDS, Topics

_TRUE = ("true", "on", "yes", "1")
"""What templates write for true."""
_MOST_WARNINGS = 20
_MOST_NAMES = 10
"""Of transmitters in an answer: there may be thousands."""
_LONGEST_PLACE = 50
_NOTHING = (None, "")
_ALARM_FIELDS = tuple(field.name for field in fields(Alarm))


@dataclass(frozen=True, slots=True)
class ParsedCommand:
    """What a command topic and payload ask for; `alarm` is prepared for sending."""

    transmitter: str
    request: Request
    alarm: PreparedAlarm | None = None
    identity: AlarmIdentity = NO_ALARM
    reference: str | None = None
    warnings: tuple[str, ...] = ()


def parse(topics: Topics, topic: str, payload: bytes) -> ParsedCommand:
    """Parse a command. Raises CommandError with a reason for its sender."""
    name, leaf = _split(topics, topic)
    request, key = _request(leaf)
    try:
        text = payload_text(payload)
        if request is Request.PING or request is Request.AUTH:
            return ParsedCommand(name, request, reference=_reference(text))
        if key is not None:
            return _switched(name, _named(topics, name, key), text)
        alarm, warnings = _alarm(text)
        return _alarm_command(name, request, alarm, warnings=warnings)
    except (FieldError, CommandError) as error:
        raise CommandError(str(error), name, request) from None


def _split(topics: Topics, topic: str) -> tuple[str, str]:
    rest = topic.removeprefix(f"{topics.base}/transmitter/")
    name, _, leaf = rest.partition("/")
    if name not in topics.transmitters:
        known = (*topics.transmitters, *topics.others)
        raise CommandError(f"unknown transmitter {clean(name)!r}{meant(name, known, _MOST_NAMES)}")
    return name, leaf


def _named(topics: Topics, transmitter: str, key: str) -> NamedAlarm:
    alarms = topics.transmitters[transmitter]
    if key not in alarms:
        known = ", ".join(sorted(alarms)) or "none"
        raise CommandError(f"transmitter {transmitter} has no alarm {clean(key)!r}; configured: {known}")
    return alarms[key]


def _request(leaf: str) -> tuple[Request, str | None]:
    """Return what a command topic's last part asks for, and the alarm's key where it names one."""
    match leaf.split("/"):
        case ["alarm", "raise"]:
            return Request.ALARM, None
        case ["alarm", "restore"]:
            return Request.RESTORE, None
        case ["alarm", key, "set"]:
            return Request.ALARM, key
        case ["ping"]:
            return Request.PING, None
        case ["auth", "rotate"]:
            return Request.AUTH, None
    raise CommandError(f"unknown command {clean(leaf)!r}{meant(leaf, COMMANDS)}")


def _alarm(text: str) -> tuple[Alarm, list[str]]:
    """Return an alarm and what of it is ignored. Raises CommandError, FieldError without an event code."""
    if not text:
        raise CommandError('the payload is empty; give an event code such as BA, or {"event_code": "BA", ...}')
    if text.startswith("{"):
        return _alarm_object(text)
    if text[0] in "\"'[":
        return Alarm(_quoted(text)), []
    return Alarm(text), []


def _quoted(text: str) -> str:
    try:
        code = json.loads(text)
    except (ValueError, RecursionError):
        code = None
    if isinstance(code, str):
        return code
    raise CommandError(f'{clean(text, 40)} is not an event code; use BA, or {{"event_code": "BA", ...}}')


def _alarm_object(text: str) -> tuple[Alarm, list[str]]:
    repeated: list[str] = []
    found = payload_object(text, repeated=repeated)
    if found.get("event_code") in (None, ""):
        raise FieldError("event_code", "is required, such as BA for burglary or FA for fire")
    if "event_code" in repeated:
        raise FieldError("event_code", "duplicate field with different values")
    warnings = [f"{clean(name, 40)}: duplicate field, the last value counts" for name in repeated]
    warnings += [f"{clean(name, 40)}: unknown field, ignored" for name in found if name not in _ALARM_FIELDS]
    known = {name: value for name, value in found.items() if name in _ALARM_FIELDS}
    known["urgent"] = _urgent(known.get("urgent"), warnings)
    return Alarm(**cast("dict[str, Any]", known)), warnings  # prepare_leniently() checks the type of each


def _urgent(value: object, warnings: list[str]) -> bool:
    if value is None or isinstance(value, bool):
        return bool(value)
    text = str(value).strip().lower() if isinstance(value, str | int) else ""
    urgent = text in _TRUE
    warnings.append(f"urgent: use true or false; taken as {str(urgent).lower()}")
    return urgent


def _alarm_command(
    transmitter: str, request: Request, alarm: Alarm, code: str | None = None, warnings: Sequence[str] = ()
) -> ParsedCommand:
    """Prepare an alarm; `code` replaces its event code on the wire, not in what it is known by."""
    prepared, changes = prepare_leniently(alarm)
    identity = _identity(alarm, prepared)
    if code:
        prepared = replace(prepared, event_code=code)
    return ParsedCommand(transmitter, request, prepared, identity, prepared.reference, _bounded((*changes, *warnings)))


def _identity(given: Alarm, prepared: PreparedAlarm) -> AlarmIdentity:
    """Return the identity of an alarm by its place as given, also where that cannot be sent.

    Else a restore whose section is left out would end every alarm of its event code.
    """
    place = []
    for field in ("transmitter_area", "section", "detector"):
        value = getattr(given, field)
        place.append(getattr(prepared, field) or ("" if value in _NOTHING else clean(value, _LONGEST_PLACE)))
    return AlarmIdentity(prepared.event_code, *place)


def _bounded(warnings: tuple[str, ...]) -> tuple[str, ...]:
    more = len(warnings) - _MOST_WARNINGS
    return warnings if more <= 0 else (*warnings[:_MOST_WARNINGS], f"{more} more")


def _switched(transmitter: str, named: NamedAlarm, text: str) -> ParsedCommand:
    match text.upper():
        case "ON":
            return _alarm_command(transmitter, Request.ALARM, named.alarm)
        case "OFF":
            alarm = replace(named.alarm, urgent=False)
            return _alarm_command(transmitter, Request.RESTORE, alarm, named.restore_event_code)
    raise CommandError(f"{clean(text, 40)!r} is neither ON nor OFF")


def _reference(text: str) -> str | None:
    """Read the payload of a ping or a rotation: empty, PRESS, a reference, or {"reference": ...}."""
    if text in ("", "PRESS"):
        return None
    if text.startswith("{"):
        return check_reference(payload_object(text, ("reference",)).get("reference"))
    return check_reference(text)
