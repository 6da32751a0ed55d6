"""Payloads of status changes (0x21), notifications (0x22) (PROTOCOL.md, Status change; Notification)."""

from __future__ import annotations

import json
import struct
from functools import lru_cache
from typing import Any, Final

from bridge.common.text import clean
from bridge.g90.wire.constants import AlertType, NoticeKind
from bridge.g90.wire.events import Alert, Form, Notice, Report
from bridge.g90.wire.frames import MessageError

_STATE: Final = struct.Struct("<2B34xi")
_SENSOR: Final = struct.Struct("<4B32si")
_TAIL: Final = bytes(68)
_JSON: Final = json.JSONDecoder(strict=False)
_WHITESPACE: Final = " \t\n\r"
"""Of JSON; the decoder's own search for it takes as long as the rest."""
_NAME_BYTES: Final = 32
_ALERT_TYPES: Final = frozenset(AlertType)
_STATE_CHANGE, _ACTIVITY = AlertType.STATE_CHANGE, AlertType.SENSOR_ACTIVITY
_AS_STATUS, _AS_ALERT = Form.STATUS, Form.ALERT
"""Members of enums that each report needs: to look one up takes longer than to call a function on Python 3.11."""
LAST_SENSOR: Final = 0xFFFF
"""Panels number sensors by two bytes at most."""
_NOTIFICATION: Final = 170
_ALERT: Final = 208


def parse_status(payload: bytes) -> Alert:
    """Parse the payload of a status change; bytes after the time are ignored."""
    if len(payload) < _SENSOR.size:
        raise MessageError(f"a status change of {len(payload)} bytes, expected at least {_SENSOR.size}")
    kind, event, origin, state, name, time = _SENSOR.unpack_from(payload)
    if kind not in _ALERT_TYPES:
        raise MessageError(f"a status change of unknown type {kind}")
    if kind == _STATE_CHANGE:
        return Alert(form=_AS_STATUS, type=kind, event=event, time=moment(time))
    source, sensor_type = (origin, None) if kind == _ACTIVITY else (None, origin)
    return Alert(_AS_STATUS, kind, event, state, source, sensor_type, _name(name), None, moment(time))


def build_status(alert: Alert) -> bytes:
    time = alert.time or 0
    if alert.type == _STATE_CHANGE:
        return _STATE.pack(alert.type, alert.event, time) + _TAIL
    origin = alert.source if alert.type == _ACTIVITY else alert.sensor_type
    name = alert.name.encode()[:_NAME_BYTES]
    return _SENSOR.pack(alert.type, alert.event, origin or 0, alert.state, name, time) + _TAIL


def parse_notification(payload: bytes) -> Report:
    """Parse the JSON of a notification; raise `MessageError` for anything but a known notice or alert."""
    document: Any = load_json(payload.partition(b"\0")[0])
    match document:  # `int(kind)` as a pattern takes a microsecond
        case [208, [kind, event, source, state, name, guid, time, *_]]:
            if type(kind) is type(event) is type(source) is type(state) is type(time) is int:
                return _alert((kind, event, source, state), name, guid, time)
        case [170, [kind, data]] if isinstance(kind, int) and isinstance(data, list):
            return _notice(kind, data)
    raise MessageError(f"a notification of an unknown form: {clean(repr(payload))}")


def build_notification(report: Report) -> bytes:
    if isinstance(report, Notice):
        fields = (report.sensor, report.name, report.value)
        data: list[object] = [f for f in fields if f is not None and (f != "" or report.sensor is not None)]
        document: list[object] = [_NOTIFICATION, [int(report.kind), data]]
    else:
        numbers = [int(report.type), int(report.event), int(report.source or 0), int(report.state)]
        document = [_ALERT, [*numbers, report.name, report.guid or "", report.time or 0, 0, [""]]]
    return dump_json(document) + b"\0"


def dump_json(document: list[object]) -> bytes:
    """Return JSON as panels write it, without spaces."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def load_json(text: bytes) -> object:
    """Parse JSON as panels write it: names can be GBK or invalid UTF-8, and hold control characters."""
    try:
        content = _decoded(text).strip(_WHITESPACE)
        document: object
        document, end = _JSON.raw_decode(content)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"invalid JSON: {clean(repr(text))}") from error
    if end < len(content):
        raise MessageError(f"invalid JSON: {clean(repr(text))}")
    return document


def _decoded(text: bytes) -> str:
    """Return text of a panel: UTF-8 or else GBK, where a byte of a character can look like a backslash."""
    for encoding in ("utf-8", "gbk"):
        try:
            return text.decode(encoding)
        except UnicodeDecodeError:
            continue
    return text.decode(errors="replace")


def _notice(kind: int, data: list[object]) -> Notice:
    match kind, data:
        case NoticeKind.ARM_DISARM, [int(state)]:
            return Notice(kind=kind, value=state)
        case NoticeKind.SENSOR_CHANGE, [int(index), str(name), int(action), *_]:
            return Notice(kind=kind, sensor=_index(index), name=clean(name), value=action)
        case ((NoticeKind.SENSOR_ACTIVITY | NoticeKind.DOOR_OPEN_WHEN_ARMING), [int(index), str(name), *_]):
            return Notice(kind=kind, sensor=_index(index), name=clean(name))
        case NoticeKind.FIRMWARE_UPDATING, _:
            return Notice(kind=kind)
    raise MessageError(f"a notice of kind {kind} with {clean(data)}")


def _alert(numbers: tuple[int, int, int, int], name: object, guid: object, time: int) -> Alert:
    kind, event, source, state = numbers
    if not (isinstance(name, str) and isinstance(guid, str)):
        raise MessageError(f"an alert with the name {clean(name)} and the GUID {clean(guid)}")
    return Alert(_AS_ALERT, kind, _index(event), state, source, None, clean(name), guid or None, moment(time))


def _index(number: int) -> int:
    if not 0 <= number <= LAST_SENSOR:
        raise MessageError(f"sensor index {clean(number)} is out of range (0 to {LAST_SENSOR})")
    return number


def moment(time: int) -> int | None:
    """Return a Unix time, None if it is out of range."""
    return time if 0 < time < 1 << 32 else None


@lru_cache(maxsize=1024)
def _name(padded: bytes) -> str:
    text = padded.partition(b"\0")[0]
    cut = len(text) == _NAME_BYTES  # perhaps inside a character
    return clean(text.decode(errors="ignore") if cut and _is_cut(text) else _decoded(text))


def _is_cut(text: bytes) -> bool:
    """Return whether text is UTF-8 but for a last character that is cut off."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return True
