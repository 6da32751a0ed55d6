"""The ledger of events: which reports are forms of one physical event.

A panel reports one event as 0x21, as an alert and as a notice, each at most once, and its history holds it too. Forms
with a time belong together where the times are at most 2 s apart. A form without a time belongs to the last event of
its slot within 60 s, unless anything else of that kind or an arming came between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from functools import lru_cache
from typing import Final

from bridge.common.values import value
from bridge.g90.wire.events import A_CLOCK, EventType, Form, PanelEvent

Slot = tuple[str, int | None, str | None]
"""What two reports must have in common to be one event, their time aside: kind, sensor, detail."""
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
WITHOUT_TIME_S: Final = 60.0
"""How long after a form the next may come that has no time."""
HISTORY_S: Final = 900.0
"""The same for a record of the history, which is read later than a report comes."""
_LATEST_S: Final = {Form.HISTORY: HISTORY_S}
SAME_ALARM_S: Final = 10.0
"""An alarm notice that comes later than this after an alarm is another alarm."""
_READ: Final = frozenset({Form.READ, Form.HISTORY})
MOST: Final = 64
"""Entries kept; more than the records of five pages of history."""


@value(frozen=True, slots=True)
class Entry:
    """One physical event, and the forms that it came in, each with its time by the panel's clock."""

    slot: Slot
    event: PanelEvent
    """As well as it is known so far; its key is that of the first report."""
    forms: Mapping[Form, int | None]
    heard: float
    """By the steady clock."""
    alarms: bool = False
    due: float | None = None
    """Not reported yet: until then another form may say more."""
    time: int | None = None
    """By the panel's clock, in the first form that had one."""

    def with_form(self, form: Form, time: int | None) -> Entry:
        """Return this entry with one more form, itself where it has that already."""
        if form in self.forms:
            return self
        return replace(self, forms={**self.forms, form: time}, time=time if self.time is None else self.time)

    @property
    def was_read(self) -> bool:
        """Whether nothing but readings said it."""
        return self.forms.keys() <= _READ

    def outdates(self, report: Entry) -> bool:
        """Whether this says more recent things about what `report` changes: the arming, or the same sensor."""
        return self.slot[0] == ARMING or (self.slot[1] is not None and self.slot[1] == report.slot[1])


@value(frozen=True, slots=True)
class Ledger:
    """The last events, oldest first, in the order in which they were heard."""

    entries: tuple[Entry, ...] = ()
    newest: float = float("-inf")
    """No entry has a later time by the panel's clock."""
    untimed: float = field(default=float("-inf"), compare=False)
    """No entry without such a time was heard later than this."""

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __getitem__(self, place: int) -> Entry:
        return self.entries[place]

    def after(self, place: int) -> tuple[Entry, ...]:
        return self.entries[place + 1 :]

    def added(self, entry: Entry) -> Ledger:
        """Return the ledger with a new event. What waits to be reported is never dropped."""
        kept, new = self.entries, (entry,)
        if len(kept) >= MOST:
            spare = next((i for i, old in enumerate(kept) if old.due is None), len(kept))
            kept = kept[:spare] + kept[spare + 1 :]
        return self._with(kept + new, entry)

    def replaced(self, place: int, entry: Entry) -> Ledger:
        return self._with((*self.entries[:place], entry, *self.entries[place + 1 :]), entry)

    def moved(self, place: int, entry: Entry) -> Ledger:
        """Return the ledger with `entry` as its last, in place of one that was heard too early."""
        return self._with((*self.entries[:place], *self.entries[place + 1 :], entry), entry)

    def _with(self, entries: tuple[Entry, ...], entry: Entry) -> Ledger:
        time = entry.time
        if time is None:
            return Ledger(entries, self.newest, max(self.untimed, entry.heard))
        return Ledger(entries, max(self.newest, time), self.untimed)

    def find(self, slot: Slot, form: Form, time: int | None, heard: float) -> int | None:
        """Return the place of the event that a report in `form` belongs to, None for a new event."""
        limit = _LATEST_S.get(form, WITHOUT_TIME_S)
        if time is not None:
            if time <= self.newest + CLOCK_TOLERANCE_S and (near := self._near(slot, time, heard)):
                return self._nearest(near, form, time, heard)
            if heard - self.untimed > limit:
                return None  # one form at least has to be without a time
        kind, sensor, _detail = slot
        for place, entry in self._backwards():
            if heard - entry.heard > limit:
                return None
            its_kind, its_sensor, _its_detail = entry.slot
            if its_kind == kind and its_sensor == sensor:
                fits = entry.slot == slot and form not in entry.forms and (time is None or entry.time is None)
                return place if fits else None
            if its_kind == ARMING or (kind == ARMING and entry.alarms):
                return None
        return None

    def place_of(self, entry: Entry | None) -> int | None:
        """Return the place of this very entry, None if it has changed since."""
        return next((place for place, known in enumerate(self.entries) if known is entry), None)

    def unexplained(self, reason: Entry) -> int | None:
        """Return the place of an alarm without a reason that `reason` explains; None if it is its own alarm.

        What a reading found after ALARMED came before it: one that waits for its reason can have it from there.
        """
        missed = False
        for place, entry in self._backwards():
            if entry.slot[0] == ARMING:
                if not entry.was_read:
                    return None
                missed = True
            elif entry.alarms and entry.event.sensor is None and entry.event.type is _E.ALARM:
                if missed and entry.due is None:
                    return None
                soon = reason.heard - entry.heard <= WITHOUT_TIME_S
                return place if soon or Form.HISTORY in reason.forms else None
        return None

    def held_back(self, slot: Slot, heard: float) -> int | None:
        """Return the place of the arming that a notice is late for, behind later ones; None if there is none.

        A connection that was interrupted delivers its reports late and in order, when a reading has said what came of
        them.
        """
        read = True
        first = None
        for place, entry in self._backwards():
            read = read and (entry.was_read or not (entry.slot[0] == ARMING or entry.alarms))
            if not read or heard - entry.heard > WITHOUT_TIME_S:
                break
            if entry.slot == slot and Form.HISTORY in entry.forms:
                first = place
        return first

    def last_alarm(self, heard: float) -> int | None:
        """Return the place of the alarm that an alarm notice at `heard` is about, None where it is a new one."""
        for place, entry in self._backwards():
            if entry.slot[0] == ARMING or heard - entry.heard > SAME_ALARM_S:
                return None
            if entry.alarms:
                return place
        return None

    def _backwards(self) -> Iterator[tuple[int, Entry]]:
        return zip(range(len(self.entries) - 1, -1, -1), reversed(self.entries), strict=True)

    def _near(self, slot: Slot, time: int, heard: float) -> list[int]:
        """Return the places of the events of `slot` at about `time`; a clock that was never set repeats times."""
        own = [place for place, entry in enumerate(self.entries) if entry.slot == slot]
        times = ((place, self.entries[place].time) for place in own)
        near = [place for place, known in times if known is not None and abs(known - time) <= CLOCK_TOLERANCE_S]
        return [place for place in near if time >= A_CLOCK or heard - self.entries[place].heard <= HISTORY_S]

    def _nearest(self, near: list[int], form: Form, time: int, heard: float) -> int | None:
        if unsaid := [place for place in near if form not in self.entries[place].forms]:
            return min(unsaid, key=lambda place: (self.entries[place].time != time, place))
        return next((place for place in reversed(near) if self._repeats(place, form, time, heard)), None)

    def _repeats(self, place: int, form: Form, time: int, heard: float) -> bool:
        """Whether a report was seen before: same form and second, and no other of that sensor since."""
        entry = self.entries[place]
        if entry.forms.get(form) != time or not (time >= A_CLOCK or heard - entry.heard <= WITHOUT_TIME_S):
            return False
        return not any(e.slot[1] == entry.slot[1] and e.forms.get(form) == time for e in self.after(place))


def slot_of(event: PanelEvent) -> Slot:
    """Return what the forms of one event have in common."""
    return slot_for(event.type, event.sensor, event.action)


@lru_cache(maxsize=4096)
def slot_for(event: EventType, sensor: int | None, action: str | None) -> Slot:
    kind, detail = _SLOTS.get(event) or (event.value, action)
    return (kind, sensor, detail)


def knows_more(event: PanelEvent, known: PanelEvent) -> bool:
    """Whether `event` adds to a known event what rules may ask for: the sensor, its type, what happened."""
    if event.type is not known.type:
        return known.type in (_E.ALARM, _E.SENSOR_ACTIVITY)
    if known.sensor is None:
        return event.sensor is not None
    return known.sensor_type is None and event.sensor_type is not None
