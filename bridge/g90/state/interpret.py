"""The meaning of alerts and notices, independent of their form (PROTOCOL.md, Numbers; Quirks)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bridge.g90.wire.constants import (
    IMPLIED_TYPES,
    REMOTE_BUTTONS,
    RFID_ACTIONS,
    RFID_BATTERY_LOW,
    AlertType,
    ArmCode,
    InfraredCode,
    NoticeKind,
    SensorCode,
    SensorType,
    Source,
    StateCode,
)
from bridge.g90.wire.events import Alert, EventType, Notice, Report
from bridge.g90.wire.frames import MessageError

_E = EventType
STATE_EVENTS: Final[dict[StateCode, EventType]] = {
    code: _E.PANEL_BATTERY_LOW if code is StateCode.BATTERY_LOW else EventType[code.name] for code in StateCode
}
ARM_EVENTS: Final[dict[ArmCode, EventType]] = {
    code: EventType[code.name] for code in ArmCode if code is not ArmCode.ALARMED
}
_INFRARED: Final = dict(zip(InfraredCode, (SensorCode.OPEN, SensorCode.TAMPER, SensorCode.BATTERY_LOW), strict=True))
_DOOR_LIKE: Final = frozenset({None, SensorType.DOOR, SensorType.WIRED})


@dataclass(frozen=True, slots=True)
class Interpretation:
    event: EventType | None
    """None if the report changes a state without being an event."""
    sensor: int | None = None
    action: str | None = None
    on: bool | None = None
    """The sensor's new state; None: unchanged."""
    alarms: bool = False
    """The panel is in alarm."""


def door_like(sensor_type: int | None) -> bool:
    """Return whether such a sensor opens and closes; an unknown type counts as a door."""
    return sensor_type in _DOOR_LIKE


def reported_type(alert: Alert) -> int | None:
    """Return the sensor's type if the alert contains it or its source implies it, else None."""
    return IMPLIED_TYPES.get(alert.source) if alert.sensor_type is None else alert.sensor_type  # type: ignore[call-overload]


def interpret(report: Report, sensor_type: int | None) -> Interpretation:
    """Return the meaning of a report about a sensor of `sensor_type`. Raises MessageError if unknown."""
    if isinstance(report, Notice):
        return _notice(report)
    match report.type:
        case AlertType.PANEL_SOS:
            return Interpretation(_E.SOS, alarms=True)
        case AlertType.STATE_CHANGE if report.event in STATE_EVENTS:
            return Interpretation(STATE_EVENTS[StateCode(report.event)])
        case AlertType.ALARM:
            return _alarm(report, sensor_type)
        case AlertType.SENSOR_ACTIVITY:
            return _activity(report, sensor_type)
    raise MessageError(f"an alert of type {report.type} with event {report.event}")


def _notice(notice: Notice) -> Interpretation:
    match notice.kind:
        case NoticeKind.ARM_DISARM if notice.value == ArmCode.ALARMED:
            return Interpretation(None, alarms=True)
        case NoticeKind.ARM_DISARM if notice.value in tuple(ArmCode):
            return Interpretation(ARM_EVENTS[ArmCode(notice.value)])
        case NoticeKind.SENSOR_CHANGE:
            return Interpretation(_E.SENSOR_CHANGED, notice.sensor, "added" if notice.value == 1 else "changed")
        case NoticeKind.SENSOR_ACTIVITY:
            return Interpretation(_E.SENSOR_ACTIVITY, notice.sensor, on=True)
        case NoticeKind.DOOR_OPEN_WHEN_ARMING:
            return Interpretation(_E.DOOR_OPEN_WHEN_ARMING, notice.sensor, on=True)
        case NoticeKind.FIRMWARE_UPDATING:
            return Interpretation(None)
    raise MessageError(f"a notice of kind {notice.kind} with {notice.value}")


def _sensor_code(alert: Alert) -> int:
    """Return the state as `SensorCode`, translated if it is an `InfraredCode`."""
    infrared = alert.source == Source.INFRARED or alert.sensor_type == SensorType.MOTION
    if infrared and alert.state in tuple(InfraredCode):
        return _INFRARED[InfraredCode(alert.state)]
    return alert.state


def _trouble(alert: Alert, code: int) -> Interpretation | None:
    """Return tamper or low battery, which both alarms and activities report."""
    if alert.source == Source.TAMPER or code == SensorCode.TAMPER:
        return Interpretation(_E.TAMPER, alert.event, alarms=alert.type == AlertType.ALARM)
    return Interpretation(_E.LOW_BATTERY, alert.event) if code == SensorCode.BATTERY_LOW else None


def _alarm(alert: Alert, sensor_type: int | None) -> Interpretation:
    code = _sensor_code(alert)
    remote = sensor_type == SensorType.REMOTE or alert.source == Source.REMOTE  # whose button 3 is not a tamper
    if not remote and (trouble := _trouble(alert, code)):
        return trouble
    if remote or sensor_type == SensorType.SOS_BUTTON:
        return Interpretation(_E.SOS, alert.event, alarms=True)
    if sensor_type == SensorType.DOORBELL and code in (SensorCode.CLOSED, SensorCode.OPEN):
        return Interpretation(_E.DOORBELL, alert.event)
    event = _E.SOS if code == SensorCode.SOS else _E.ALARM
    return Interpretation(event, alert.event, on=True, alarms=True)


def _activity(alert: Alert, sensor_type: int | None) -> Interpretation:
    match alert.source:
        case Source.REMOTE if alert.state in REMOTE_BUTTONS:
            button = REMOTE_BUTTONS[alert.state]
            sos = button == "sos"
            return Interpretation(_E.SOS if sos else _E.REMOTE_BUTTON, alert.event, None if sos else button, alarms=sos)
        case Source.RFID if alert.state == RFID_BATTERY_LOW:
            return Interpretation(_E.LOW_BATTERY, alert.event)
        case Source.RFID if alert.state in RFID_ACTIONS:
            return Interpretation(_E.RFID, alert.event, RFID_ACTIONS[alert.state])
        case Source.DOORBELL if alert.state in (SensorCode.CLOSED, SensorCode.OPEN):
            return Interpretation(_E.DOORBELL, alert.event)
    code = _sensor_code(alert)
    return _trouble(alert, code) or _movement(alert, code, sensor_type)


def _movement(alert: Alert, code: int, sensor_type: int | None) -> Interpretation:
    match code:
        case SensorCode.OPEN:
            return Interpretation(
                _E.DOOR_OPENED if door_like(sensor_type) else _E.SENSOR_ACTIVITY, alert.event, on=True
            )
        case SensorCode.CLOSED:
            return Interpretation(_E.DOOR_CLOSED if door_like(sensor_type) else None, alert.event, on=False)
        case SensorCode.SOS:
            return Interpretation(_E.SOS, alert.event, on=True, alarms=True)
        case SensorCode.ALARM:
            return Interpretation(_E.ALARM, alert.event, on=True, alarms=True)
    raise MessageError(f"sensor activity with unknown state {alert.state}")
