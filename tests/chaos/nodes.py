"""`tests/chaos/run nodes`: alarms through two nodes on one PostgreSQL, while whoever owns the shard fails."""

from __future__ import annotations

import argparse
import asyncio
import logging
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from chaos.ledger import Ledger
from chaos.nodes_course import Outcome, Run
from chaos.rotation import Rotations
from chaos.table import faulty, rows, written
from support.postgres import PostgresServer
from support.replicas import Pair

_GOAL_S = 8.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if nothing was lost, nothing came twice without a reason, order was kept and nobody else wrote."""
    options = _parser().parse_args(arguments)
    logging.disable()
    folder = Path(tempfile.mkdtemp(prefix="chaos-nodes-"))
    what = f"{options.promotions} promotions" if options.promotions else f"{options.minutes:g} minutes"
    print(f"seed {options.seed}, {what}, {options.transmitters} transmitters", flush=True)
    with Pair() if options.promotions else PostgresServer() as servers:
        run = Run(folder, options, servers)
        try:
            asyncio.run(run.run())
        except BaseException:
            print(f"configuration and logs are kept in {folder}", file=sys.stderr)
            raise
    print(written(rows(run.ledger) | _rows(run.ledger, run.outcome)), flush=True)
    faults = faulty(run.ledger, Rotations()) + _faulty(run.ledger, run.outcome)
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults:
        (folder / "ledger").write_text("\n".join(map(str, run.ledger.alarms.values())))
        (folder / "times").write_text("\n".join(map(str, run.outcome.fail_overs)))
        print(f"configuration, logs and ledger are kept in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder)
    return int(bool(faults))


def _rows(ledger: Ledger, outcome: Outcome) -> dict[str, object]:
    every = [took for each in outcome.took.values() for took in each]
    return {
        "fail-overs": len(every),
        "the same node took the shard again": outcome.again,
        "most doubles of one transmitter in one fail-over": max(outcome.doubles(ledger).values(), default=0),
        "transactions of owners; of others": f"{outcome.writes}; {len(outcome.foreign)}",
        f"until a node was online again; goal of 99 in 100: {_GOAL_S:g} s": _times(every),
        **{name: _times(each) for name, each in sorted(outcome.took.items())},
    }


def _times(took: Sequence[float]) -> str:
    ordered = sorted(took)
    if not ordered:
        return "not run"
    middle, late = (ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.99))
    return f"{len(ordered)} times; half within {middle:.1f} s, 99 of 100 within {late:.1f} s"


def _faulty(ledger: Ledger, outcome: Outcome) -> list[str]:
    """Say what is wrong beside what the ledger says; a goal of time that a busy machine misses is none of it."""
    many = [key for key, count in outcome.doubles(ledger).items() if count > 1]
    found = [f"{name} came twice more than once in fail-over {number}" for name, number in many]
    found += outcome.foreign
    return found + ([] if outcome.writes else ["the account of who wrote is empty"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tests/chaos/run nodes", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="of load; then all has to settle (default: 2)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same schedule (default: 1)")
    parser.add_argument("--rate", type=float, default=10.0, help="alarms a second, in the mean (default: 10)")
    parser.add_argument("--transmitters", type=int, default=6, help="default: 6")
    parser.add_argument(
        "--promotions", type=int, default=0, metavar="N",
        help="let the database fail in place of nodes: promote its synchronous standby N times",
    )  # fmt: skip
    parser.add_argument("--verbose", action="store_true", help="print each fail-over")
    return parser


if __name__ == "__main__":
    sys.exit(main())
