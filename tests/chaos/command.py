"""`tests/chaos/run`: alarms through the installed bridge while everything around it fails; nothing may be lost."""

from __future__ import annotations

import argparse
import asyncio
import logging
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from chaos.course import Run
from chaos.equal import EqualAlarms, equal_alarms
from chaos.paths import paths_cut
from chaos.rotation import Rotations, rotations
from chaos.table import faulty, table


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if nothing was lost, nothing came twice without a reason, and order was kept."""
    options = _parser().parse_args(arguments)
    logging.disable()  # that the broker goes away is told by nobody but the table
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    print(
        f"seed {options.seed}, {options.minutes:g} minutes,"
        f" {options.transmitters} transmitters, {options.panels} panels",
        flush=True,
    )
    rotated = Rotations() if options.no_rotations else asyncio.run(rotations(folder))
    equal = EqualAlarms() if options.no_equal else asyncio.run(equal_alarms(folder / "equal", options.seed))
    cut = "not run" if options.no_paths else paths_cut()
    ledger = asyncio.run(Run(folder, options).run())
    print(table(ledger, rotated, equal), flush=True)
    print(f"| two network paths, cut in turn | {cut} |", flush=True)
    faults = faulty(ledger, rotated, equal)
    faults += [f"network paths: {cut}"] if cut.startswith("failed") else []
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults:
        (folder / "ledger").write_text("\n".join(map(str, (*ledger.alarms.values(), *sorted(ledger.unnamed)))))
        print(f"configuration, logs, stores and ledger are kept in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder)
    return int(bool(faults))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tests/chaos/run", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="of load; then all has to settle (default: 2)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same schedule (default: 1)")
    parser.add_argument("--rate", type=float, default=20.0, help="alarms a second, in the mean (default: 20)")
    parser.add_argument("--no-rotations", action="store_true", help="leave out the rotations killed at each step")
    parser.add_argument("--no-equal", action="store_true", help="leave out the alarms that are all equal")
    parser.add_argument("--no-paths", action="store_true", help="leave out the network paths that are cut")
    parser.add_argument("--transmitters", type=int, default=6, help="default: 6")
    parser.add_argument("--panels", type=int, default=3, help="each as busy as a transmitter (default: 3)")
    parser.add_argument("--kill-each", type=float, default=4.0, metavar="S", help="in the mean (default: 4)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
