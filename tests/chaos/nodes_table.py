"""What came out of a run over several nodes: its tables, and what is wrong in them."""

from __future__ import annotations

from collections.abc import Sequence

from chaos import table as chaos_table
from chaos.nodes_faults import SLOW
from chaos.nodes_outcome import Outcome, ShardedLedger
from chaos.order import overtaken
from chaos.rotation import Rotations

_GOAL_S = 8.0
_OF_A_SHARD = (
    "shard | alarms | lost | sent twice | order broken | ended other than once | transactions of owners; of others"
    " | times online again"
)


def table(ledger: ShardedLedger, outcome: Outcome) -> str:
    """Return the tables, ready for a README: of all, and of each shard."""
    found = chaos_table.written(chaos_table.rows(ledger) | _rows(ledger, outcome))
    shards = "\n".join(_shard(ledger, outcome, shard) for shard in range(ledger.shards))
    return f"{found}\n\n| {_OF_A_SHARD} |\n{'|---' * (_OF_A_SHARD.count('|') + 1)}|\n{shards}"


def faulty(ledger: ShardedLedger, outcome: Outcome) -> list[str]:
    """Say what is wrong; a goal of time that a busy machine misses is none of it."""
    many = [key for key, count in outcome.doubles(ledger).items() if count > 1]
    found = [f"{name} came twice more than once in fail-over {number}" for name, number in many]
    found += [f"shard {shard}: {what}" for shard, what in outcome.foreign]
    found += [f"shard {shard} was offline" for shard, at in outcome.offline if not _slow(outcome, shard, at)]
    silent = [shard for shard in range(ledger.shards) if not outcome.writes[shard]]
    found += [f"the account of who wrote to shard {shard} is empty" for shard in silent]
    return chaos_table.faulty(ledger, Rotations()) + found


def _rows(ledger: ShardedLedger, outcome: Outcome) -> dict[str, object]:
    names = sorted({each.name for each in outcome.fail_overs if each.took})
    return {
        "fail-overs": sum(bool(each.took) for each in outcome.fail_overs),
        "shards that the same node took again": sum(each.again for each in outcome.fail_overs),
        "shards that came online without a fault of theirs": len(outcome.unasked),
        "shards that were offline": len(outcome.offline),
        "most doubles of one transmitter in one fail-over": max(outcome.doubles(ledger).values(), default=0),
        "transactions of owners; of others": f"{outcome.writes.total()}; {len(outcome.foreign)}",
        f"until a shard was online again; goal of 99 in 100: {_GOAL_S:g} s": _times(outcome.times()),
        **{name: _times(outcome.times(name=name)) for name in names},
    }


def _slow(outcome: Outcome, shard: int, at: float) -> bool:
    """Whether the take-over of a shard may take longer than its last will waits."""
    return any(each.name in SLOW and each.concerns(shard, at, at) for each in outcome.fail_overs)


def _shard(ledger: ShardedLedger, outcome: Outcome, shard: int) -> str:
    part = ledger.part(shard)
    foreign = sum(number == shard for number, _ in outcome.foreign)
    values = (
        shard,
        len(part.alarms),
        len(part.lost()),
        sum(1 for _ in part.twice()),
        len(overtaken(part)),
        len(part.open()) + len(part.told_twice()),
        f"{outcome.writes[shard]}; {foreign}",
        _times(outcome.times(shard=shard)),
    )
    return f"| {' | '.join(map(str, values))} |"


def _times(took: Sequence[float]) -> str:
    ordered = sorted(took)
    if not ordered:
        return "not run"
    middle, late = (ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.99))
    return f"{len(ordered)} times; half within {middle:.1f} s, 99 of 100 within {late:.1f} s"
