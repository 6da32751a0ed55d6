"""`tests/mutate/run`: changes the pure modules in one place at a time, and prints what no test notices."""

from __future__ import annotations

import argparse
import importlib
import random
import sys
import time
import tomllib
from collections import Counter
from pathlib import Path

from mutate.mutants import Mutant, mutants
from mutate.rooms import pure_modules, room, rooms
from mutate.trial import Slot, Trial, slots

_LEAST = 0.9
_SLOWER = 5.0
"""How many times what a room's tests take a mutant may take."""
# What the tests import; a child begins with them loaded. Not the package itself: each child has its own copy.
_LOADED = (
    *("hypothesis.strategies", "_hypothesis_pytestplugin", "xdist.plugin", "pytest_cov.plugin"),
    *("pydantic_settings", "aiomqtt", "xmltodict", "yaml", "pyg90alarm", "asyncio"),
)


def main() -> int:
    arguments = _arguments()
    equivalents: dict[str, str] = tomllib.loads(Path(__file__).with_name("equivalents.toml").read_text("utf-8"))
    for name in _LOADED:
        importlib.import_module(name)
    chosen = _chosen(arguments, equivalents)
    with slots(arguments.jobs) as free:
        times = {name: _baseline(free[0], name) for name in sorted({room(each.module) for each in chosen})}
        survivors = _try_all(chosen, free, times)
    return _report(chosen, survivors)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/mutate/run", description=__doc__)
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help="such as bridge.g90.wire, or a module; default: all")
    parser.add_argument("--sample", type=int, metavar="N", help="so many mutants, drawn at random; default: all")
    parser.add_argument("--seed", type=int, default=1, help="the same seed draws the same mutants (default: 1)")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time (default: 2)")
    return parser.parse_args()


def _chosen(arguments: argparse.Namespace, equivalents: dict[str, str]) -> list[Mutant]:
    every = [
        mutant
        for module, path in pure_modules().items()
        if not arguments.rooms or any(f"{module}.".startswith(f"{name}.") for name in arguments.rooms)
        for mutant in mutants(module, path.read_text("utf-8"))
        if mutant.key not in equivalents
    ]
    if arguments.sample is None or arguments.sample >= len(every):
        return every
    return random.Random(arguments.seed).sample(every, arguments.sample)


def _baseline(slot: Slot, name: str) -> float:
    """Return the seconds that a room's tests take unchanged, where they pass. Raises `SystemExit`."""
    begun = time.monotonic()
    trial = slot.start(None, rooms()[name], 600)
    while not trial.ended():
        time.sleep(0.02)
    if trial.noticed:
        sys.exit(f"tests/mutate/run: the tests of {name} fail without any change")
    return time.monotonic() - begun


def _try_all(chosen: list[Mutant], free: list[Slot], times: dict[str, float]) -> list[Mutant]:
    survivors: list[Mutant] = []
    running: list[tuple[Mutant, Trial]] = []
    waiting = list(reversed(chosen))
    while waiting or running:
        while waiting and free:
            mutant = waiting.pop()
            name = room(mutant.module)
            running.append((mutant, free.pop().start(mutant, rooms()[name], times[name] * _SLOWER + 5)))
        time.sleep(0.02)
        for mutant, trial in [each for each in running if each[1].ended()]:
            running.remove((mutant, trial))
            free.append(trial.slot)
            if not trial.noticed:
                survivors.append(mutant)
                print(f"line {mutant.line}, {mutant.key}", flush=True)
    return survivors


def _report(chosen: list[Mutant], survivors: list[Mutant]) -> int:
    tried = Counter(room(each.module) for each in chosen)
    lived = Counter(room(each.module) for each in survivors)
    print("\n| room | mutants | noticed |\n|---|---|---|")
    for name in sorted(tried):
        print(f"| {name} | {tried[name]} | {1 - lived[name] / tried[name]:.0%} |")
    noticed = 1 - len(survivors) / max(1, len(chosen))
    print(f"| all | {len(chosen)} | {noticed:.1%} |")
    return 0 if noticed >= _LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
