"""Topic names and payloads of the MQTT contract, pure: what to subscribe, what a command says, what to publish."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, cast

from bridge.errors import BridgeError, FieldError
from bridge.models import NO_ALARM, ActiveAlarm, Alarm, AlarmIdentity, NamedAlarm, Request, Result
from bridge.sos_access.texts import prepare
from bridge.text import clean

NAME = re.compile(r"[a-z0-9_-]+")
"""A transmitter's name, an alarm's key."""

_LONGEST_PAYLOAD = 100_000
_LONGEST_REFERENCE = 50
_ALARM_FIELDS = tuple(field.name for field in fields(Alarm))
_RESPONSE_TOPICS = {
    Request.ALARM: "alarm/response",
    Request.RESTORE: "alarm/response",
    Request.PING: "ping/response",
    Request.AUTH: "auth/response",
}


class CommandError(BridgeError):
    """A command that cannot be obeyed; the text tells a flow's author why."""

    def __init__(self, reason: str, transmitter: str | None = None, request: Request | None = None) -> None:
        super().__init__(reason)
        self.transmitter = transmitter
        self.request = request


@dataclass(frozen=True, slots=True)
class ParsedCommand:
    """What a command topic and payload ask for; `alarm` is prepared for sending."""

    transmitter: str
    request: Request
    alarm: Alarm | None = None
    identity: AlarmIdentity = NO_ALARM
    reference: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Topics:
    """The names below one base topic, for the transmitters (name to alarm key to alarm) that are configured."""

    base: str
    transmitters: Mapping[str, Mapping[str, NamedAlarm]]

    @property
    def bridge_state(self) -> str:
        return f"{self.base}/bridge/state"

    @property
    def bridge_info(self) -> str:
        return f"{self.base}/bridge/info"

    @property
    def bridge_health(self) -> str:
        return f"{self.base}/bridge/health"

    @property
    def bridge_event(self) -> str:
        return f"{self.base}/bridge/event"

    def of(self, transmitter: str, leaf: str) -> str:
        """Return a transmitter's topic, such as `link` or `alarm/active`."""
        return f"{self.base}/transmitter/{transmitter}/{leaf}"

    def response(self, transmitter: str, request: Request) -> str:
        return self.of(transmitter, _RESPONSE_TOPICS[request])

    @property
    def commands(self) -> tuple[str, ...]:
        """The filters of all command topics; of unknown transmitters too: a wrong name is answered, not ignored."""
        leaves = ("alarm/raise", "alarm/restore", "alarm/+/set", "ping", "auth/rotate")
        return tuple(self.of("+", leaf) for leaf in leaves)

    @property
    def states(self) -> tuple[str, ...]:
        """The filters of all retained topics that are ours; none of them matches a command topic."""
        alarm = ("alarm/response", "alarm/+/state", "alarm/active")
        leaves = (*alarm, "ping/response", "auth/response", "link", "outbox", "problem")
        bridge = (self.bridge_state, self.bridge_info, self.bridge_health)
        return (*bridge, *(self.of("+", leaf) for leaf in leaves))

    def is_stale(self, topic: str) -> bool:
        """Tell whether a retained topic of ours belongs to a transmitter or alarm that is configured no more."""
        parts = topic.removeprefix(f"{self.base}/").split("/")
        if parts[0] != "transmitter":
            return False
        keys = self.transmitters.get(parts[1])
        return keys is None or (parts[-1] == "state" and parts[3] not in keys)

    def parse(self, topic: str, payload: bytes) -> ParsedCommand:
        """Read a command. Raises CommandError with words for the author of the command."""
        name, leaf = self._split(topic)
        request, key = _request(leaf)
        try:
            text = _text(payload)
            if request is Request.PING or request is Request.AUTH:
                return ParsedCommand(name, request, reference=_reference(text))
            if key is not None:
                return _switched(name, self._named(name, key), text)
            return _alarm_command(name, request, _alarm(text))
        except FieldError as error:
            raise CommandError(str(error), name, request) from None
        except CommandError as error:
            raise CommandError(str(error), name, request) from None

    def _split(self, topic: str) -> tuple[str, str]:
        rest = topic.removeprefix(f"{self.base}/transmitter/")
        name, _, leaf = rest.partition("/")
        if name not in self.transmitters:
            known = ", ".join(sorted(self.transmitters)) or "none"
            raise CommandError(f"there is no transmitter {clean(name)!r}; configured: {known}")
        return name, leaf

    def _named(self, transmitter: str, key: str) -> NamedAlarm:
        alarms = self.transmitters[transmitter]
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
    raise CommandError(f"{clean(leaf)!r} is no command")


def _text(payload: bytes) -> str:
    if len(payload) > _LONGEST_PAYLOAD:
        raise CommandError(f"the payload has {len(payload)} bytes; at most {_LONGEST_PAYLOAD} are taken")
    try:
        return payload.decode().strip()
    except UnicodeDecodeError:
        raise CommandError("the payload is not UTF-8 text") from None


def _object(text: str) -> dict[str, object]:
    """Read a JSON object whose keys come once each."""

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise CommandError("a field stands twice in the JSON object")
        return found

    try:
        value = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"the payload begins as a JSON object and is none: {clean(error)}") from None
    if not isinstance(value, dict):  # cannot be: it begins with a brace
        raise CommandError("the payload is no JSON object")
    return value


def _alarm(text: str) -> Alarm:
    if not text:
        raise CommandError('the payload is empty; give an event code such as BA, or {"event_code": "BA", ...}')
    if not text.startswith("{"):
        if text[0] in "\"'[":
            raise CommandError(f'{clean(text, 40)} is no event code; give BA bare, or {{"event_code": "BA", ...}}')
        return Alarm(event_code=text)
    found = _object(text)
    _known_fields(found, _ALARM_FIELDS)
    if found.get("event_code") in (None, ""):
        raise FieldError("event_code", "is required, such as BA for burglary or FA for fire")
    return Alarm(**cast("dict[str, Any]", found))  # prepare() checks the type of each


def _known_fields(found: Mapping[str, object], known: Sequence[str]) -> None:
    for name in found:
        if name not in known:
            raise FieldError(clean(name, 40), f"is no field of this command; there are: {', '.join(known)}")


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
        found = _object(text)
        _known_fields(found, ("reference",))
        value = found.get("reference")
        if value in (None, ""):
            return None
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise FieldError("reference", "is a text of 1 to 50 characters")
        text = str(value)
    return prepare(Alarm(event_code="-", reference=text))[0].reference


def result_payload(result: Result) -> dict[str, object]:
    """Return a result as the contract has it: fields that do not apply are absent."""
    found: dict[str, object] = {}
    for field in fields(result):
        value = getattr(result, field.name)
        if value is None or value == ():
            continue
        found[field.name] = timestamp(value) if isinstance(value, datetime) else value
    return found


def active_payload(active: Sequence[ActiveAlarm]) -> list[dict[str, object]]:
    return [
        {
            "event_code": alarm.identity.event_code,
            "section": alarm.identity.section or None,
            "detector": alarm.identity.detector or None,
            "since": timestamp(alarm.since),
            "reference": alarm.reference,
        }
        for alarm in active
    ]


def alarm_state(named: NamedAlarm, active: Sequence[ActiveAlarm]) -> str:
    """Return ON where the configured alarm is raised and accepted, else OFF."""
    identity = AlarmIdentity.of(named.alarm)
    return "ON" if any(alarm.identity == identity for alarm in active) else "OFF"


def timestamp(moment: datetime) -> str:
    """Return ISO 8601 with offset, to the millisecond; a time without a zone is local."""
    return moment.astimezone().isoformat(timespec="milliseconds")
