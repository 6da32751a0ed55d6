"""`tests/fuzz/run`: tries inputs against every reader of what others send, and prints a table."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from fuzz.fuzzing import Tally, fuzz
from fuzz.targets import TARGETS


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if no input failed."""
    options = _parser().parse_args(arguments)
    logging.disable()  # what is logged of strange input is judged by its text, not printed a million times
    targets = [TARGETS[name] for name in options.targets or TARGETS]
    seconds = None if options.inputs else options.minutes * 60 / len(targets)
    print(f"seed {options.seed}\n\n{_HEAD}\n{_RULE}")
    tallies = []
    for target in targets:
        tallies.append(fuzz(target, options.seed, seconds=seconds, inputs=options.inputs))
        print(_row(tallies[-1]), flush=True)
    for tally in tallies:
        for kept in tally.failures.values():
            print(f"\n{tally.name}: {kept}", file=sys.stderr)
    return int(any(tally.failures for tally in tallies))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tests/fuzz/run", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="target", help=f"default: all of {', '.join(TARGETS)}")
    parser.add_argument("--minutes", type=float, default=2.0, help="for all targets together (default: 2)")
    parser.add_argument("--inputs", type=int, help="so many of each target, instead of a time")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same inputs (default: 1)")
    return parser


_HEAD = "| target | inputs | a second | longest of one | most memory of one | ways it ended | failures |"
_RULE = "|---|---|---|---|---|---|---|"


def _row(tally: Tally) -> str:
    cells = (
        tally.name,
        f"{tally.inputs:,}".replace(",", " "),
        f"{tally.inputs / tally.seconds:.0f}",
        f"{tally.slowest * 1000:.1f} ms",
        f"{tally.heaviest / 1024:.0f} KiB",
        len(tally.kinds),
        len(tally.failures),
    )
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    sys.exit(main())
