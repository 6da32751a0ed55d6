"""`tests/chaos/run nodes`: alarms through several nodes on one PostgreSQL, while nodes that own shards fail."""

from __future__ import annotations

import argparse
import asyncio
import logging
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from chaos.nodes_course import Run
from chaos.nodes_table import faulty, table
from support.postgres import PostgresServer
from support.replicas import Pair


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if nothing was lost, nothing came twice without a reason, order was kept and nobody else wrote."""
    options = _parser().parse_args(arguments)
    logging.disable()
    folder = Path(tempfile.mkdtemp(prefix="chaos-nodes-"))
    what = f"{options.promotions} promotions" if options.promotions else f"{options.minutes:g} minutes"
    shape = f"{options.nodes} nodes, {options.shards} shards, {options.transmitters} transmitters"
    print(f"seed {options.seed}, {what}, {shape}", flush=True)
    with Pair() if options.promotions else PostgresServer() as servers:
        run = Run(folder, options, servers)
        try:
            asyncio.run(run.run())
        except BaseException:
            print(f"configuration and logs are kept in {folder}", file=sys.stderr)
            raise
    print(table(run.ledger, run.outcome), flush=True)
    faults = faulty(run.ledger, run.outcome)
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults:
        (folder / "ledger").write_text("\n".join(map(str, run.ledger.alarms.values())))
        (folder / "times").write_text("\n".join(map(str, run.outcome.fail_overs)))
        print(f"configuration, logs and ledger are kept in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder)
    return int(bool(faults))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tests/chaos/run nodes", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="of load; then all has to settle (default: 2)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same schedule (default: 1)")
    parser.add_argument("--nodes", type=int, choices=range(2, 27), metavar="N", default=4, help="default: 4")
    parser.add_argument("--shards", type=int, metavar="K", default=8, help="default: 8")
    parser.add_argument("--rate", type=float, default=10.0, help="alarms a second, in the mean (default: 10)")
    parser.add_argument("--transmitters", type=int, default=16, help="default: 16")
    parser.add_argument(
        "--promotions", type=int, default=0, metavar="N",
        help="let the database fail: promote its synchronous standby N times",
    )  # fmt: skip
    parser.add_argument("--verbose", action="store_true", help="print each fail-over")
    return parser


if __name__ == "__main__":
    sys.exit(main())
