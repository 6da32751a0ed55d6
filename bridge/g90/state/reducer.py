"""The reducer: (state, input, now) -> state and events. Pure.

Theory of operation. A panel reports an event once, over whatever connection it has, in up to three forms; asked, it
answers with its status and its history. Both are inputs here and become one state.

    state of the panel     ends by
    disarmed, armed_*      a report or record of arming; a status that differs; any alarm, ALARMED in any form
    triggered              a report of arming; a record of arming that came after the alarm;
                           a status that is neither ALARMED nor the arming of before the alarm

    state of an event      ends by
    (new)                  its first form: waiting if another form may say more that matters, else reported
    waiting (`Entry.due`)  a form that knows more, the deadline, or an arming: reported
    reported               never; a form that knows more is the event again, under its key, for the rules alone

What waits: an alarm without its sensor's type and activity of what may be a door (2 s), ALARMED without a reason (5 s).
`ledger` decides which reports are forms of one event. A report that is only another form changes no state: the first
form did, and newer reports may have come since. Deadlines are of the steady clock.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from bridge.common.values import value
from bridge.g90.state import history, ledger
from bridge.g90.state.effects import earlier, effects, learn, locate, passed, taken
from bridge.g90.state.history import Found
from bridge.g90.state.interpret import ARM_EVENTS, Interpretation, interpret, reported_type
from bridge.g90.state.ledger import Entry
from bridge.g90.state.model import (
    Elapsed,
    Heard,
    HistoryRead,
    Input,
    Now,
    Options,
    PanelState,
    Silent,
    StatusRead,
    Step,
    evolve,
    read_at,
    updated,
)
from bridge.g90.wire.answers import AlertFlag
from bridge.g90.wire.constants import ArmCode, SensorType, source_name, type_name
from bridge.g90.wire.events import A_CLOCK, Alert, EventType, Form, Notice, PanelEvent
from bridge.g90.wire.frames import MessageError

_E = EventType
BETTER_FORM_S: Final = 2.0
"""The forms of one event come within a second."""
REASON_S: Final = 5.0
"""The report of an alarm's reason comes within two seconds of ALARMED, its record in the history a reading later."""
_DRIFT_S: Final = 1.0
"""Delays of reports are no change of the panel's clock."""
_DOORS: Final = frozenset({SensorType.DOOR, SensorType.WIRED})
_TYPED: Final = frozenset({_E.ALARM, _E.SOS, _E.TAMPER, _E.LOW_BATTERY})
_DEFAULTS: Final = Options()


def reduce(state: PanelState, message: Input, now: Now, options: Options = _DEFAULTS) -> Step:
    """Take one input; raise `MessageError` for a report that has no known meaning."""
    match message:
        case Alert() | Notice():
            return _report(state, message, now, options)
        case StatusRead():
            return _status(state, message, now, options)
        case HistoryRead():
            return _history(state, message, now, options)
        case Heard() | Silent():
            return _heard(state, message, now) if isinstance(message, Heard) else _silent(state, now)
        case Elapsed():
            return _elapsed(state, now)
    return Step(taken(state, message, now))


# Reports, and records of the history that no report said


def _report(state: PanelState, report: Alert | Notice, now: Now, options: Options, found: Found | None = None) -> Step:
    index: int | None
    if isinstance(report, Alert):
        form, time, kind = report.form, report.time, reported_type(report)
        known = locate(state, report)
        index = report.event if known is None else known.index
    else:
        form, time, kind, index = Form.NOTICE, None, None, report.sensor
        known = None if index is None else state.sensors.get(index)
    if kind is None and known:
        kind = known.type
    said = _said(report, index, kind)
    meaning = said.meaning
    if meaning.event is None and meaning.sensor is None:
        return _alarmed(state, form, now) if meaning.alarms else Step(state)
    if found is None:
        state = _synchronised(state, time, now)
    if known is None or known.name != report.name or known.type != kind:
        state = learn(state, meaning, report.name, kind)
    event = _event(state, report, said, now)
    if found is not None:
        ended_by = found.ended_by if meaning.alarms else ()
        event = replace(event, at=found.wall, missed=True, ended_by=ended_by)
    if meaning.event is None:
        return Step(evolve(state, **effects(state, meaning, event, now, options)))
    due = now.steady + BETTER_FORM_S if found is None and _waits(form, event) else None
    entry = Entry(said.slot, event, {form: time}, now.steady, meaning.alarms, due, time)
    place = _place(state, entry, form, found)
    if place is not None:
        return _known(state, place, entry, meaning, now, options)
    return _new(state, entry, meaning, now, options, superseded=found is not None and found.superseded)


def _place(state: PanelState, report: Entry, form: Form, found: Found | None) -> int | None:
    """Return the place of the event that `report` is another form of, None where it is a new one."""
    place = state.ledger.place_of(found.entry) if found else None
    if place is None:
        place = state.ledger.find(report.slot, form, report.time, report.heard)
    if place is None and report.slot[0] == ledger.ARMING and form is Form.NOTICE and _is_alerted(state):
        place = state.ledger.held_back(report.slot, report.heard)
    if place is None and report.alarms and not report.event.over:
        place = state.ledger.unexplained(report)
    return place


def _new(
    state: PanelState, entry: Entry, meaning: Interpretation, now: Now, options: Options, *, superseded: bool = False
) -> Step:
    events: tuple[PanelEvent, ...] = (entry.event,) if entry.due is None else ()
    changes: dict[str, Any] = {}
    if not superseded:
        if entry.slot[0] == ledger.ARMING:
            state, early = _released(state, None)
            events = early + events
        changes = effects(state, meaning, entry.event, now, options)
    if entry.due is not None:
        changes["due"] = earlier(changes.get("due", state.due), entry.due)
    changes["ledger"], changes["contact"] = state.ledger.added(entry), now.wall
    return Step(evolve(state, **changes), events)


def _known(state: PanelState, place: int, report: Entry, meaning: Interpretation, now: Now, options: Options) -> Step:
    """Take another form of an event; an event comes of it only where it knows more, or ends the waiting."""
    entry = state.ledger[place]
    ((form, time),) = report.forms.items()
    after = entry.with_form(form, time)
    events: tuple[PanelEvent, ...] = ()
    changes: dict[str, Any] = {}
    waits = entry.due is not None
    if ledger.knows_more(report.event, entry.event) or (waits and report.due is None):
        later = state.ledger.after(place)
        armings = tuple(each.event.type for each in later if each.slot[0] == ledger.ARMING)
        ended_by = report.event.ended_by if form is Form.HISTORY else armings if meaning.alarms else ()
        event = replace(report.event, at=entry.event.at, identity=entry.event.key, ended_by=ended_by)
        due = report.due if waits else None
        events = () if due is not None else (replace(event, again=not waits),)
        after = replace(after, event=event, slot=report.slot, due=due)
        if not any(each.outdates(report) for each in later):
            changes = effects(state, meaning, report.event, now, options)
    if after is entry:
        return Step(state)
    put = state.ledger.moved if waits and form is Form.HISTORY else state.ledger.replaced
    return Step(evolve(state, ledger=put(place, after), contact=now.wall, **changes), events)


def _alarmed(state: PanelState, form: Form, now: Now) -> Step:
    """Take a notice that the panel is in alarm: about a known alarm, or one whose reason follows."""
    place = state.ledger.last_alarm(now.steady)
    changes: dict[str, Any] = {"partition": evolve(state.partition, triggered=True, moved=now.steady)}
    if place is not None:
        known = state.ledger.replaced(place, state.ledger[place].with_form(form, None))
        return Step(evolve(state, ledger=known, **changes))
    event = PanelEvent(guid=state.guid, type=_E.ALARM, at=now.wall, source="panel", missed=form is Form.READ)
    due = now.steady + REASON_S
    entry = Entry(ledger.slot_of(event), event, {form: None}, now.steady, alarms=True, due=due)
    waiting = {"ledger": state.ledger.added(entry), "contact": now.wall, "due": earlier(state.due, due)}
    return Step(evolve(state, **changes, **waiting))


@value(frozen=True, slots=True)
class _Said:
    """What all reports with the same numbers say."""

    meaning: Interpretation
    slot: ledger.Slot
    source: str
    sensor_type: str | None


def _said(report: Alert | Notice, sensor: int | None, kind: int | None) -> _Said:
    if isinstance(report, Notice):
        return _said_by_notice(report.kind, sensor, report.value, kind)
    return _said_by_alert(report.type, report.event, report.state, report.source, report.sensor_type, sensor, kind)


@lru_cache(maxsize=1024)
def _said_by_alert(
    number: int,
    event: int,
    code: int,
    source: int | None,
    sensor_type: int | None,
    sensor: int | None,
    kind: int | None,
) -> _Said:
    """Interpret an alert; the same few come all day."""
    alert = Alert(form=Form.STATUS, type=number, event=event, state=code, source=source, sensor_type=sensor_type)
    meaning = interpret(alert, kind)
    return _as_said(meaning if meaning.sensor is None else replace(meaning, sensor=sensor), source, kind)


@lru_cache(maxsize=1024)
def _said_by_notice(number: int, sensor: int | None, action: int | None, kind: int | None) -> _Said:
    meaning = interpret(Notice(kind=number, sensor=sensor, value=action), kind)
    if meaning.event is _E.SENSOR_ACTIVITY and kind in _DOORS:
        meaning = replace(meaning, event=_E.DOOR_OPENED)
    elif meaning.event is _E.DOOR_OPEN_WHEN_ARMING:
        meaning = replace(meaning, on=None)
    return _as_said(meaning, None, kind)


def _as_said(meaning: Interpretation, source: int | None, kind: int | None) -> _Said:
    slot = ledger.slot_for(meaning.event or _E.DOOR_CLOSED, meaning.sensor, meaning.action)
    if meaning.sensor is None:
        return _Said(meaning, slot, source_name(source) or "panel", None)
    return _Said(meaning, slot, source_name(source) or "sensor", type_name(kind))


def _event(state: PanelState, report: Alert | Notice, said: _Said, now: Now) -> PanelEvent:
    """Describe what a report says; a mere change of state is described as a closing, and never reported."""
    index, action = said.meaning.sensor, said.meaning.action
    name = None if index is None else state.sensors[index].name or None
    time = report.time if isinstance(report, Alert) else None
    kind = said.meaning.event or _E.DOOR_CLOSED
    return PanelEvent(state.guid, kind, now.wall, index, name, said.sensor_type, said.source, action, time)


def _waits(form: Form, event: PanelEvent) -> bool:
    """Whether another form of this report would say more that matters."""
    if event.sensor is None or event.sensor_type is not None:
        return False
    if form is Form.NOTICE:
        return event.type is _E.SENSOR_ACTIVITY
    return form is Form.ALERT and event.type in _TYPED


def _is_alerted(state: PanelState) -> bool:
    """Whether an alert with a time follows a notice of arming, and corrects what the notice was taken for."""
    flags = state.hardware.alert_flags
    return flags is None or bool(flags & AlertFlag.ARMING)


def _synchronised(state: PanelState, time: int | None, now: Now) -> PanelState:
    """Note how far the panel's clock is from ours, where it has one."""
    if time is None or time < A_CLOCK:
        return state
    offset = now.wall.timestamp() - time
    known = state.clock_offset
    return state if known is not None and abs(known - offset) <= _DRIFT_S else evolve(state, clock_offset=offset)


# Answers


def _status(state: PanelState, read: StatusRead, now: Now, options: Options) -> Step:
    hardware, partition = state.hardware, state.partition
    state = updated(read_at(state, now), hardware=updated(hardware, product=read.status.product or hardware.product))
    if partition.moved > read.asked:
        return Step(state)
    if read.status.arm == ArmCode.ALARMED:
        return Step(state) if partition.triggered else _alarmed(state, Form.READ, now)
    arm = ARM_EVENTS[read.status.arm]
    if partition.arm in (None, arm):
        return Step(updated(state, partition=updated(partition, arm=arm)))
    event = PanelEvent(guid=state.guid, type=arm, at=now.wall, source="status", missed=read.missed)
    return _new(
        state, Entry(ledger.slot_of(event), event, {Form.READ: None}, now.steady), Interpretation(arm), now, options
    )


def _history(state: PanelState, read: HistoryRead, now: Now, options: Options) -> Step:
    events: tuple[PanelEvent, ...] = ()
    for found in history.news(state, read, now):
        try:
            step = _report(state, found.record, now, options, found)
        except MessageError:
            continue  # a record of a kind that has no known meaning
        state, events = step.state, events + step.events
    return Step(history.kept(state, read, now) if read.whole else state, events)


# The connection, and time


def _heard(state: PanelState, heard: Heard, now: Now) -> Step:
    link = state.link
    seen = evolve(
        link,
        online=True,
        address=heard.address,
        firmware=heard.firmware or link.firmware,
        connected_since=(link.connected_since if link.online else None) or now.wall,
        last_seen=now.wall,
    )
    events = () if link.online else (_own(state, _E.PANEL_ONLINE, now),)
    return Step(evolve(state, link=seen, contact=state.contact or now.wall), events)


def _silent(state: PanelState, now: Now) -> Step:
    if state.link.online is False:
        return Step(state)
    gone = evolve(state.link, online=False, connected_since=None)
    return Step(evolve(state, link=gone), (_own(state, _E.PANEL_OFFLINE, now),))


def _own(state: PanelState, event: EventType, now: Now) -> PanelEvent:
    return PanelEvent(guid=state.guid, type=event, at=now.wall, source="bridge")


def _elapsed(state: PanelState, now: Now) -> Step:
    """Report what has waited long enough and turn off what nothing else turns off."""
    if state.due is None or state.due > now.steady:
        return Step(state)
    state, events = _released(passed(state, now.steady), now.steady)
    waits = [entry.due for entry in state.ledger if entry.due is not None]
    waits += [sensor.off_at for sensor in state.sensors.values() if sensor.off_at is not None]
    return Step(evolve(state, due=min(waits, default=None)), events)


def _released(state: PanelState, until: float | None) -> tuple[PanelState, tuple[PanelEvent, ...]]:
    """Report what waits until then; None: all of it, before an arming, which may end what it reports."""
    out = [entry for entry in state.ledger if entry.due is not None and (until is None or entry.due <= until)]
    if not out:
        return state, ()
    kept = tuple(replace(entry, due=None) if entry in out else entry for entry in state.ledger)
    return evolve(state, ledger=replace(state.ledger, entries=kept)), tuple(entry.event for entry in out)
