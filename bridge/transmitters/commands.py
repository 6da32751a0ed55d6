"""What a command topic and its payload ask for (TOPICS.md, Transmitter). Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, cast

from bridge.common.errors import FieldError
from bridge.common.models import NO_ALARM, Alarm, AlarmIdentity, NamedAlarm, PreparedAlarm, Request
from bridge.common.payloads import CommandError, payload_object, payload_text
from bridge.common.text import clean
from bridge.sos_access.prepare import check_reference, prepare
from bridge.transmitters.topics import Topics

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
        return _alarm_command(name, request, _alarm(text))
    except (FieldError, CommandError) as error:
        raise CommandError(str(error), name, request) from None


def _split(topics: Topics, topic: str) -> tuple[str, str]:
    rest = topic.removeprefix(f"{topics.base}/transmitter/")
    name, _, leaf = rest.partition("/")
    if name not in topics.transmitters:
        known = ", ".join(sorted(topics.transmitters)) or "none"
        raise CommandError(f"unknown transmitter {clean(name)!r}; configured: {known}")
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
    raise CommandError(f"unknown command {clean(leaf)!r}")


def _alarm(text: str) -> Alarm:
    if not text:
        raise CommandError('the payload is empty; give an event code such as BA, or {"event_code": "BA", ...}')
    if not text.startswith("{"):
        if text[0] in "\"'[":
            raise CommandError(f'{clean(text, 40)} is not an event code; use BA, or {{"event_code": "BA", ...}}')
        return Alarm(event_code=text)
    found = payload_object(text, _ALARM_FIELDS)
    if found.get("event_code") in (None, ""):
        raise FieldError("event_code", "is required, such as BA for burglary or FA for fire")
    return Alarm(**cast("dict[str, Any]", found))  # prepare() checks the type of each


def _alarm_command(transmitter: str, request: Request, alarm: Alarm, code: str | None = None) -> ParsedCommand:
    """Prepare an alarm; `code` replaces its event code on the wire, not in what it is known by."""
    prepared, warnings = prepare(alarm)
    identity = AlarmIdentity.of(prepared)
    if code:
        prepared = replace(prepared, event_code=code)
    return ParsedCommand(transmitter, request, prepared, identity, prepared.reference, warnings)


def _switched(transmitter: str, named: NamedAlarm, text: str) -> ParsedCommand:
    match text.upper():
        case "ON":
            return _alarm_command(transmitter, Request.ALARM, named.alarm)
        case "OFF":
            return _alarm_command(transmitter, Request.RESTORE, named.alarm, named.restore_event_code)
    raise CommandError(f"{clean(text, 40)!r} is neither ON nor OFF")


def _reference(text: str) -> str | None:
    """Read the payload of a ping or a rotation: empty, PRESS, a reference, or {"reference": ...}."""
    if text in ("", "PRESS"):
        return None
    if text.startswith("{"):
        return check_reference(payload_object(text, ("reference",)).get("reference"))
    return check_reference(text)
