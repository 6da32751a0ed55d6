"""The alarms that wait for one transmitter, in the order of sending. Pure; nothing scans them all.

Urgent and due, then never tried, then retried and due; within each by acceptance, but those that hung come last. A
restore never overtakes its alarm, nor an alarm the restore of the one before: what comes first in such a chain is sent
in place of what follows it, and inherits its urgency.
"""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from enum import IntEnum, auto

from bridge.common.models import AlarmIdentity
from bridge.transmitters.routes import Answer, Route

REFUSED_FIRST_S = 10.0
REFUSED_LONGEST_S = 300.0


class AlarmState(IntEnum):
    """Of an alarm that waits; the table in `schedule` says when each is entered and left."""

    NEW = auto()
    DUE = auto()
    """Tried before, and to be sent again now."""
    HELD = auto()
    """Its last round found no receiver: it waits for a route that serves, or for the next round."""
    HUNG = auto()
    """The same, but its document went out and was not answered: in an outage it goes after all others, in turn."""
    REFUSED = auto()
    """A receiver refused it: it waits on its own."""
    BEHIND = auto()
    """What it has to follow cannot be sent now, and was given its urgency: it waits until that has ended."""
    SENDING = auto()


@dataclass(slots=True)
class Round:
    """One attempt on each route, with one alarm."""

    began: float
    routes: set[Route] = field(default_factory=set)
    """Those that were tried."""
    answers: dict[str, Answer] = field(default_factory=dict)
    """By receiver; who has answered is not asked over another path."""
    hung: bool = False
    """Whether the document went out and was not answered."""


@dataclass(slots=True, eq=False)
class Waiting:
    """One alarm or restore in the outbox; `number` is its id there and the order of acceptance."""

    number: int
    identity: AlarmIdentity
    restore: bool
    accepted_at: float
    """By the clock of `now`."""
    urgent: bool = False
    tried: bool = False
    """Whether a round with it has failed."""
    undelivered: bool = False
    """Whether that was reported."""
    minimal: bool = False
    """Whether it goes out with its mandatory elements only."""
    state: AlarmState = AlarmState.NEW
    due: float = 0.0
    """When it may go if REFUSED, since when it waits if HUNG, else 0."""
    wait_s: float = REFUSED_FIRST_S
    invalid_at: dict[str, int] = field(default_factory=dict)
    """The last status of 1, 2, 3, 7 and 100, by receiver."""
    released_by: set[str] = field(default_factory=set)
    """The receivers whose recovery made it due; one that refuses it then refuses this alarm, not all."""
    round: Round | None = None
    failed_at_delivered: int | None = None
    """How many alarms had been delivered when its last round failed without an answer."""


_READY = (AlarmState.NEW, AlarmState.DUE, AlarmState.HELD, AlarmState.HUNG)
_INDEPENDENT = (AlarmState.NEW, AlarmState.DUE)
"""What goes whether or not a route serves, also in place of what has to follow it."""
_URGENT, _OTHERS = (True,), (False,)
_Entry = tuple[float, int]
"""Of a heap: `due` and number of an alarm."""


class Queue:
    """Alarms by number, each in the heap of its urgency and state; outdated entries are skipped."""

    def __init__(self) -> None:
        self._alarms: dict[int, Waiting] = {}
        self._heaps: dict[tuple[bool, AlarmState], list[_Entry]] = defaultdict(list)
        self._refused: list[_Entry] = []
        self._unreported: list[_Entry] = []
        self._behind: dict[int, list[int]] = defaultdict(list)
        self._same: dict[tuple[AlarmIdentity, bool], list[int]] = defaultdict(list)
        self._code: dict[tuple[str, bool], list[int]] = defaultdict(list)

    def __len__(self) -> int:
        return len(self._alarms)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._alarms.values())

    def __contains__(self, number: object) -> bool:
        return number in self._alarms

    def get(self, number: int) -> Waiting | None:
        return self._alarms.get(number)

    def add(self, alarm: Waiting, undelivered_after: float) -> None:
        """Take in an alarm; what it has to follow is due at once."""
        self._alarms[alarm.number] = alarm
        heapq.heappush(self._same[alarm.identity, alarm.restore], alarm.number)
        heapq.heappush(self._code[alarm.identity.event_code, alarm.restore], alarm.number)
        if not alarm.undelivered:
            heapq.heappush(self._unreported, (alarm.accepted_at + undelivered_after, alarm.number))
        self.put(alarm, alarm.state)
        head = self.head(alarm)
        if head is alarm:
            return
        self._inherit(head, urgent=alarm.urgent)
        if head.state is not AlarmState.SENDING:
            self.put(head, AlarmState.DUE if head.tried else AlarmState.NEW)

    def put(self, alarm: Waiting, state: AlarmState, due: float = 0.0) -> None:
        alarm.state, alarm.due = state, due
        if state in _READY:
            heapq.heappush(self._heaps[alarm.urgent, state], (due, alarm.number))
        elif state is AlarmState.REFUSED:
            heapq.heappush(self._refused, (due, alarm.number))

    def remove(self, number: int) -> None:
        if self._alarms.pop(number, None) is not None:
            self._release(number)
        if not self._alarms:  # stale entries and identities that do not come again
            for each in (self._heaps, self._behind, self._same, self._code):
                each.clear()

    def first(self, states: Collection[AlarmState], *, urgent_only: bool = False) -> Waiting | None:
        """Return the alarm to send now, out of `states`: some of NEW, DUE, HELD and HUNG."""
        retried = [state for state in states if state is not AlarmState.NEW]
        tiers: list[tuple[tuple[bool, ...], Collection[AlarmState]]] = [(_URGENT, states)]
        if not urgent_only:
            tiers += [(_OTHERS, [AlarmState.NEW]), (_OTHERS, retried)]
        for urgency, tier in tiers:
            while (alarm := self._top(urgency, tier)) is not None:
                head = self.head(alarm)
                if head is alarm or (head.state in states and head.state in _INDEPENDENT):
                    return head
                self._inherit(head, urgent=alarm.urgent)
                alarm.state = AlarmState.BEHIND
                self._behind[head.number].append(alarm.number)
        return None

    def longest_hung(self) -> Waiting | None:
        """Return the one of those that hung whose turn it is, urgent or not."""
        return self._top(_URGENT + _OTHERS, [AlarmState.HUNG])

    def _inherit(self, head: Waiting, *, urgent: bool) -> None:
        if urgent and not head.urgent:
            head.urgent = True
            if head.state in _READY:
                heapq.heappush(self._heaps[True, head.state], (head.due, head.number))

    def make_due(self, now: float) -> None:
        while self._refused and self._refused[0][0] <= now:
            due, number = heapq.heappop(self._refused)
            alarm = self._alarms.get(number)
            if alarm is not None and alarm.state is AlarmState.REFUSED and alarm.due == due:
                self.put(alarm, AlarmState.DUE)

    @property
    def next_due(self) -> float | None:
        """When the first of those refused is due again."""
        while self._refused:
            due, number = self._refused[0]
            alarm = self._alarms.get(number)
            if alarm is not None and alarm.state is AlarmState.REFUSED and alarm.due == due:
                return due
            heapq.heappop(self._refused)
        return None

    def has(self, *states: AlarmState) -> bool:
        return self._top(_URGENT + _OTHERS, states) is not None

    @property
    def has_urgent(self) -> bool:
        return self._top(_URGENT, _READY) is not None

    def unreported(self, now: float) -> list[Waiting]:
        """Return the alarms not delivered in time that nobody has reported, once each."""
        found = []
        while self._unreported and self._unreported[0][0] <= now:
            alarm = self._alarms.get(heapq.heappop(self._unreported)[1])
            if alarm is not None and not alarm.undelivered:
                alarm.undelivered = True
                found.append(alarm)
        return found

    @property
    def next_report(self) -> float | None:
        """When the first alarm is reported as undelivered, unless it ends before."""
        while self._unreported:
            at, number = self._unreported[0]
            alarm = self._alarms.get(number)
            if alarm is not None and not alarm.undelivered:
                return at
            heapq.heappop(self._unreported)
        return None

    def head(self, alarm: Waiting) -> Waiting:
        """Return the first of the chain that `alarm` is in: itself, where it has nothing to follow."""
        while (before := self._before(alarm)) is not None:
            alarm = before
        return alarm

    def _before(self, alarm: Waiting) -> Waiting | None:
        """Return the earliest alarm that `alarm` has to follow: the opposite, of the same identity."""
        code, opposite = alarm.identity.event_code, not alarm.restore
        if alarm.identity.whole_code:
            found = self._least(self._code.get((code, opposite)))
        else:
            whole = self._least(self._same.get((AlarmIdentity(code), opposite)))
            same = self._least(self._same.get((alarm.identity, opposite)))
            found = min((each for each in (whole, same) if each is not None), default=None)
        return self._alarms[found] if found is not None and found < alarm.number else None

    def _least(self, heap: list[int] | None) -> int | None:
        while heap and heap[0] not in self._alarms:
            heapq.heappop(heap)
        return heap[0] if heap else None

    def _top(self, urgency: Collection[bool], states: Collection[AlarmState]) -> Waiting | None:
        tops = []
        for key in itertools.product(urgency, states):
            heap = self._heaps[key]
            while heap and not self._fits(heap[0], key):
                heapq.heappop(heap)
            tops += heap[:1]
        return self._alarms[min(tops)[1]] if tops else None

    def _fits(self, entry: _Entry, key: tuple[bool, AlarmState]) -> bool:
        alarm = self._alarms.get(entry[1])
        return alarm is not None and alarm.due == entry[0] and (alarm.urgent, alarm.state) == key

    def _release(self, number: int) -> None:
        for each in self._behind.pop(number, ()):
            alarm = self._alarms.get(each)
            if alarm is not None and alarm.state is AlarmState.BEHIND:
                self.put(alarm, AlarmState.DUE if alarm.tried else AlarmState.NEW)
