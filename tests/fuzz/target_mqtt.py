"""What comes from MQTT on command topics. An input is a topic below the base, a line feed, and the payload."""

from __future__ import annotations

import json
from dataclasses import asdict

from fuzz.target import MARK, Target, hidden

from bridge.common.clock import Clock
from bridge.common.models import Alarm, Incoming, NamedAlarm, PreparedAlarm, Secret
from bridge.common.payloads import CommandError
from bridge.panels.code_lock import CodeLock, Verdict
from bridge.panels.topics import Action, PanelTopics
from bridge.sos_access.client import AsyncSOSAccessClient
from bridge.store.records import Entry, InvalidEntry
from bridge.transmitters.intake import CommandHandler
from bridge.transmitters.topics import Topics

_BURGLARY = NamedAlarm("burglary", "Burglary", Alarm("BA", section="1", section_text="House"), "BR")
_TOPICS = Topics("b", {"home": {"burglary": _BURGLARY}, "garage": {}})
_PANELS = PanelTopics("b")
_PASSWORD = "0123456789abcde"
_CLIENT = AsyncSOSAccessClient("IK00001", "SV300", _PASSWORD, "ALARM-OPER", ("192.0.2.1", 19000), None, True)  # noqa: FBT003
_LONGEST_ERROR = 1000


class _Deaf:
    """Stands for what stores and publishes: the command is judged before."""

    def __getattr__(self, name: str) -> object:
        return lambda *_, **__: None


_HANDLER = CommandHandler(_TOPICS, _Deaf(), _Deaf(), Clock())  # type: ignore[arg-type]  # nothing of them is used


def transmitters(data: bytes) -> str:
    """Take a message for a command of a transmitter, up to the row in the store and the bytes on the wire."""
    topic, payload = _message(data)
    message = Incoming(topic, payload, retained=False, duplicate=False, mid=1, reply=None)
    try:
        entries = [_HANDLER._entry(message)]
    except CommandError as error:
        entries = _HANDLER._rejected(message, error)
    return _stored(entries[0]) if entries else "no transmitter"


def _stored(entry: Entry) -> str:
    """Make what the store and MQTT get of an entry."""
    if isinstance(entry, InvalidEntry):
        _text(entry.result.error or "")
        json.dumps(entry.result.as_json()).encode()
        return f"{entry.result.request} {entry.result.error}"
    command = entry.command
    for text in (command.reference or "", *asdict(command.identity).values(), *command.warnings):
        text.encode()
    if command.alarm is None:
        _CLIENT.ping_request(command.reference).to_xml()
        return f"{command.request} {'with' if command.reference else 'without'} reference"
    assert PreparedAlarm(**json.loads(json.dumps(command.alarm.given()))) == command.alarm
    _CLIENT.prepared_request(command.alarm, "AL").to_xml()
    return f"{command.request} {' '.join(command.alarm.given())} {' '.join(command.warnings)}"


def panels(data: bytes) -> str:
    """Take a message for a command of a panel."""
    topic, payload = _message(data)
    try:
        command = _PANELS.parse(topic, payload)
    except CommandError as error:
        _text(str(error))
        hidden(data, rb'"code":\s*"', error)
        if b"{" not in payload:
            hidden(data, rb"", error)
        return str(error)
    hidden(data, rb'"code":\s*"', command)
    assert command.action in Action
    assert CodeLock(Secret(_PASSWORD)).check(command.code, disarms=True, now=0.0) in Verdict
    return f"{command.action} {'with' if command.code else 'without'} code"


def _message(data: bytes) -> tuple[str, bytes]:
    topic, _, payload = data.partition(b"\n")
    return f"b/{topic.decode('utf-8', 'replace')}", payload


def _text(error: str) -> None:
    assert error.isprintable(), f"not one line: {error!r}"
    assert len(error) <= _LONGEST_ERROR, f"{len(error)} characters of error"


_FIELDS = tuple(f'"{name}":'.encode() for name in asdict(_BURGLARY.alarm))
_LEAVES = (b"alarm/raise\n", b"alarm/restore\n", b"alarm/burglary/set\n", b"ping\n", b"auth/rotate\n", b"set\n")
_VALUES = (
    b'"BA"', b"ON", b"OFF", b"PRESS", b'{"lat": 59.7, "lon": 17.6}', b'"2026-01-01T00:00:00+01:00"', b"[", b"]",
    b"{", b"}", b",", b":", b'"', b"1e400", b"-0.0", b"59.7", b'"x1234567y1234567"', "ÅÄÖ €😀 \u200b\u2028".encode(),
    b'"\\ud83d"',
)  # fmt: skip
_PANEL_WORDS = (
    *(action.encode() for action in Action),
    b"\\ud83d",
    b'{"action": "',
    b'", "code": "',
    MARK.encode(),
    b'"}',
    b"{",
    b"[",
)
TARGETS = (
    Target("mqtt-transmitter", transmitters, (*_LEAVES, *_FIELDS, *_VALUES)),
    Target("mqtt-panel", panels, (*_PANEL_WORDS, b'"action":', b'"code":', b"panel/")),
)
