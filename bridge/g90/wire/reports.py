"""Payloads of status changes (0x21) and notifications (0x22), both ways (protocol page, Messages and JSON)."""

from __future__ import annotations

import json
import struct
from typing import Final

from bridge.common.text import clean
from bridge.g90.wire.constants import AlertType, NoticeKind
from bridge.g90.wire.events import Alert, Form, Notice, Report
from bridge.g90.wire.frames import MessageError

_STATE: Final = struct.Struct("<2B34xi")
_SENSOR: Final = struct.Struct("<4B32si")
_TAIL: Final = bytes(68)
_NAME_BYTES: Final = 32
LAST_SENSOR: Final = 999
"""No panel seen holds more than a few hundred sensors; a bound keeps a panel's state small."""
_NOTIFICATION: Final = 170
_ALERT: Final = 208


def parse_status(payload: bytes) -> Alert:
    """Read the payload of a status change; what follows the time does not matter."""
    if len(payload) < _SENSOR.size:
        raise MessageError(f"a status change with {len(payload)} bytes, {_SENSOR.size} at least")
    kind, event, origin, state, name, time = _SENSOR.unpack_from(payload)
    if kind == AlertType.STATE_CHANGE:
        return Alert(form=Form.STATUS, type=kind, event=event, time=_moment(time))
    if kind not in (AlertType.SENSOR_ACTIVITY, AlertType.ALARM, AlertType.PANEL_SOS):
        raise MessageError(f"a status change of the unknown type {kind}")
    tells_source = kind == AlertType.SENSOR_ACTIVITY
    return Alert(
        form=Form.STATUS,
        type=kind,
        event=event,
        source=origin if tells_source else None,
        sensor_type=None if tells_source else origin,
        state=state,
        name=_name(name),
        time=_moment(time),
    )


def build_status(alert: Alert) -> bytes:
    """Return the payload that tells `alert` as a status change."""
    time = alert.time or 0
    if alert.type == AlertType.STATE_CHANGE:
        return _STATE.pack(alert.type, alert.event, time) + _TAIL
    origin = alert.source if alert.type == AlertType.SENSOR_ACTIVITY else alert.sensor_type
    name = alert.name.encode()[:_NAME_BYTES]
    return _SENSOR.pack(alert.type, alert.event, origin or 0, alert.state, name, time) + _TAIL


def parse_notification(payload: bytes) -> Report:
    """Read the JSON of a notification; raise `MessageError` for anything but a known notice or alert."""
    document = load_json(payload.split(b"\0", 1)[0])
    match document:
        case [170, [int(kind), list(data)]]:
            return _notice(kind, data)
        case [208, [int(kind), int(event), int(source), int(state), name, guid, int(time), *_]]:
            return _alert((kind, event, source, state), name, guid, time)
    raise MessageError(f"a notification of an unknown form: {clean(repr(payload))}")


def build_notification(report: Report) -> bytes:
    """Return the payload that tells `report` as JSON."""
    if isinstance(report, Notice):
        fields = (report.sensor, report.name, report.value)
        data: list[object] = [f for f in fields if f is not None and (f != "" or report.sensor is not None)]
        document: list[object] = [_NOTIFICATION, [int(report.kind), data]]
    else:
        numbers = [int(report.type), int(report.event), int(report.source or 0), int(report.state)]
        document = [_ALERT, [*numbers, report.name, report.guid or "", report.time or 0, 0, [""]]]
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode() + b"\0"


def load_json(text: bytes) -> object:
    """Read JSON as panels write it: names may hold invalid UTF-8 and control characters."""
    try:
        return json.loads(text.decode("utf-8", "replace"), strict=False)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"no JSON: {clean(repr(text))}") from error


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
    return Alert(
        form=Form.ALERT,
        type=kind,
        event=_index(event),
        source=source,
        state=state,
        name=clean(name),
        guid=guid or None,
        time=_moment(time),
    )


def _index(number: int) -> int:
    if not 0 <= number <= LAST_SENSOR:
        raise MessageError(f"a sensor's index {clean(number)}")
    return number


def _moment(time: int) -> int | None:
    """Return a time that can be compared; a panel whose clock was never set tells none."""
    return time if 0 < time < 1 << 32 else None


def _name(padded: bytes) -> str:
    return clean(padded.split(b"\0", 1)[0].decode("utf-8", "replace"))
