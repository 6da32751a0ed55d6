"""What to ask a panel, and when: a pure schedule, in seconds of the steady clock.

    status    at start, at a hello (at most each 10 s), after a command and `sensor_changed`, at each poll
    history   whenever something may have been missed: at start, at a hello, when the status is not what we knew
    the rest  at start, on refresh, after `sensor_changed`, else each 15 min

The status is asked alone: nothing else is asked before it answered, and nothing else can spoil it. What fails is asked
again after 1, 2, 4... 60 s. A panel that does not dial us is asked for status and history each 10 s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, IntEnum, auto
from typing import Final

HELLO_S: Final = 10.0
"""A connection that flaps is read no more often."""
ALONE_S: Final = 10.0
RARELY_S: Final = 900.0
FIRST_RETRY_S: Final = 1.0
LONGEST_RETRY_S: Final = 60.0
UNREADABLE_AFTER: Final = 3
"""Failures in a row, each of three attempts, until it is a problem."""


class Query(IntEnum):
    """In the order in which they are asked."""

    STATUS = 1
    HISTORY = 2
    SENSORS = 3
    FLAGS = 4
    INFO = 5
    RELAYS = 6


class Reads(Enum):
    NOT = auto()
    AT_HELLO = auto()
    """Over its own connection alone."""
    REGULARLY = auto()
    ALONE = auto()
    """It does not dial us: reading is all that we have."""


_ALWAYS: Final = (Query.STATUS, Query.HISTORY)


@dataclass(frozen=True, slots=True)
class Plan:
    reads: Reads
    poll: float = 60.0
    """Seconds between two readings of the status at rest."""
    due: Mapping[Query, float] = field(default_factory=dict)
    asked: Mapping[Query, float] = field(default_factory=dict)
    failures: Mapping[Query, int] = field(default_factory=dict)
    """In a row."""

    @property
    def unreadable(self) -> bool:
        """Whether the status has failed so often that a person should look."""
        return self.failures.get(Query.STATUS, 0) >= UNREADABLE_AFTER

    def started(self, now: float) -> Plan:
        return self if self.reads is Reads.AT_HELLO else self._soon(Query, now)

    def greeted(self, now: float) -> Plan:
        """Plan after the first hello of a connection: what the last one did not carry was missed."""
        recent = max((self.asked[query] for query in _ALWAYS if query in self.asked), default=None)
        return self._soon(_ALWAYS, now if recent is None else max(now, recent + HELLO_S))

    def with_reads(self, reads: Reads, now: float) -> Plan:
        """Plan for a panel that began or ceased to dial us."""
        plan = replace(self, reads=reads)
        return plan._soon(_ALWAYS, now) if reads is Reads.ALONE else plan  # noqa: SLF001 - of this class

    def suspicious(self, now: float) -> Plan:
        """Plan after a status that no report announced."""
        return self._soon((Query.HISTORY,), now)

    def commanded(self, now: float) -> Plan:
        return self._soon((Query.STATUS,), now)

    def refreshed(self, now: float) -> Plan:
        """Plan to read everything: on request, and after `sensor_changed`."""
        return self._soon(Query, now)

    def began(self, query: Query, now: float) -> Plan:
        """Note that `query` is being asked; what is planned meanwhile is asked again."""
        due = {planned: when for planned, when in self.due.items() if planned is not query}
        return replace(self, due=due, asked={**self.asked, query: now})

    def answered(self, query: Query, now: float) -> Plan:
        failures = {failed: count for failed, count in self.failures.items() if failed is not query}
        wait = self._interval(query)
        plan = self if wait is None else self._soon((query,), now + wait)
        return replace(plan, failures=failures)

    def failed(self, query: Query, now: float) -> Plan:
        """Plan to ask again, later each time; after the connection's own readings there is nothing to ask by."""
        count = self.failures.get(query, 0) + 1
        over = self.reads is Reads.AT_HELLO and count >= UNREADABLE_AFTER
        wait = min(FIRST_RETRY_S * 2 ** (count - 1), LONGEST_RETRY_S)
        plan = self if over else self._soon((query,), now + wait)
        return replace(plan, failures={**self.failures, query: count})

    def next(self, now: float) -> Query | None:
        """Return what to ask now, None while nothing is due."""
        ready = [query for query, when in self.due.items() if when <= now and self._allowed(query)]
        return min(ready, default=None)

    def wakes(self) -> float | None:
        """Return when something is due next, None: not before another input."""
        return min((when for query, when in self.due.items() if self._allowed(query)), default=None)

    def _allowed(self, query: Query) -> bool:
        return query is Query.STATUS or (Query.STATUS in self.asked and not self.failures.get(Query.STATUS))

    def _interval(self, query: Query) -> float | None:
        if self.reads is Reads.ALONE and query in _ALWAYS:
            return ALONE_S
        if self.reads is Reads.AT_HELLO or query is Query.HISTORY:
            return None
        return self.poll if query is Query.STATUS else RARELY_S

    def _soon(self, queries: Iterable[Query], when: float) -> Plan:
        """Plan `queries` at `when`, none where reading is turned off; what is planned earlier stays so."""
        if self.reads is Reads.NOT:
            return self
        return replace(self, due={**self.due, **{q: min(when, self.due.get(q, when)) for q in queries}})
