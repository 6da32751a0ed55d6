"""What inputs change in a panel's state: sensors, arming, and what the panel lists of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from bridge.g90.state.interpret import ARM_EVENTS, Interpretation, door_like
from bridge.g90.state.model import (
    Commanded,
    FlagsRead,
    InfoRead,
    Input,
    Now,
    Options,
    PanelState,
    Partition,
    Relay,
    RelaysRead,
    Sensor,
    SensorsRead,
    Switched,
    UpstreamLink,
    evolve,
    read_at,
    updated,
)
from bridge.g90.wire.answers import AlertFlag, WifiStatus, channels
from bridge.g90.wire.commands import SensorRecord
from bridge.g90.wire.constants import SensorType
from bridge.g90.wire.events import Alert, EventType, Form, PanelEvent

_E = EventType
ARM_TYPES: Final = frozenset(ARM_EVENTS.values())
DOOR_OFF_S: Final = 60.0
"""How long a door counts as open whose closing is not reported."""
SAME_ARMING_S: Final = 60.0
"""A door is reported open at the start of an arming; the armed state may come after the exit delay."""
SAME_ACTOR_S: Final = 10.0
"""The arming follows the remote's report within seconds."""
_ONE_BYTE: Final = 0x100
_CUT_NAME: Final = 29
"""Bytes of the shortest name that 0x21 may have cut to its 32."""
_MOST_SENSORS: Final = 1000
_REPORTED: Final[dict[EventType, dict[str, Any]]] = {
    _E.AC_POWER_LOST: {"ac_power": False},
    # The battery is charged from here on; nothing else says that it is good again.
    _E.AC_POWER_RESTORED: {"ac_power": True, "battery_low": False},
    _E.PANEL_BATTERY_LOW: {"battery_low": True},
    _E.WIFI_CONNECTED: {"wifi": True},
    _E.WIFI_DISCONNECTED: {"wifi": False},
}
_MARKS: Final[dict[EventType, Callable[[Sensor, Now], dict[str, Any]]]] = {
    _E.TAMPER: lambda _sensor, _now: {"tamper": True},
    _E.LOW_BATTERY: lambda _sensor, _now: {"battery_low": True},
    _E.DOOR_OPEN_WHEN_ARMING: lambda _sensor, now: {"open_since": now.steady},
    _E.SENSOR_CHANGED: lambda sensor, _now: {"tamper": _cleared(sensor.tamper)},
}
"""What an event says of its sensor beside whether it is on."""
_ALARMS: Final = frozenset({_E.ALARM, _E.SOS})
_ARMED: Final = frozenset({_E.ARMED_AWAY, _E.ARMED_HOME})
_ACTED: Final = frozenset({_E.REMOTE_BUTTON, _E.RFID})
_DOOR, _WIRED, _MOTION, _ACTIVITY = SensorType.DOOR, SensorType.WIRED, SensorType.MOTION, _E.SENSOR_ACTIVITY
_CLOSING: Final = int(AlertFlag.DOOR_CLOSE)
"""Members of enums that each report needs: to look one up takes longer than to call a function on Python 3.11."""


def locate(state: PanelState, report: Alert) -> Sensor | None:
    """Return the sensor that a report is about, None for one that is not known.

    0x21 has one byte for its index, and the name decides between the sensors that share this byte.
    """
    known = state.sensors.get(report.event)
    if known is None or known.name == report.name or report.form is not Form.STATUS or not report.name:
        return known
    same = (s for s in state.sensors.values() if s.index % _ONE_BYTE == report.event and _is_named(s, report.name))
    return known if _is_named(known, report.name) else next(same, known)


def _is_named(sensor: Sensor, name: str) -> bool:
    """Whether 0x21 can call a sensor `name`: it cuts long names, perhaps inside a character."""
    return sensor.name == name or (len(name.encode()) >= _CUT_NAME and sensor.name.startswith(name))


def learn(state: PanelState, meaning: Interpretation, name: str, sensor_type: int | None) -> PanelState:
    """Take a sensor's name and type from a report that has them; a name that 0x21 cut stays whole."""
    index = meaning.sensor
    if index is None:
        return state
    known = state.sensors.get(index)
    if known is None:
        return _with(_without_spare(state), Sensor(index=index, name=name, type=sensor_type))
    if not name or known.name.startswith(name):
        name = known.name
    if known.type is not None:
        sensor_type = known.type
    if name == known.name and sensor_type == known.type:
        return state
    return _with(state, evolve(known, name=name, type=sensor_type))


def _without_spare(state: PanelState) -> PanelState:
    """Return `state` with room for one more sensor: whoever sends us reports can make up indices."""
    if len(state.sensors) < _MOST_SENSORS:
        return state
    spare = min(state.sensors.values(), key=lambda sensor: (sensor.flags is not None, sensor.on))
    return evolve(state, sensors={index: sensor for index, sensor in state.sensors.items() if sensor is not spare})


def effects(
    state: PanelState, meaning: Interpretation, event: PanelEvent, now: Now, options: Options
) -> dict[str, Any]:
    """Return what a new event changes; its sensor is known by now."""
    if event.sensor is None:
        if event.type in ARM_TYPES:
            return _armed(state, event, now)
        if event.type in _REPORTED:
            return {"hardware": evolve(state.hardware, **_REPORTED[event.type])}
    changes: dict[str, Any] = {}
    if meaning.alarms:
        changes["partition"] = evolve(state.partition, triggered=True, moved=now.steady)
    elif event.type in _ACTED:
        changes["partition"] = evolve(state.partition, actor=(event.name or event.source, now.steady))
    if event.sensor is not None:
        sensor = _sensor(state, state.sensors[event.sensor], meaning, event, now, options)
        changes["sensors"] = {**state.sensors, event.sensor: sensor}
        if sensor.off_at is not None:
            changes["due"] = earlier(state.due, sensor.off_at)
    return changes


def passed(state: PanelState, steady: float) -> PanelState:
    """Return `state` with the sensors off whose time is over."""
    ending = {i: s for i, s in state.sensors.items() if s.off_at is not None and s.off_at <= steady}
    off = {index: evolve(sensor, on=False, off_at=None) for index, sensor in ending.items()}
    return evolve(state, sensors={**state.sensors, **off}) if off else state


def taken(state: PanelState, message: Input, now: Now) -> PanelState:
    """Take what the panel carried out, or lists of itself."""
    match message:
        case Switched(number, on) if number in state.relays:
            return updated(state, relays={**state.relays, number: replace(state.relays[number], on=on)})
        case Commanded():
            return evolve(state, partition=evolve(state.partition, actor=("mqtt", now.steady)))
        case UpstreamLink(connected):
            return updated(state, link=updated(state.link, upstream_connected=connected))
        case SensorsRead() | RelaysRead() | FlagsRead() | InfoRead():
            return updated(read_at(state, now), **_read(state, message))
    return state


def _read(state: PanelState, message: SensorsRead | RelaysRead | FlagsRead | InfoRead) -> dict[str, Any]:
    match message:
        case SensorsRead(records, whole):
            return {"sensors": {**({} if whole else state.sensors), **{r.index: _listed(state, r) for r in records}}}
        case RelaysRead(records, whole):
            found = [_relay(state, r, *channel) for r in records for channel in channels(r)]
            return {"relays": {**({} if whole else state.relays), **{relay.number: relay for relay in found}}}
        case FlagsRead(word):
            return {"hardware": updated(state.hardware, alert_flags=word)}
        case InfoRead(info):
            known, status = state.hardware, info.wifi_status
            # The panel's Wi-Fi is up from this status on, whatever it reaches.
            wifi = known.wifi if status is None else status >= WifiStatus.SERVER_NOT_CONNECTED
            return {"hardware": updated(known, info=info, wifi=wifi, product=info.product or known.product)}


def earlier(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _armed(state: PanelState, event: PanelEvent, now: Now) -> dict[str, Any]:
    """Arming ends an alarm, tampers, and what only an alarm had set."""
    armed = event.type in _ARMED
    sensors = {index: _after_arming(s, now, armed=armed) for index, s in state.sensors.items()}
    actor = state.partition.actor
    by = actor[0] if actor and now.steady - actor[1] <= SAME_ACTOR_S else event.source
    changed_by = None if by == "status" else by
    return {"partition": Partition(arm=event.type, changed_by=changed_by, moved=now.steady), "sensors": sensors}


def _after_arming(sensor: Sensor, now: Now, *, armed: bool) -> Sensor:
    on = sensor.on and (door_like(sensor.type) or sensor.off_at is not None)
    since = sensor.open_since
    if since is not None and not (armed and now.steady - since <= SAME_ARMING_S):
        since = None
    if on == sensor.on and not sensor.tamper and since == sensor.open_since:
        return sensor
    return evolve(sensor, tamper=_cleared(sensor.tamper), on=on, open_since=since)


def _sensor(
    state: PanelState, sensor: Sensor, meaning: Interpretation, event: PanelEvent, now: Now, options: Options
) -> Sensor:
    kind, on, off_at = event.type, sensor.on, sensor.off_at
    if meaning.on is not None:
        stays = _stays_on(state, sensor.type, kind, options) if meaning.on else None
        on, off_at = meaning.on, None if stays is None else now.steady + stays
    if sensor.battery_low:
        sensor = evolve(sensor, battery_low=False)
    if kind in _MARKS:
        sensor = evolve(sensor, **_MARKS[kind](sensor, now))
    return evolve(sensor, on=on, off_at=off_at, last_activity=event.at)


def _stays_on(state: PanelState, sensor_type: int | None, event: EventType, options: Options) -> float | None:
    """Return after how many seconds a sensor goes off; None if it reports its end."""
    if sensor_type == _MOTION:
        return options.motion_off
    if event in _ALARMS:
        return None
    if event is _ACTIVITY:
        return options.motion_off
    # Wired sensors send notices alone, and those on opening.
    silent = sensor_type == _WIRED
    flags = state.hardware.alert_flags
    if sensor_type == _DOOR and flags is not None:
        silent = not flags & _CLOSING
    return options.door_off if options.door_off is not None or not silent else DOOR_OFF_S


def _listed(state: PanelState, record: SensorRecord) -> Sensor:
    known = state.sensors.get(record.index) or Sensor(index=record.index)
    return evolve(known, name=record.name, type=record.type, flags=record.flags)


def _relay(state: PanelState, record: SensorRecord, channel: int, name: str) -> Relay:
    relay = Relay(index=record.index, channel=channel, name=name, type=record.type)
    known = state.relays.get(relay.number)
    return replace(relay, on=known.on) if known else relay


def _cleared(flag: bool | None) -> bool | None:  # noqa: FBT001 - a state
    """Return that something is over, unless it was never reported."""
    return None if flag is None else False


def _with(state: PanelState, sensor: Sensor) -> PanelState:
    return evolve(state, sensors={**state.sensors, sensor.index: sensor})
