"""What is known of one panel, as a frozen value that survives a restart as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from bridge.common.errors import DamagedError
from bridge.g90.state.duplicates import ReportedEvent
from bridge.g90.wire.constants import type_name
from bridge.g90.wire.events import EventType, Form, PanelEvent

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Options:
    """How long a sensor stays on where nothing tells its end; None: until the panel tells (protocol page, Quirks)."""

    motion_off: timedelta = timedelta(seconds=30)
    door_off: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    index: int
    name: str = ""
    type: int | None = None
    on: bool = False
    off_at: datetime | None = None
    """When it goes off by itself."""
    tamper: bool | None = None
    """None: it has never told one; the same of `battery_low`."""
    battery_low: bool | None = None
    last_activity: datetime | None = None

    @property
    def type_name(self) -> str | None:
        return type_name(self.type)


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelState:
    """All that the Panel topics tell; what no report has told yet is None."""

    guid: str
    name: str | None = None
    """The user's name for it."""
    firmware: str | None = None
    product: str | None = None
    address: str | None = None
    connected_since: datetime | None = None
    last_seen: datetime | None = None
    online: bool | None = None
    arm: EventType | None = None
    """`armed_away`, `armed_home` or `disarmed`."""
    triggered: bool = False
    ac_power: bool | None = None
    battery_low: bool | None = None
    wifi: bool | None = None
    battery_mv: int | None = None
    gsm_signal: int | None = None
    wifi_signal: int | None = None
    sensors: Mapping[int, Sensor] = field(default_factory=dict)
    told: tuple[ReportedEvent, ...] = ()
    alarm_due: datetime | None = None
    """The panel said that it is in alarm, not why: if nothing says why until then, that is the alarm."""

    @property
    def state(self) -> str | None:
        """The payload of `B/panel/P/state`; None until anything told it."""
        if self.triggered:
            return "triggered"
        return self.arm.value if self.arm else None

    def as_json(self) -> dict[str, object]:
        """Return what `from_json` reads."""
        plain: dict[str, object] = _plain(replace(self, sensors={}))
        return plain | {"sensors": _plain(tuple(self.sensors.values()))}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> PanelState:
        """Return the state that `as_json` gave; raise `DamagedError` for anything else."""
        try:
            sensors = [Sensor(**_times(sensor, "off_at", "last_activity")) for sensor in stored["sensors"]]
            told = tuple(_told(entry) for entry in stored["told"])
            plain = _times(stored, "connected_since", "last_seen", "alarm_due")
            arm = EventType(stored["arm"]) if stored["arm"] else None
            return cls(**plain | {"arm": arm, "sensors": {s.index: s for s in sensors}, "told": told})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DamagedError(f"a stored panel state cannot be read: {error}") from error


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON in the making
    """Return a value as JSON has it. `asdict` copies each time and its zone deeply, which takes eight times as long."""
    match value:
        case None | str() | int():
            return value
        case datetime():
            return value.isoformat()
        case tuple():
            return [_plain(item) for item in value]
        case dict():
            return {key: _plain(item) for key, item in value.items()}
    return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}


def _times(stored: Mapping[str, Any], *names: str) -> dict[str, Any]:
    times = {name: _time(stored[name]) for name in names}
    return {**stored, **times}


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _told(stored: Mapping[str, Any]) -> ReportedEvent:
    held = stored["held"]
    if held:
        held = PanelEvent(**{**_times(held, "at"), "type": EventType(held["type"])})
    forms = tuple(Form(form) for form in stored["forms"])
    times = tuple(stored.get("times", ()))
    return ReportedEvent(**{**_times(stored, "received"), "forms": forms, "times": times, "held": held})
