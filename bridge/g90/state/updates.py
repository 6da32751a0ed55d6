"""Changes of a panel's state by events."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from bridge.g90.state.interpret import ARM_EVENTS, Interpretation, door_like
from bridge.g90.state.panel import Options, PanelState, Sensor
from bridge.g90.wire.constants import SensorType
from bridge.g90.wire.events import EventType, PanelEvent

if TYPE_CHECKING:
    from datetime import timedelta

_E = EventType
ARM_TYPES: Final = frozenset(ARM_EVENTS.values())
_FIELDS: Final[dict[EventType, dict[str, Any]]] = {
    _E.AC_POWER_LOST: {"ac_power": False},
    # The battery charges from here on; no report says that it is good again.
    _E.AC_POWER_RESTORED: {"ac_power": True, "battery_low": False},
    _E.PANEL_BATTERY_LOW: {"battery_low": True},
    _E.WIFI_CONNECTED: {"wifi": True},
    _E.WIFI_DISCONNECTED: {"wifi": False},
}


def learn(state: PanelState, meaning: Interpretation, name: str | None, sensor_type: int | None) -> PanelState:
    """Apply a sensor's name and type from any report that contains them."""
    if meaning.sensor is None:
        return state
    known = state.sensors.get(meaning.sensor)
    if known and (known.type is not None or sensor_type is None) and name in (None, known.name):
        return state
    known = known or Sensor(index=meaning.sensor)
    kind = sensor_type if known.type is None else known.type
    return _with(state, replace(known, name=name or known.name, type=kind))


def apply(state: PanelState, meaning: Interpretation, event: PanelEvent, options: Options) -> PanelState:
    """Return `state` after a new event; its sensor must be in `state`."""
    if event.type in ARM_TYPES:
        return after_arming(state, event.type)
    if event.type in _FIELDS:
        return replace(state, **_FIELDS[event.type])
    if meaning.alarms:
        state = replace(state, triggered=True, alarm_due=None)
    if event.sensor is None:
        return state
    return _with(state, _sensor(state.sensors[event.sensor], meaning, event, options))


def after_arming(state: PanelState, arm: EventType) -> PanelState:
    """Return `state` after arming or disarming, which ends an alarm and resets what an alarm had set."""
    sensors = {
        index: replace(s, tamper=_over(s.tamper), on=s.on and (door_like(s.type) or s.off_at is not None))
        for index, s in state.sensors.items()
    }
    return replace(state, arm=arm, triggered=False, alarm_due=None, sensors=sensors)


def _sensor(sensor: Sensor, meaning: Interpretation, event: PanelEvent, options: Options) -> Sensor:
    sensor = replace(sensor, last_activity=event.at)
    if event.type == _E.TAMPER:
        return replace(sensor, tamper=True)
    if event.type == _E.LOW_BATTERY:
        return replace(sensor, battery_low=True)
    if event.type == _E.SENSOR_CHANGED:
        return replace(sensor, battery_low=_over(sensor.battery_low), tamper=_over(sensor.tamper))
    says_nothing = event.type == _E.SENSOR_ACTIVITY and sensor.type in (SensorType.DOOR, SensorType.WIRED)
    if meaning.on is None or says_nothing:
        return sensor
    stays = _stays_on(sensor.type, event.type, options) if meaning.on else None
    return replace(sensor, on=meaning.on, off_at=None if stays is None else event.at + stays)


def _over(flag: bool | None) -> bool | None:  # noqa: FBT001 - a state
    return None if flag is None else False


def _stays_on(sensor_type: int | None, event: EventType, options: Options) -> timedelta | None:
    """Return how long a sensor stays on if it may never report the end; None: until reported."""
    if sensor_type == SensorType.MOTION or event == _E.SENSOR_ACTIVITY:
        return options.motion_off
    if event in (_E.ALARM, _E.SOS):
        return None
    return options.door_off


def _with(state: PanelState, sensor: Sensor) -> PanelState:
    return replace(state, sensors={**state.sensors, sensor.index: sensor})
