"""Reports of a panel (`Alert`, `Notice`) and their meaning for users (`PanelEvent`), as frozen values.

A panel sends the same event in up to three forms, so a report has the form it came in (PROTOCOL.md, Repeated reports).
`Alert` and `PanelEvent` are made of positional arguments where each report makes one: names take twice as long.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

from bridge.common.values import value


class Form(StrEnum):
    """The form of a report; a panel sends an event at most once in each."""

    STATUS = "status"
    """0x21."""
    ALERT = "alert"
    """0x22 with code 208."""
    NOTICE = "notice"
    """0x22 with code 170."""
    READ = "read"
    """The response to a status request of the bridge."""
    HISTORY = "history"
    """A record of the panel's own history."""


A_CLOCK: Final = 1_000_000_000
"""Unix time in 2001. A clock before this was never set and counts from the panel's start, so its times repeat."""


@value(frozen=True, slots=True)
class Alert:
    """One status change (0x21) or alert (0x22, 208); None for what its form does not contain."""

    form: Form
    type: int
    event: int
    """The state of a state change, else the sensor's index."""
    state: int = 0
    source: int | None = None
    sensor_type: int | None = None
    name: str = ""
    guid: str | None = None
    time: int | None = None
    """Unix time by the panel's clock, in seconds."""


@value(frozen=True, slots=True, kw_only=True)
class Notice:
    """One notification (0x22, 170). It has no time; `value` is the state or the action of its kind."""

    kind: int
    sensor: int | None = None
    name: str = ""
    value: int | None = None


Report = Alert | Notice


class EventType(StrEnum):
    """Types of a panel's events (TOPICS.md, Panel events)."""

    ALARM = "alarm"
    """A sensor's alarm, or an alarm without a known reason."""
    TAMPER = "tamper"
    """A sensor was tampered with."""
    SOS = "sos"
    """SOS on the panel, a remote or an SOS button."""
    SENSOR_ACTIVITY = "sensor_activity"
    """Activity of a sensor other than a door."""
    DOOR_OPENED = "door_opened"
    """A door or wired sensor, or one of unknown type, opened."""
    DOOR_CLOSED = "door_closed"
    """The same closed."""
    LOW_BATTERY = "low_battery"
    """The battery of a sensor is low."""
    ARMED_AWAY = "armed_away"
    """The panel was armed with nobody at home."""
    ARMED_HOME = "armed_home"
    """The panel was armed with people at home."""
    DISARMED = "disarmed"
    """The panel was disarmed."""
    REMOTE_BUTTON = "remote_button"
    """A button of a remote."""
    RFID = "rfid"
    """A keypad action or card."""
    DOORBELL = "doorbell"
    """A ring."""
    DOOR_OPEN_WHEN_ARMING = "door_open_when_arming"
    """A door was open while arming."""
    AC_POWER_LOST = "ac_power_lost"
    """Mains power failed."""
    AC_POWER_RESTORED = "ac_power_restored"
    """Mains power is back."""
    PANEL_BATTERY_LOW = "panel_battery_low"
    """The battery of the panel is low."""
    WIFI_CONNECTED = "wifi_connected"
    """The panel's Wi-Fi connected."""
    WIFI_DISCONNECTED = "wifi_disconnected"
    """The panel's Wi-Fi disconnected."""
    SENSOR_CHANGED = "sensor_changed"
    """A sensor was added or changed."""
    PANEL_OFFLINE = "panel_offline"
    """Nothing was heard from the panel for `offline_after`."""
    PANEL_ONLINE = "panel_online"
    """The panel is back."""


PANEL_EVENTS: Final = frozenset({
    EventType.ARMED_AWAY, EventType.ARMED_HOME, EventType.DISARMED, EventType.AC_POWER_LOST,
    EventType.AC_POWER_RESTORED, EventType.PANEL_BATTERY_LOW, EventType.WIFI_CONNECTED, EventType.WIFI_DISCONNECTED,
    EventType.PANEL_OFFLINE, EventType.PANEL_ONLINE,
})  # fmt: skip
"""Events of the panel itself; they have no sensor."""

_FAMILIES: Final = {EventType.SOS: "alarm", EventType.DOOR_OPENED: "activity", EventType.SENSOR_ACTIVITY: "activity"}
"""Types that one event can have, depending on the form: they share an identity."""


@value(frozen=True, slots=True)
class PanelEvent:
    """One event at a panel, in whichever forms it was reported."""

    guid: str
    type: EventType
    at: datetime
    """When the bridge received it."""
    sensor: int | None = None
    name: str | None = None
    sensor_type: str | None = None
    source: str | None = None
    action: str | None = None
    """The remote's button, the keypad's action, or the change of a sensor."""
    panel_time: int | None = None
    """Unix time by the panel's clock, in seconds."""
    identity: str | None = None
    """The key of the event that this one knows more about; None: it has its own."""
    again: bool = False
    """It was reported before under the same key; this form knows more."""
    missed: bool = False
    """It was found in an answer of the panel, not reported by it."""
    ended_by: tuple[EventType, ...] = ()
    """How the panel was armed or disarmed after it, for an alarm that was found later."""

    @property
    def over(self) -> bool:
        """Whether it is an alarm that had ended when it was found."""
        return bool(self.ended_by)

    @property
    def key(self) -> str:
        """The identity of the event: the same in every form, also after a restart."""
        if self.identity is not None:
            return self.identity
        moment: float | None = self.panel_time
        if moment is None or moment < A_CLOCK:
            moment = self.at.timestamp()
        sensor = "" if self.sensor is None else self.sensor
        return f"{self.guid}:{_FAMILIES.get(self.type, self.type.value)}:{sensor}:{self.action or ''}:{moment}"

    def as_json(self) -> dict[str, object]:
        """Return the payload of `B/panel/P/event`, without fields that do not apply (TOPICS.md, Panel events)."""
        payload: dict[str, object] = {"type": self.type.value}
        for field in ("sensor", "name", "sensor_type", "source", "action", "panel_time"):
            if (value := getattr(self, field)) is not None:
                payload[field] = value
        if self.missed:
            payload["missed"] = True
        return payload | {"at": self.at.isoformat()}
