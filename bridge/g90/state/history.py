"""New records in a panel's history, found by their position and not by their times.

A panel's clock may be off, and may be set. New is what lies above the records that were read before; where those are
out of reach, what lies above the oldest record that was reported, or is younger than our last contact.
A new record of an event that was reported is not a second event: the reducer sees it as one more form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeGuard

from bridge.g90.state import ledger
from bridge.g90.state.interpret import ARM_EVENTS, STATE_EVENTS, interpret, reported_type
from bridge.g90.state.ledger import Entry
from bridge.g90.state.model import READ_EVERY, HistoryRead, KnownHistory, Now, PanelState, Signature, evolve
from bridge.g90.wire.constants import AlertType, StateCode
from bridge.g90.wire.events import A_CLOCK, Alert, EventType, Form
from bridge.g90.wire.frames import MessageError

REMEMBERED: Final = 50
"""Five pages: as many records as are ever read at once."""
_TICK: Final = timedelta(milliseconds=1)
"""Between two records: a receiver takes equal alarms of one moment for duplicates."""
_ARMINGS: Final = {code: event for code, event in STATE_EVENTS.items() if event in ARM_EVENTS.values()}


@dataclass(frozen=True, slots=True)
class Found:
    """A record that is newer than what was known. A report may have said it all the same."""

    record: Alert
    entry: Entry | None
    """What is known of it from a report."""
    wall: datetime
    """When it happened, as far as two clocks and its position say."""
    ended_by: tuple[EventType, ...]
    """How the panel was armed or disarmed after it."""
    superseded: bool
    """A report said something more recent: it is an event, and changes no state."""


@dataclass(frozen=True, slots=True)
class _Record:
    alert: Alert
    entry: Entry | None
    """What is known of it from reports or an earlier reading."""
    alarms: bool


def reaches(state: PanelState, read: HistoryRead, now: Now) -> bool:
    """Whether the records reach down to what is known: further pages would hold nothing new."""
    return _top(state, _records(state, read, now)) is not None


def news(state: PanelState, read: HistoryRead, now: Now) -> list[Found]:
    """Return what is new, oldest first."""
    records = _records(state, read, now)
    top = _top(state, records)
    lower = state.history.read_at
    if top is None:
        records, lower = _unplaced(state, records, now), _known_until(state)
    elif known := records[top].entry:
        lower = _later(lower, known)
    upper, latest = now.ago(read.asked), []
    for record in records[:top]:
        if _was_reported(record.entry):
            upper = min(upper, record.entry.event.at)
        latest.append(upper)
        upper -= _TICK
    found = []
    for place in range(len(latest) - 1, -1, -1):
        record = records[place]
        if _was_reported(record.entry):
            wall = record.entry.event.at
        else:
            wall = _moment(state, record.alert, latest[place], lower)
        lower = max(lower or wall, wall)
        later = [r.entry for r in records[:place] if r.entry]
        later += _unlisted(state, records, read.asked, wall)
        ended = [_ARMINGS[StateCode(r.alert.event)] for r in records[:place] if _is_arming(r.alert)]
        ended += [entry.event.type for entry in later if entry.slot[0] == ledger.ARMING]
        superseded = any(_says_more(entry, record) for entry in later)
        found.append(Found(record.alert, record.entry, wall, tuple(ended), superseded))
    return found


def kept(state: PanelState, read: HistoryRead, now: Now) -> PanelState:
    """Return `state` with the history known: the next reading finds what is new above it."""
    known = state.ledger
    for record in reversed(_records(state, read, now)):
        if record.entry and (place := known.place_of(record.entry)) is not None:
            known = known.replaced(place, record.entry.with_form(Form.HISTORY, record.alert.time))
    read_now = tuple(signature(record) for record in read.records)
    older = tuple(each for each in state.history.records if each not in read_now)
    asked = now.ago(read.asked)
    last = state.history.read_at
    recent = last is not None and timedelta(0) <= asked - last < READ_EVERY
    if recent and known == state.ledger and read_now == state.history.records[: len(read_now)]:
        return state
    history = KnownHistory((*read_now, *older)[:REMEMBERED], asked)
    return evolve(state, ledger=known, history=history, contact=max(state.contact or asked, asked))


def signature(record: Alert) -> Signature:
    return (record.type, record.event, record.source, record.state, record.time)


def _records(state: PanelState, read: HistoryRead, now: Now) -> list[_Record]:
    return [_looked_up(state, record, now) for record in read.records]


def _looked_up(state: PanelState, alert: Alert, now: Now) -> _Record:
    known = state.sensors.get(alert.event)
    kind = reported_type(alert)
    try:
        meaning = interpret(alert, kind if kind is not None or known is None else known.type)
    except MessageError:
        return _Record(alert, None, alarms=False)
    if meaning.event is None:
        return _Record(alert, None, alarms=False)
    slot = ledger.slot_for(meaning.event, meaning.sensor, meaning.action)
    place = state.ledger.find(slot, Form.HISTORY, alert.time, now.steady)
    return _Record(alert, None if place is None else state.ledger[place], meaning.alarms)


def _top(state: PanelState, records: Sequence[_Record]) -> int | None:
    """Return the place of the newest record that belongs to what is known, None where nothing is."""
    read_before = frozenset(state.history.records)
    best, length, start = None, 0, 0
    for place, record in enumerate(records):
        if signature(record.alert) not in read_before:
            start = place + 1
        elif place + 1 - start >= length:  # of two runs as long the older one
            best, length = start, place + 1 - start
    return best


def _unplaced(state: PanelState, records: Sequence[_Record], now: Now) -> list[_Record]:
    """Return what is new where nothing was read before: above a record that was reported, or young."""
    reported = max((place for place, record in enumerate(records) if _was_reported(record.entry)), default=-1)
    return [r for place, r in enumerate(records) if place < reported or _is_young(state, r.alert, now)]


def _was_reported(entry: Entry | None) -> TypeGuard[Entry]:
    """Whether an event has its place in time. A reading of the status follows what was missed before it."""
    return entry is not None and bool(entry.forms.keys() - {Form.READ})


def _later(lower: datetime | None, entry: Entry) -> datetime | None:
    """Return the time that what comes after `entry` cannot precede."""
    return max(lower or entry.event.at, entry.event.at) if _was_reported(entry) else lower


def _was_empty(state: PanelState) -> bool:
    """Whether the history had no records when it was read: all that it holds is new."""
    return state.history.read_at is not None and not state.history.records


def _known_until(state: PanelState) -> datetime | None:
    return state.history.read_at if _was_empty(state) else state.contact


def _moment(state: PanelState, alert: Alert, upper: datetime, lower: datetime | None) -> datetime:
    """Return when a record happened: by the panel's clock, within what its position allows."""
    wall = upper
    if alert.time is not None and alert.time >= A_CLOCK:
        wall = min(wall, datetime.fromtimestamp(alert.time, UTC) + timedelta(seconds=state.clock_offset or 0.0))
    return max(wall, lower + _TICK) if lower else wall


def _is_young(state: PanelState, alert: Alert, now: Now) -> bool:
    """Whether a record is younger than our last contact. Without one there is nothing that we missed."""
    if state.clock_offset is None and _was_empty(state):
        return True  # the panel's clock is unknown
    since = _known_until(state)
    if since is None or alert.time is None or alert.time < A_CLOCK:
        return False
    wall = datetime.fromtimestamp(alert.time, UTC) + timedelta(seconds=state.clock_offset or 0.0)
    tolerance = timedelta(seconds=ledger.CLOCK_TOLERANCE_S)  # a panel's times are whole seconds
    return since - tolerance < wall <= now.wall + tolerance


def _unlisted(state: PanelState, records: Sequence[_Record], asked: float, wall: datetime) -> list[Entry]:
    """Return what was reported later than `wall` and is not in the history that was read."""
    listed = [record.entry for record in records if record.entry]
    return [e for e in state.ledger if e not in listed and (e.heard > asked or e.event.at > wall)]


def _says_more(later: Entry, record: _Record) -> bool:
    """Whether `later` decides what `record` would change: the arming, or the state of the same sensor."""
    if later.slot[0] == ledger.ARMING:
        return record.alarms or _is_arming(record.alert)
    if _is_arming(record.alert):
        return later.alarms
    return later.slot[1] is not None and later.slot[1] == record.alert.event and not record.alarms


def _is_arming(alert: Alert) -> bool:
    return alert.type == AlertType.STATE_CHANGE and alert.event in _ARMINGS
