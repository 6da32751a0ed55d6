"""What came of a run over several nodes: its fail-overs, and the ledger, judged shard by shard."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from chaos.ledger import Alarm, Ledger, Reason

from bridge.config.shards import shard_of

_LATE_S = 2.0
"""So long after its end, a fault may still show."""


@dataclass
class FailOver:
    """One fault, and the shards that changed hands for it."""

    name: str
    begun: float
    ended: float = 0.0
    took: dict[int, float] = field(default_factory=dict)
    """By shard, the seconds from the begin until it was online again."""
    again: int = 0
    """How many of them the same node took again."""

    def concerns(self, shard: int, begun: float, ended: float) -> bool:
        """Whether it may have disturbed a shard between two moments."""
        return shard in self.took and self.begun <= ended and begun <= self.ended + _LATE_S


class ShardedLedger(Ledger):
    """The alarms of all shards. Only a fail-over of its own shard excuses an alarm that came twice."""

    def __init__(self, shards: int) -> None:
        super().__init__()
        self.shards = shards
        self.taken_over: dict[int, list[tuple[float, float]]] = defaultdict(list)
        """By shard, from when to when it was taken over, or one that had lost it went on."""

    def shard_of(self, alarm: Alarm) -> int:
        return shard_of(alarm.transmitter, self.shards)

    def part(self, shard: int) -> Ledger:
        """Return the ledger of one shard."""
        found = Ledger()
        found.alarms = {name: each for name, each in self.alarms.items() if self.shard_of(each) == shard}
        found.accounts, found.take_overs = self.accounts, self.taken_over[shard]
        return found

    def twice(self) -> Iterator[tuple[Alarm, Reason]]:
        for shard in range(self.shards):
            yield from self.part(shard).twice()


@dataclass
class Outcome:
    """What came of a run, beside the ledger."""

    fail_overs: list[FailOver] = field(default_factory=list)
    writes: Counter[int] = field(default_factory=Counter)
    """Transactions of owners, by shard."""
    foreign: list[tuple[int, str]] = field(default_factory=list)
    """Writes of a shard by a session that had it not, or no longer."""
    unasked: list[tuple[int, float]] = field(default_factory=list)
    """Shards that came online without a fault of theirs, and when."""
    offline: list[tuple[int, float]] = field(default_factory=list)
    """Shards whose last will was published, and when."""

    def times(self, *, name: str = "", shard: int | None = None) -> list[float]:
        """Return how long the shards took, of one fault, of one shard, or of all."""
        return [
            took
            for each in self.fail_overs
            if name in ("", each.name)
            for number, took in each.took.items()
            if shard in (None, number)
        ]

    def doubles(self, ledger: ShardedLedger) -> Counter[tuple[str, int]]:
        """Return how often alarms came again, by transmitter and fail-over of its shard.

        One that the broker delivered again when it had ended is another alarm, with a result of its own.
        """
        again: list[tuple[float, float, Alarm]] = []
        for alarm, _ in ledger.twice():
            times = sorted(each.begun for each in alarm.treated)
            again += [(last, before, alarm) for before, last in pairwise(times)][len(alarm.outcomes[1:]) :]
        found: Counter[tuple[str, int]] = Counter()
        for last, before, alarm in sorted(again, key=lambda each: each[:2]):
            between = self._between(ledger.shard_of(alarm), before, last)
            first = next((each for each in between if not found[alarm.transmitter, each]), max(between, default=0))
            found[alarm.transmitter, first] += 1
        return +found

    def _between(self, shard: int, before: float, last: float) -> Sequence[int]:
        numbered = enumerate(self.fail_overs, 1)
        return [number for number, each in numbered if each.concerns(shard, before, last)]
