"""The ledger of events: which reports are forms of one physical event.

A panel reports one event as 0x21, as an alert and as a notice, each at most once, and its history holds it too. Forms
with a time belong together where the times are at most 2 s apart. A form without a time belongs to the last event of
its slot within 60 s, unless anything else of that kind or an arming came between.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from bridge.g90.state.model import Entry, Slot
from bridge.g90.wire.events import A_CLOCK, EventType, Form

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.g90.wire.events import PanelEvent

_E = EventType
ARMING: Final = "arming"
_SLOTS: Final = {
    _E.ARMED_AWAY: (ARMING, _E.ARMED_AWAY.value),
    _E.ARMED_HOME: (ARMING, _E.ARMED_HOME.value),
    _E.DISARMED: (ARMING, _E.DISARMED.value),
    _E.SOS: (_E.ALARM.value, None),
    _E.DOOR_OPENED: ("activity", "on"),
    _E.SENSOR_ACTIVITY: ("activity", "on"),
    _E.DOOR_CLOSED: ("activity", "off"),
}
CLOCK_TOLERANCE_S: Final = 2
"""The forms of one event were seen to differ by a second at most."""
_NEAR: Final = CLOCK_TOLERANCE_S + 1
WITHOUT_TIME_S: Final = 60.0
"""How long after a form the next may come that has no time."""
HISTORY_S: Final = 900.0
"""The same for a record of the history, which is read later than a report comes."""
SAME_ALARM_S: Final = 10.0
"""An alarm notice that comes later than this after an alarm is another alarm."""
_READ: Final = frozenset({Form.READ, Form.HISTORY})
MOST: Final = 64
"""Entries kept; more than the records of five pages of history."""


def slot_of(event: PanelEvent) -> Slot:
    """Return what the forms of one event have in common."""
    return slot_for(event.type, event.sensor, event.action)


def slot_for(event: EventType, sensor: int | None, action: str | None) -> Slot:
    kind, detail = _SLOTS.get(event) or (event.value, action)
    return (kind, sensor, detail)


def find(ledger: Sequence[Entry], slot: Slot, form: Form, time: int | None, heard: float) -> int | None:
    """Return the place of the event that a report in `form` belongs to, None for a new event."""
    own = [place for place, entry in enumerate(ledger) if entry.slot == slot]
    if not own:
        return None
    if time is not None:
        near = [p for p in own if (t := ledger[p].time) is not None and -_NEAR < t - time < _NEAR]
        near = [p for p in near if time >= A_CLOCK or heard - ledger[p].heard <= HISTORY_S]
        unsaid = [p for p in near if form not in ledger[p].forms]
        if unsaid:
            return min(unsaid, key=lambda p: (ledger[p].time != time, p))
        if near:
            return next((p for p in reversed(near) if _repeats(ledger, p, form, time, heard)), None)
    last = own[-1]
    entry = ledger[last]
    limit = HISTORY_S if form is Form.HISTORY else WITHOUT_TIME_S
    if form in entry.forms or heard - entry.heard > limit or (time is not None and entry.time is not None):
        return None
    return None if any(_ends(slot, later) for later in ledger[last + 1 :]) else last


def place_of(ledger: Sequence[Entry], entry: Entry | None) -> int | None:
    """Return the place of this very entry, None if it has changed since."""
    return next((place for place, known in enumerate(ledger) if known is entry), None)


def unexplained(ledger: Sequence[Entry], reason: Entry) -> int | None:
    """Return the place of an alarm without a reason that `reason` explains, None if it is an alarm of its own.

    What a reading found after ALARMED came before it: one that waits for its reason can have it from there.
    """
    missed = False
    for place in range(len(ledger) - 1, -1, -1):
        entry = ledger[place]
        if entry.slot[0] == ARMING:
            if not was_read(entry):
                return None
            missed = True
        elif entry.alarms and entry.event.sensor is None and entry.event.type is _E.ALARM:
            if missed and entry.due is None:
                return None
            soon = reason.heard - entry.heard <= WITHOUT_TIME_S
            return place if soon or Form.HISTORY in reason.forms else None
    return None


def was_read(entry: Entry) -> bool:
    """Whether nothing but readings said it."""
    return entry.forms.keys() <= _READ


def held_back(ledger: Sequence[Entry], slot: Slot, heard: float) -> int | None:
    """Return the place of the arming that a notice is late for, behind later ones; None if there is none.

    A connection that was interrupted delivers its reports late and in order, when a reading has said what came of them.
    """
    for place, entry in enumerate(ledger):
        read = Form.HISTORY in entry.forms and heard - entry.heard <= WITHOUT_TIME_S
        if entry.slot == slot and read and all(was_read(e) for e in ledger[place:] if e is entry or _ends(slot, e)):
            return place
    return None


def last_alarm(ledger: Sequence[Entry], heard: float) -> int | None:
    """Return the place of the alarm that an alarm notice at `heard` is about, None where it is a new one."""
    for place in range(len(ledger) - 1, -1, -1):
        entry = ledger[place]
        if entry.slot[0] == ARMING or heard - entry.heard > SAME_ALARM_S:
            return None
        if entry.alarms:
            return place
    return None


def added(ledger: tuple[Entry, ...], entry: Entry) -> tuple[Entry, ...]:
    """Return the ledger with a new event. What waits to be reported is never dropped."""
    if len(ledger) < MOST:
        return (*ledger, entry)
    spare = next((place for place, old in enumerate(ledger) if old.due is None), None)
    return (*ledger, entry) if spare is None else (*ledger[:spare], *ledger[spare + 1 :], entry)


def replaced(ledger: tuple[Entry, ...], place: int, entry: Entry) -> tuple[Entry, ...]:
    return (*ledger[:place], entry, *ledger[place + 1 :])


def moved(ledger: tuple[Entry, ...], place: int, entry: Entry) -> tuple[Entry, ...]:
    """Return the ledger with `entry` as its last, in place of one that was heard too early."""
    return (*ledger[:place], *ledger[place + 1 :], entry)


def with_form(entry: Entry, form: Form, time: int | None) -> Entry:
    """Return `entry` with one more form, itself where it has that already."""
    if form in entry.forms:
        return entry
    return replace(entry, forms={**entry.forms, form: time}, time=time if entry.time is None else entry.time)


def knows_more(event: PanelEvent, known: PanelEvent) -> bool:
    """Whether `event` says something of a known event that rules may ask for: its sensor, its type, what it was."""
    if event.type is not known.type:
        return known.type in (_E.ALARM, _E.SENSOR_ACTIVITY)
    if known.sensor is None:
        return event.sensor is not None
    return known.sensor_type is None and event.sensor_type is not None


def _repeats(ledger: Sequence[Entry], place: int, form: Form, time: int, heard: float) -> bool:
    """Whether a report came before: the same form and second, and nothing else of that sensor in that second since."""
    entry = ledger[place]
    if entry.forms.get(form) != time or not (time >= A_CLOCK or heard - entry.heard <= WITHOUT_TIME_S):
        return False
    return not any(e.slot[1] == entry.slot[1] and e.forms.get(form) == time for e in ledger[place + 1 :])


def outdates(later: Entry, report: Entry) -> bool:
    """Whether `later` says more recent things about what `report` changes: the arming, or the same sensor."""
    return later.slot[0] == ARMING or (later.slot[1] is not None and later.slot[1] == report.slot[1])


def _ends(slot: Slot, later: Entry) -> bool:
    """Whether a form without a time cannot reach back past `later`."""
    return later.slot[0] == ARMING or later.slot[:2] == slot[:2] or (slot[0] == ARMING and later.alarms)
