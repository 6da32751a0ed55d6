"""The account of every alarm: when it was published, what the receivers did with it, which results were told.

Times are those of this process's monotonic clock, so a clock that is set back disturbs nothing here.
"""

from __future__ import annotations

import math
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

now = time.monotonic

HAS_IT = (0, 10)
"""The statuses with which a receiver says that it has the alarm."""
UNAUTHORIZED = (4, 6)
"""Those with which it refuses the password; it is not asked again for a while."""
SERVING = (0, 9, 10, 101)
"""Those that show that it took the password."""
INVALID = (1, 2, 3, 7, 100)
"""Those with which it says that it never will take this message; the alarm ends only if every receiver says so."""

_SEEN_LATE_S = 1.0
"""A receiver here may see a request so long after it was sent, and its sender may be dead by then."""
RESTORED = " restored"
"""What a restore of a panel's alarm has behind the reference of the alarm."""
_NO_CLOCK = "no-clock-"
"""How the references begin that the bridge makes where there is none and its clock is wrong."""

_REFERENCE = re.compile(rb'"reference": "([^"]+)"')

RECEIVERS = ("primary", "secondary")
_KEPT_S = 2.0
"""So long after an answer what it says of the password may not be on the disk yet."""
_DRAINED_S = 10.0
"""So long after the disk takes writes again, results may not be on it yet."""

Reason = Literal[
    "response lost",
    "process killed",
    "process stopped",
    "taken over",
    "published twice",
    "delivered again",
    "no reason",
]


@dataclass(slots=True)
class Attempt:
    """One request at a receiver. `answered`: as far as the receiver knows, the transmitter read its true answer."""

    begun: float
    status: int | None
    receiver: str = "primary"
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
    urgent: bool = False
    published: list[float] = field(default_factory=list)
    delivered_again: int = 0
    """How often the broker repeated it: once a receiver has it, that is another alarm."""
    acknowledged: float | None = None
    taken: float | None = None
    """When the bridge certainly had it, if that was seen: it acknowledged it to the broker."""
    attempts: list[Attempt] = field(default_factory=list)
    results: dict[str, str] = field(default_factory=dict)
    """Outcomes by what tells one result from another; the same one told again adds nothing."""
    unsaved: int = 0
    """How many of them were told while the disk was full: who dies then knows nothing of it, and sends it again."""
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
    def refused_for_good(self) -> bool:
        """Whether every receiver has said that it never takes it."""
        return {each.receiver for each in self.attempts if each.status in INVALID} >= set(RECEIVERS)


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
        return ["rejected"] if self.refused_for_good else []


@dataclass(frozen=True, slots=True)
class Arrived:
    """An alarm at a receiver, under which reference, of which account; `kind`: AL or RE and its event code."""

    reference: str | None
    account: str
    receiver: str
    status: int | None
    kind: str = "AL FA"


class Ledger:
    """All alarms of one run, and what happened to the bridge and to the network meanwhile."""

    def __init__(self) -> None:
        self.alarms: dict[str, Alarm] = {}
        self.kills: list[float] = []
        self.stops: list[float] = []
        self.take_overs: list[tuple[float, float]] = []
        """From when to when another node took over, or one that had lost its shard went on."""
        self.at_risk = 0.0
        """What was acknowledged until then may be lost with what the broker held: its loss, and not the bridge's."""
        self.cuts: list[tuple[float, float]] = []
        """From when to when answers of receivers may have been lost on their way."""
        self.troubles: dict[str, list[tuple[float, float]]] = defaultdict(list)
        """From when to when a receiver, or the network to it, let attempts fail that it does not note, by receiver."""
        self.refused: dict[tuple[str, str], list[float]] = defaultdict(list)
        """When a receiver refused the password, by account and receiver: it is not asked then for a while."""
        self.served: dict[tuple[str, str], list[float]] = defaultdict(list)
        """When it took it."""
        self._invalid: dict[tuple[str, str], Alarm] = {}
        """By account and kind, the last alarm that every receiver called invalid: what has no name is that one."""
        self.faults: Counter[str] = Counter()
        self.accounts: dict[str, set[str]] = {}
        """By line, a transmitter or a panel: the transmitter codes under which its alarms go out."""
        self.strange: list[str] = []
        """What nobody published or expected."""
        self.unnamed: set[str] = set()
        """What tells one result from another, of alarms of panels; those that were saved."""
        self._unsaved_until = 0.0
        self._full: list[tuple[float, float]] = []
        """From when to when what the bridge did may have been in its memory only."""

    def new(self, transmitter: str, number: int, subject: str, *, urgent: bool = False) -> Alarm:
        alarm = Alarm(f"{transmitter}-{number}", transmitter, number, subject, urgent)
        self.alarms[alarm.reference] = alarm
        return alarm

    def of_panel(
        self, panel: str, number: int, subject: str, restores: Alarm | None = None, *, urgent: bool = False
    ) -> PanelAlarm:
        """Note what an event of a panel has to become; `restores` is the alarm that it ends."""
        reference = f"{restores.reference}{RESTORED}" if restores else f"{panel}-{number}"
        alarm = PanelAlarm(reference, panel, number, subject, urgent, [now()])
        self.alarms[reference] = alarm
        return alarm

    def arrived(self, arrived: Arrived, begun: float) -> Attempt:
        """Note an alarm at a receiver; without a name: one that goes out with its mandatory elements only."""
        attempt = Attempt(begun, arrived.status, arrived.receiver)
        kind = arrived.account, arrived.kind
        alarm = self.alarms.get(arrived.reference) if arrived.reference else self._invalid.get(kind)
        if alarm is None:
            self.strange.append(f"an alarm that nobody sent: {arrived.reference}")
            return attempt
        alarm.attempts.append(attempt)
        if arrived.status in INVALID and alarm.refused_for_good:
            self._invalid[kind] = alarm
        return attempt

    def logged_in(self, account: str, receiver: str, status: int | None) -> None:
        """Note whether a receiver has refused the password of an account, in any message."""
        if status in UNAUTHORIZED:
            self.refused[account, receiver].append(now())
        elif status in SERVING:
            self.served[account, receiver].append(now())

    def seems_refused(self, account: str, receiver: str, begun: float, until: float) -> bool:
        """Return whether the bridge may have believed between these times that a receiver refuses the password.

        It forgets an answer that took the password with a kill before that is on the disk, and never reads one that
        is lost.
        """
        refused = max((at for at in self.refused[account, receiver] if at <= until), default=None)
        if refused is None or refused >= begun:
            return refused is not None
        return not any(self._is_kept(at) for at in self.served[account, receiver] if refused < at <= begun - _KEPT_S)

    def _is_kept(self, answered: float) -> bool:
        """Return whether an answer was certainly read and is on the disk."""
        ends = [end for start, end in self._full if start <= answered <= end]
        until = max(ends, default=answered + _KEPT_S)
        cut = any(start <= answered <= end for start, end in self.cuts)
        return not cut and not any(answered <= kill <= until for kill in self.kills)

    def delivered_again(self, packet: bytes) -> None:
        """Note a message with DUP from the broker."""
        found = _REFERENCE.search(packet)
        if found and (alarm := self.alarms.get(found[1].decode())) is not None:
            alarm.delivered_again += 1

    def taken(self, packet: bytes) -> None:
        """Note a message that the bridge has acknowledged."""
        found = _REFERENCE.search(packet)
        if found and (alarm := self.alarms.get(found[1].decode())) is not None:
            alarm.taken = alarm.taken or now()

    def disk(self, *, full: bool) -> None:
        """Note that the disk takes no writes, or that it does again."""
        if full:
            self._full.append((now(), math.inf))
        elif self._full:
            self._full[-1] = self._full[-1][0], now() + _DRAINED_S
        self._unsaved_until = self._full[-1][1] if self._full else 0.0

    def told(self, reference: str | None, outcome: str, key: str) -> None:
        alarm = self.alarms.get(reference or "")
        if reference is None or reference.startswith(_NO_CLOCK):
            self._told_of_panel(outcome, key)
        elif alarm is None:
            self.strange.append(f"a result of an alarm that nobody sent: {reference}")
        else:
            alarm.unsaved += key not in alarm.results and now() < self._unsaved_until
            alarm.results[key] = outcome

    def _told_of_panel(self, outcome: str, key: str) -> None:
        if outcome in ("expired", "invalid"):
            self.strange.append(f"an alarm of a panel ended as {outcome}")
        if outcome != "unauthorized" and now() >= self._unsaved_until:
            self.unnamed.add(key)

    def open(self) -> list[Alarm]:
        """Return the alarms without a result."""
        return [each for each in self.alarms.values() if not each.ended and not self._died_with_memory(each)]

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
        return [each for each in self._missing() if not self._died_with_memory(each)]

    def lost_with_memory(self) -> list[Alarm]:
        """Return the restores that were in the memory of a bridge that was killed while its disk was full."""
        return [each for each in self._missing() if self._died_with_memory(each)]

    def _missing(self) -> Iterator[Alarm]:
        for each in self.alarms.values():
            if each.acknowledged and not each.treated and not _rejected(each):
                yield each

    def _died_with_memory(self, alarm: Alarm) -> bool:
        """Whether `alarm` is the restore of one that was acknowledged on a full disk, before a kill."""
        raised = self.alarms.get(alarm.reference.removesuffix(RESTORED))
        told = raised.acknowledged if raised else None
        if raised is alarm or told is None:
            return False
        return any(begun <= told <= kill <= end for begun, end in self._full for kill in self.kills)

    def told_twice(self) -> list[Alarm]:
        """Return the alarms that ended more than once for each time that they were published or delivered again."""

        def allowed(alarm: Alarm) -> int:
            return len(alarm.published) + alarm.delivered_again + alarm.unsaved

        return [each for each in self.alarms.values() if len(each.outcomes) > allowed(each)]

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
        taken = sum(begun <= end and start <= last for start, end in self.take_overs)
        again = len(alarm.published) - 1
        if len(treated) - 1 > lost + kills + stops + taken + again + alarm.delivered_again:
            return "no reason"
        reasons: list[tuple[int, Reason]] = [
            (kills, "process killed"),
            (stops, "process stopped"),
            (taken and len(alarm.outcomes) < 2, "taken over"),  # else the broker gave it to the next owner as well
            (again, "published twice"),
            (alarm.delivered_again, "delivered again"),
        ]
        return next((reason for count, reason in reasons if not lost and count), "response lost")

    def _was_cut(self, attempt: Attempt) -> bool:
        return any(begun <= attempt.ended and attempt.begun <= end for begun, end in self.cuts)

    def rejected_early(self) -> list[Alarm]:
        """Return the alarms that ended as rejected though a receiver never said that it does not take them."""
        return [each for each in self.alarms.values() if _rejected(each) and not each.refused_for_good]


def _rejected(alarm: Alarm) -> bool:
    return "rejected" in alarm.outcomes
