"""The judgement of the order in which receivers had the alarms of a line."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable

from chaos.ledger import RECEIVERS, Alarm, Ledger

_HELD_BACK_S = 1.0
"""After a fault has ended, what it held back may still fail."""


def overtaken(ledger: Ledger) -> list[Alarm]:
    """Return the alarms that a receiver had after a later one of the same line, against the order of alarms.

    Urgent alarms go first, then those never tried, then those whose first round failed; within each, and among
    those about the same in any case, the earlier one.
    """
    chained = _chained(ledger)
    perhaps_from = _urgent_from(ledger, lambda alarm: alarm.published[0])
    urgent_from = _urgent_from(ledger, lambda alarm: alarm.taken or alarm.published[0])
    again = _behind_again(ledger)
    found: list[Alarm] = []
    soonest = dict[str, dict[bool, float]]()
    same = dict[tuple[str, str], float]()
    for alarm in sorted(ledger.alarms.values(), key=lambda each: -each.number):
        first = alarm.first
        if first is None:
            continue
        line = soonest.setdefault(alarm.transmitter, {True: math.inf, False: math.inf})
        subject = alarm.transmitter, alarm.subject
        perhaps = any(begun <= first <= last for begun, last in again[subject])
        urgent = perhaps or perhaps_from[alarm.reference] <= first
        late = first > same.get(subject, math.inf)
        if alarm.in_order and alarm.reference not in chained:
            late = late or _is_late(ledger, alarm, first, line, urgent_from[alarm.reference])
        if late and len(alarm.published) == 1 and not alarm.delivered_again:  # else it may be accepted after others
            found.append(alarm)
        same[subject] = min(first, same.get(subject, math.inf))
        if alarm.in_order:
            line[urgent] = min(first, line[urgent])
    return found


def _is_late(ledger: Ledger, alarm: Alarm, first: float, later: dict[bool, float], urgent_from: float) -> bool:
    """Return whether one of those `later`, urgent or not, came before `alarm` without an excuse."""
    if first > later[False] and not _round_failed(ledger, alarm, later[False]):
        return True
    return first > later[True] >= urgent_from and not _hung(ledger, alarm, later[True])


def _round_failed(ledger: Ledger, alarm: Alarm, until: float) -> bool:
    """Return whether an attempt at each receiver may have failed before `until`: then it has been tried."""
    return all(_failed(ledger, alarm, receiver, until) for receiver in RECEIVERS)


def _hung(ledger: Ledger, alarm: Alarm, until: float) -> bool:
    """Return whether an exchange may have hung, beside which an urgent alarm goes."""
    return any(_failed(ledger, alarm, receiver, until) for receiver in RECEIVERS)


def _failed(ledger: Ledger, alarm: Alarm, receiver: str, until: float) -> bool:
    begun = alarm.published[0]
    tried = (each for each in alarm.attempts if each.receiver == receiver and each.begun <= until)
    if any(not (each.treated and each.answered) for each in tried):
        return True
    if any(start <= until and begun <= end + _HELD_BACK_S for start, end in ledger.troubles[receiver]):
        return True
    accounts = ledger.accounts.get(alarm.transmitter, ())
    return any(ledger.seems_refused(account, receiver, begun, until) for account in accounts)


def _urgent_from(ledger: Ledger, known_from: Callable[[Alarm], float]) -> dict[str, float]:
    """Return since when each alarm was urgent: what another has to follow inherits it, once it is known."""
    found: dict[str, float] = {}
    behind: dict[tuple[str, str], float] = {}
    for alarm in sorted(ledger.alarms.values(), key=lambda each: -each.number):
        subject = alarm.transmitter, alarm.subject
        own = known_from(alarm) if alarm.urgent else math.inf
        found[alarm.reference] = behind[subject] = min(own, behind.get(subject, math.inf))
    return found


def _behind_again(ledger: Ledger) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """Return by subject from when to when an urgent alarm that was delivered again may have waited.

    Until it was sent for the last time it may have stood behind any about the same, which was urgent by that.
    """
    found = defaultdict[tuple[str, str], list[tuple[float, float]]](list)
    for alarm in ledger.alarms.values():
        if alarm.urgent and alarm.delivered_again:
            last = max((each.begun for each in alarm.attempts), default=math.inf)
            found[alarm.transmitter, alarm.subject].append((alarm.published[0], last))
    return found


def _chained(ledger: Ledger) -> set[str]:
    """Return the alarms that had to wait for one about the same, which had been tried."""
    found: set[str] = set()
    before: dict[tuple[str, str], Alarm] = {}
    for alarm in sorted(ledger.alarms.values(), key=lambda each: each.number):
        last = before.get((alarm.transmitter, alarm.subject))
        ended = math.inf if last is None or last.first is None else max(each.begun for each in last.treated)
        if last is not None and ended > alarm.published[0]:
            tried = _round_failed(ledger, last, ended) or any(not each.answered for each in last.treated)
            if tried or last.reference in found:
                found.add(alarm.reference)
        before[alarm.transmitter, alarm.subject] = alarm
    return found
