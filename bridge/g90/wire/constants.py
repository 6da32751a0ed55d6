"""Numbers of the G90 protocols and their names for users (PROTOCOL.md, Numbers)."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

CLOUD_PORT: Final = 5678
LOCAL_PORT: Final = 12368
VERSION: Final = 1
"""The only version seen in a versioned header."""


class Direction(IntEnum):
    UNSPECIFIED = 0x00
    DEVICE = 0x10
    CLOUD = 0x20
    DEVICE_DISCOVERY = 0x30
    COMMANDS = 0x50
    """Source of the commands of the vendor's cloud."""
    CLOUD_DISCOVERY = 0xD0


class FrameCommand(IntEnum):
    """First byte of a frame (PROTOCOL.md, Headers)."""

    HELLO = 0x01
    STATUS_CHANGE = 0x21
    NOTIFICATION = 0x22
    COMMAND = 0x29
    HELLO_ACK = 0x41
    HELLO_INFO = 0x63


class AlertType(IntEnum):
    """Type of an alert, and first payload byte of a status change (PROTOCOL.md, Status change)."""

    PANEL_SOS = 1
    STATE_CHANGE = 2
    ALARM = 3
    SENSOR_ACTIVITY = 4


class NoticeKind(IntEnum):
    """Kind of a notice (PROTOCOL.md, Notification)."""

    ARM_DISARM = 1
    SENSOR_CHANGE = 4
    SENSOR_ACTIVITY = 5
    DOOR_OPEN_WHEN_ARMING = 6
    FIRMWARE_UPDATING = 8


class ArmCode(IntEnum):
    """States in the local protocol and in arm notices (PROTOCOL.md, Arm states).

    A state change has other numbers.
    """

    ARMED_AWAY = 1
    ARMED_HOME = 2
    DISARMED = 3
    ALARMED = 4


class StateCode(IntEnum):
    """States of a state change (PROTOCOL.md, States of a state change)."""

    AC_POWER_LOST = 1
    AC_POWER_RESTORED = 2
    DISARMED = 3
    ARMED_AWAY = 4
    ARMED_HOME = 5
    BATTERY_LOW = 6
    WIFI_CONNECTED = 7
    WIFI_DISCONNECTED = 8


class Source(IntEnum):
    PANEL = 0
    SENSOR = 1
    TAMPER = 3
    INFRARED = 8
    REMOTE = 10
    RFID = 11
    DOORBELL = 12
    FINGERPRINT = 15


class SensorType(IntEnum):
    DOOR = 1
    GLASS_BREAK = 2
    GAS = 3
    SMOKE = 4
    SOS_BUTTON = 5
    VIBRATION = 6
    WATER = 7
    MOTION = 8
    BEAM = 9
    REMOTE = 10
    RFID = 11
    DOORBELL = 12
    BUTTON = 13
    WATCH = 14
    FINGERPRINT_LOCK = 15
    WIRED = 126


FIRST_OUTPUT: Final = 128
"""From this type on: sockets, sirens, curtains and other outputs."""

IMPLIED_TYPES: Final = {
    Source.INFRARED: SensorType.MOTION,
    Source.REMOTE: SensorType.REMOTE,
    Source.RFID: SensorType.RFID,
    Source.DOORBELL: SensorType.DOORBELL,
    Source.FINGERPRINT: SensorType.FINGERPRINT_LOCK,
}
"""Sensor types that follow from the source of a report."""


class SensorCode(IntEnum):
    """States of all sensors but infrared ones (PROTOCOL.md, Sensor states)."""

    CLOSED = 0
    OPEN = 1
    SOS = 2
    TAMPER = 3
    BATTERY_LOW = 4
    ALARM = 254


class InfraredCode(IntEnum):
    """States of infrared sensors (PROTOCOL.md, Sensor states)."""

    MOTION = 0
    TAMPER = 1
    BATTERY_LOW = 2


REMOTE_BUTTONS: Final = {0: "arm_away", 1: "arm_home", 2: "disarm", 3: "sos"}
RFID_ACTIONS: Final = {0: "arm_away", 1: "arm_home", 2: "disarm"} | {6 + card: f"card_{card}" for card in range(5)}
RFID_BATTERY_LOW: Final = 5

_TYPE_NAMES: Final = {int(kind): kind.name.lower() for kind in SensorType}
_SOURCE_NAMES: Final = {int(source): source.name.lower() for source in Source}
SENSOR_TYPE_NAMES: Final = frozenset(_TYPE_NAMES.values()) | {"output"}
"""All names that `type_name` gives to known types; rules may use these."""


def type_name(kind: int | None) -> str | None:
    """Return the name of a sensor type: `smoke`, `output` from 128 on, `type_16` for an unknown one."""
    if kind is None:
        return None
    return _TYPE_NAMES.get(kind) or ("output" if kind >= FIRST_OUTPUT else f"type_{kind}")


def source_name(source: int | None) -> str | None:
    return None if source is None else _SOURCE_NAMES.get(source) or f"source_{source}"
