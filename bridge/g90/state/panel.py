"""The state of one panel as a frozen value, stored as JSON."""

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
    """How long sensors stay on that never report the end; None: until the panel reports it (PROTOCOL.md, Quirks)."""

    motion_off: timedelta = timedelta(seconds=30)
    door_off: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    index: int
    name: str = ""
    type: int | None = None
    on: bool = False
    off_at: datetime | None = None
    """When the bridge turns it off."""
    tamper: bool | None = None
    """None until reported for the first time; so is `battery_low`."""
    battery_low: bool | None = None
    last_activity: datetime | None = None

    @property
    def type_name(self) -> str | None:
        return type_name(self.type)


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelState:
    """Everything published about a panel; None for what was not reported yet (TOPICS.md, Panel states)."""

    guid: str
    name: str | None = None
    """From the configuration."""
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
    reported: tuple[ReportedEvent, ...] = ()
    alarm_due: datetime | None = None
    """The panel reported that it is in alarm without a reason; if none follows until then, an alarm is published."""

    @property
    def state(self) -> str | None:
        """The payload of `B/panel/P/state`; None until it is known."""
        if self.triggered:
            return "triggered"
        return self.arm.value if self.arm else None

    def as_json(self) -> dict[str, object]:
        """Return the JSON form, for `from_json`."""
        plain: dict[str, object] = _plain(replace(self, sensors={}))
        return plain | {"sensors": _plain(tuple(self.sensors.values())), "told": plain.pop("reported")}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> PanelState:
        """Return the state from the result of `as_json`; raise `DamagedError` for anything else."""
        try:
            sensors = [Sensor(**_times(sensor, "off_at", "last_activity")) for sensor in stored["sensors"]]
            plain = _times(stored, "connected_since", "last_seen", "alarm_due")
            reported = tuple(_reported(entry) for entry in plain.pop("told"))
            arm = EventType(stored["arm"]) if stored["arm"] else None
            return cls(**plain | {"arm": arm, "sensors": {s.index: s for s in sensors}, "reported": reported})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DamagedError(f"invalid panel state in the store: {error}") from error


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON in the making
    """Return `value` in JSON types. `asdict` takes eight times as long: it copies every time and its zone deeply."""
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


def _reported(stored: Mapping[str, Any]) -> ReportedEvent:
    held = stored["held"]
    if held:
        held = PanelEvent(**{**_times(held, "at"), "type": EventType(held["type"])})
    forms = tuple(Form(form) for form in stored["forms"])
    times = tuple(stored.get("times", ()))
    return ReportedEvent(**{**_times(stored, "received"), "forms": forms, "times": times, "held": held})
