"""The account of every alarm: when it was published, what the receivers did with it, which results were told.

Times are those of this process's monotonic clock, so a clock that is set back disturbs nothing here.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

now = time.monotonic

HAS_IT = (0, 10)
"""The statuses with which a receiver says that it has the alarm."""
REJECTED = (1, 2, 3, 7, 100)
"""Those with which it says that it never will; from both receivers they end the alarm."""

_AT_ONCE_S = 1.0
"""What reaches a receiver later than this after it was published has failed before, or waits behind others."""

_SEEN_LATE_S = 1.0
"""A receiver here may see a request so long after it was sent, and its sender may be dead by then."""
RESTORED = " restored"
"""What a restore of a panel's alarm has behind the reference of the alarm."""
_NO_CLOCK = "no-clock-"
"""How the references begin that the bridge makes where there is none and its clock is wrong."""

Reason = Literal["response lost", "process killed", "process stopped", "published twice", "no reason"]


@dataclass(slots=True)
class Attempt:
    """One request at a receiver. `answered`: as far as the receiver knows, the transmitter read its true answer."""

    begun: float
    status: int | None
    answered: bool = False
    ended: float = 0.0

    @property
    def treated(self) -> bool:
        return self.status in HAS_IT


@dataclass(slots=True)
class Alarm:
    """One alarm or restore under its reference; `number` is its place in the order of its transmitter."""

    reference: str
    transmitter: str
    number: int
    subject: str = ""
    """What it is about: a restore is about the same as its alarm, and never overtakes it."""
    published: list[float] = field(default_factory=list)
    acknowledged: float | None = None
    attempts: list[Attempt] = field(default_factory=list)
    results: dict[str, str] = field(default_factory=dict)
    """Outcomes by what tells one result from another; the same one told again adds nothing."""
    in_order: bool = True
    """False: whoever sent it does not know what goes before it, such as a restore after a time."""

    @property
    def treated(self) -> list[Attempt]:
        return [each for each in self.attempts if each.treated]

    @property
    def first(self) -> float | None:
        """When a receiver had it."""
        return min((each.begun for each in self.treated), default=None)

    @property
    def outcomes(self) -> list[str]:
        """How it ended; a refused password is told and ends nothing."""
        return [outcome for outcome in self.results.values() if outcome != "unauthorized"]

    @property
    def ended(self) -> bool:
        return bool(self.outcomes)

    @property
    def set_back(self) -> bool:
        """Whether it was tried in vain: then it goes behind those that were never tried."""
        late = self.first is not None and self.first - self.published[0] > _AT_ONCE_S
        return late or any(not (each.treated and each.answered) for each in self.attempts)


@dataclass(slots=True)
class PanelAlarm(Alarm):
    """An alarm, or its restore, that a rule makes of a panel's event; `transmitter` is the panel.

    It is published once, whatever the panel says how often, and acknowledged once the panel knows that it was heard.
    It has no reference of its own, so results do not tell its end: what receivers did with it does.
    """

    tellings: int = 0
    """How often the panel told of it."""

    @property
    def outcomes(self) -> list[str]:
        if self.treated:
            return ["accepted"]
        return ["rejected"] if sum(each.status in REJECTED for each in self.attempts) > 1 else []


class Ledger:
    """All alarms of one run, and what happened to the bridge and to the network meanwhile."""

    def __init__(self) -> None:
        self.alarms: dict[str, Alarm] = {}
        self.kills: list[float] = []
        self.stops: list[float] = []
        self.at_risk = 0.0
        """What was acknowledged until then may be lost with what the broker held: its loss, and not the bridge's."""
        self.cuts: list[tuple[float, float]] = []
        """From when to when answers of receivers may have been lost on their way."""
        self.faults: Counter[str] = Counter()
        self.strange: list[str] = []
        """What nobody published or expected."""
        self.unnamed: set[str] = set()
        """What tells one result from another, of alarms of panels."""

    def new(self, transmitter: str, number: int, subject: str) -> Alarm:
        alarm = Alarm(f"{transmitter}-{number}", transmitter, number, subject)
        self.alarms[alarm.reference] = alarm
        return alarm

    def of_panel(self, panel: str, number: int, subject: str, restores: Alarm | None = None) -> PanelAlarm:
        """Note what an event of a panel has to become; `restores` is the alarm that it ends."""
        reference = f"{restores.reference}{RESTORED}" if restores else f"{panel}-{number}"
        alarm = PanelAlarm(reference, panel, number, subject, [now()])
        self.alarms[reference] = alarm
        return alarm

    def arrived(self, reference: str | None, status: int | None, begun: float) -> Attempt:
        attempt = Attempt(begun, status)
        alarm = self.alarms.get(reference or "")
        if alarm is None:
            self.strange.append(f"an alarm that nobody sent: {reference}")
        else:
            alarm.attempts.append(attempt)
        return attempt

    def told(self, reference: str | None, outcome: str, key: str) -> None:
        alarm = self.alarms.get(reference or "")
        if reference is None or reference.startswith(_NO_CLOCK):
            self._told_of_panel(outcome, key)
        elif alarm is None:
            self.strange.append(f"a result of an alarm that nobody sent: {reference}")
        else:
            alarm.results[key] = outcome

    def _told_of_panel(self, outcome: str, key: str) -> None:
        if outcome in ("expired", "invalid"):
            self.strange.append(f"an alarm of a panel ended as {outcome}")
        if outcome != "unauthorized":
            self.unnamed.add(key)

    def open(self) -> list[Alarm]:
        """Return the alarms without a result."""
        return [alarm for alarm in self.alarms.values() if not alarm.ended]

    def lost_by_broker(self) -> list[Alarm]:
        """Return those of them that the broker may have lost, or whose result it may have."""
        waiting = [alarm for alarm in self.open() if not isinstance(alarm, PanelAlarm)]
        return [alarm for alarm in waiting if (alarm.acknowledged or 0) <= self.at_risk]

    @property
    def panels(self) -> list[PanelAlarm]:
        """Return the alarms that panels made."""
        return [alarm for alarm in self.alarms.values() if isinstance(alarm, PanelAlarm)]

    # The judgement

    def lost(self) -> list[Alarm]:
        """Return the alarms that no receiver has, and that none has rejected either."""
        return [each for each in self.alarms.values() if each.acknowledged and not each.treated and not _rejected(each)]

    def told_twice(self) -> list[Alarm]:
        """Return the alarms that ended more than once for each time that they were published."""
        return [each for each in self.alarms.values() if len(each.outcomes) > len(each.published)]

    def twice(self) -> Iterator[tuple[Alarm, Reason]]:
        """Give the alarms that receivers have more than once, and why."""
        for alarm in self.alarms.values():
            if len(alarm.treated) > 1:
                yield alarm, self._reason(alarm)

    def _reason(self, alarm: Alarm) -> Reason:
        treated = alarm.treated
        begun, last = min(each.begun for each in treated) - _SEEN_LATE_S, max(each.begun for each in treated)
        lost = sum(not each.answered or self._was_cut(each) for each in treated)
        kills = sum(begun <= moment <= last for moment in self.kills)
        stops = sum(begun <= moment <= last for moment in self.stops)
        again = len(alarm.published) - 1
        if len(treated) - 1 > lost + kills + stops + again:
            return "no reason"
        reasons: list[tuple[int, Reason]] = [
            (kills, "process killed"),
            (stops, "process stopped"),
            (again, "published twice"),
        ]
        return next((reason for count, reason in reasons if not lost and count), "response lost")

    def _was_cut(self, attempt: Attempt) -> bool:
        return any(begun <= attempt.ended and attempt.begun <= end for begun, end in self.cuts)

    def overtaken(self) -> list[Alarm]:
        """Return the alarms that a receiver had after a later one of the same transmitter, without an excuse.

        Those that were set back may be overtaken, and so may those that wait behind one about the same.
        """
        waiting = self._waiting()
        found: list[Alarm] = []
        soonest: dict[tuple[str, ...], float] = {}
        for alarm in sorted(self.alarms.values(), key=lambda each: -each.number):
            if alarm.first is None:
                continue
            lines = [(alarm.transmitter,)] if alarm.in_order else []
            for line in (*lines, (alarm.transmitter, alarm.subject)):
                later = soonest.get(line, alarm.first)
                excused = len(alarm.published) > 1 or (len(line) == 1 and alarm.reference in waiting)
                if alarm.first > later and not excused and alarm not in found:
                    found.append(alarm)
                soonest[line] = min(alarm.first, later)
        return found

    def _waiting(self) -> set[str]:
        """Return the references of the alarms that were set back, and of those behind them about the same."""
        found: set[str] = set()
        before: dict[tuple[str, str], Alarm] = {}
        for alarm in sorted(self.alarms.values(), key=lambda each: each.number):
            last = before.get((alarm.transmitter, alarm.subject))
            behind = last is not None and last.reference in found and (last.first or now()) > alarm.published[0]
            if alarm.set_back or behind:
                found.add(alarm.reference)
            before[alarm.transmitter, alarm.subject] = alarm
        return found


def _rejected(alarm: Alarm) -> bool:
    return "rejected" in alarm.outcomes
