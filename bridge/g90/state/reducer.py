"""Pure steps of a panel's state: (state, report) -> new state and events (PROTOCOL.md, Repeated reports).

A repeated report changes nothing. A report is held for two seconds if another form may say more: an alarm without the
sensor's type, which rules match on, or activity of what may be a door. Held events are part of the state, so a restart
does not lose them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from bridge.g90.state.duplicates import WITHOUT_CLOCK, ReportedEvent, match, merge, remember, unread
from bridge.g90.state.interpret import Interpretation, interpret, reported_type
from bridge.g90.state.panel import Options, PanelState, Sensor
from bridge.g90.state.updates import ARM_TYPES, apply, learn
from bridge.g90.wire.constants import NoticeKind, SensorType, source_name, type_name
from bridge.g90.wire.events import Alert, EventType, Form, Notice, PanelEvent, Report, slot

_E = EventType
HOLD: Final = timedelta(seconds=2)
_WHY: Final = timedelta(seconds=5)
"""How long to wait for the reason after a notice of an alarm."""
_MAY_BE_DOOR: Final = (None, type_name(SensorType.DOOR), type_name(SensorType.WIRED))
_URGENT: Final = frozenset({_E.ALARM, _E.SOS, _E.TAMPER})
_TYPED: Final = _URGENT | {_E.LOW_BATTERY}
_DEFAULTS: Final = Options()


@dataclass(frozen=True, slots=True)
class Step:
    state: PanelState
    events: tuple[PanelEvent, ...] = ()


def reduce(state: PanelState, report: Report, now: datetime, options: Options = _DEFAULTS) -> Step:
    """Apply one report; raise `MessageError` if its meaning is unknown."""
    known = _known(state, report)
    sensor_type = reported_type(report) if isinstance(report, Alert) else None
    sensor_type = known.type if sensor_type is None and known else sensor_type
    meaning = interpret(report, sensor_type)
    if meaning.event is None and meaning.sensor is None:
        return Step(_alarmed(state, now) if meaning.alarms else state)
    event = _event(state, report, meaning, sensor_type, now)
    state = learn(state, meaning, event.name, sensor_type)
    return _judge(state, report, meaning, event, options)


def tick(state: PanelState, now: datetime, options: Options = _DEFAULTS) -> Step:
    """Apply the passing of time: release held events, turn off sensors that are due."""
    # An event held from the future was held before the clock was set back; it does not wait until then.
    due = [t.held for t in state.reported if t.held and (t.held.at + HOLD <= now or t.held.at > now)]
    reported = tuple(replace(t, held=None) if t.held in due else t for t in state.reported)
    sensors = {index: _passed(sensor, now, options) for index, sensor in state.sensors.items()}
    state = replace(state, reported=reported, sensors=sensors)
    if state.alarm_due and (state.alarm_due <= now or state.alarm_due - now > _WHY):
        state = replace(state, alarm_due=None)
        due.append(PanelEvent(guid=state.guid, type=_E.ALARM, at=now, source="panel"))
    return Step(state, tuple(due))


def _passed(sensor: Sensor, now: datetime, options: Options) -> Sensor:
    """Turn off a sensor that is due. After the clock was set back, cap its wait at the longest configured one."""
    if sensor.off_at is None:
        return sensor
    if sensor.off_at <= now:
        return replace(sensor, on=False, off_at=None)
    longest = now + max(options.motion_off, options.door_off or timedelta(0))
    return replace(sensor, off_at=longest) if sensor.off_at > longest else sensor


def shifted(state: PanelState, jump: timedelta) -> Step:
    """Apply a clock jump: shift all times so that pending waits keep their length."""
    sensors = {index: replace(s, off_at=s.off_at + jump) if s.off_at else s for index, s in state.sensors.items()}
    reported = tuple(
        replace(t, received=t.received + jump, held=replace(t.held, at=t.held.at + jump) if t.held else None)
        for t in state.reported
    )
    alarm_due = state.alarm_due + jump if state.alarm_due else None
    after = replace(state, sensors=sensors, reported=reported, alarm_due=alarm_due)
    return Step(state if after == state else after)


def next_due(state: PanelState) -> datetime | None:
    """Return when `tick` has something to do, None if never."""
    moments = [s.off_at for s in state.sensors.values() if s.off_at]
    moments += [t.held.at + HOLD for t in state.reported if t.held]
    moments += [state.alarm_due] if state.alarm_due else []
    return min(moments, default=None)


def heard(state: PanelState, now: datetime, address: str, firmware: str | None = None) -> Step:
    """Apply a sign of life from `address`; `panel_online` if the panel was not online."""
    since = (state.connected_since if state.online else None) or now
    firmware = firmware or state.firmware
    seen = replace(state, online=True, last_seen=now, connected_since=since, address=address, firmware=firmware)
    return Step(seen, () if state.online else (_own(state, _E.PANEL_ONLINE, now),))


def silent(state: PanelState, now: datetime) -> Step:
    """Apply that the panel was silent for too long: `panel_offline`, once."""
    if state.online is False:
        return Step(state)
    return Step(replace(state, online=False, connected_since=None), (_own(state, _E.PANEL_OFFLINE, now),))


def _known(state: PanelState, report: Report) -> Sensor | None:
    index = report.sensor if isinstance(report, Notice) else report.event
    return None if index is None else state.sensors.get(index)


def _own(state: PanelState, event: EventType, now: datetime) -> PanelEvent:
    return PanelEvent(guid=state.guid, type=event, at=now, source="bridge")


def _alarmed(state: PanelState, now: datetime) -> PanelState:
    """Apply a notice that the panel is in alarm; the reason comes in another report, before or after."""
    why_known = any(t.slot.split(":")[0] in _URGENT and now - t.received <= WITHOUT_CLOCK for t in state.reported)
    due = None if why_known or state.triggered else now + _WHY
    return replace(_past(state), triggered=True, alarm_due=state.alarm_due or due)


def _past(state: PanelState) -> PanelState:
    """Forget arm states read by request: disarming after an alarm is an event of its own, not a repetition."""
    return replace(state, reported=unread(state.reported))


def _event(
    state: PanelState, report: Report, meaning: Interpretation, sensor_type: int | None, now: datetime
) -> PanelEvent:
    """Return the event of `report`; a change of state without an event becomes `door_closed`, never published."""
    source = report.source if isinstance(report, Alert) else None
    index = meaning.sensor
    known = None if index is None else state.sensors.get(index)
    name = report.name or (known.name if known else "")
    return PanelEvent(
        guid=state.guid,
        type=meaning.event or _E.DOOR_CLOSED,
        at=now,
        sensor=index,
        name=None if index is None else name or None,
        sensor_type=None if index is None else type_name(sensor_type),
        source=source_name(source) or ("panel" if index is None else "sensor"),
        action=meaning.action,
        panel_time=report.time if isinstance(report, Alert) else None,
    )


def _judge(state: PanelState, report: Report, meaning: Interpretation, event: PanelEvent, options: Options) -> Step:
    """Apply a new event, skip a repeated one, or release a held event that this form completes."""
    form = report.form if isinstance(report, Alert) else Form.NOTICE
    entry = ReportedEvent(
        slot(event.type, event.sensor, event.action), event.sensor, (form,), event.panel_time, event.at
    )
    waits = _waits(report, event)
    place = match(state.reported, entry)
    if place is None:
        state, early = _flushed(state) if event.type in ARM_TYPES else (state, ())
        state = _past(state) if meaning.alarms else state
        state = apply(state, meaning, event, options)
        state = replace(state, reported=remember(state.reported, replace(entry, held=event if waits else None)))
        return Step(state, early if waits or meaning.event is None else (*early, event))
    merged = merge(state.reported[place], entry)
    better = replace(event, at=merged.held.at) if merged.held and not waits else None
    if better:
        state = apply(state, meaning, event, options)
        merged = replace(merged, held=None)
    if merged is state.reported[place]:
        return Step(state)
    reported = (*state.reported[:place], merged, *state.reported[place + 1 :])
    return Step(replace(state, reported=reported), (better,) if better else ())


def _waits(report: Report, event: PanelEvent) -> bool:
    """Return whether to hold the event because another form of this report may say more."""
    if isinstance(report, Notice):
        return report.kind == NoticeKind.SENSOR_ACTIVITY and event.sensor_type in _MAY_BE_DOOR
    untyped = event.sensor is not None and event.sensor_type is None
    return untyped and report.form == Form.ALERT and event.type in _TYPED


def _flushed(state: PanelState) -> tuple[PanelState, tuple[PanelEvent, ...]]:
    """Release held events before an arm change, because disarming restores what came before it.

    Arm states read by request are forgotten: the next report of that state is an event of its own.
    """
    held = tuple(t.held for t in state.reported if t.held)
    reported = tuple(replace(t, held=None) for t in unread(state.reported))
    return replace(state, reported=reported), held
