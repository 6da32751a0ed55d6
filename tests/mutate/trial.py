"""Runs the tests of a room on a mutant: in a child process, on a copy of the package that is thrown away."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import cache_from_source
from pathlib import Path

import pytest
from hypothesis import settings
from mutate.mutants import Mutant
from mutate.rooms import TOP

_MEMORY = 4 << 30
"""Bytes: a mutant that never stops growing ends before the machine does."""
# The plugins are loaded before pytest can rewrite their assertions.
_OPTIONS = [
    *("-x", "-q", "-p", "no:cacheprovider", "--no-header", "--hypothesis-profile=mutants"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
]
# Vectors notice most; what needs more examples than these would take most of the time.
settings.register_profile("mutants", derandomize=True, deadline=None, database=None, max_examples=20)


class Slot:
    """A copy of the package, for one mutant at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        shutil.copytree(TOP / "bridge", folder / "bridge", ignore=shutil.ignore_patterns("__pycache__"))

    def start(self, mutant: Mutant | None, tests: Sequence[str], timeout_s: float) -> Trial:
        path = None if mutant is None else self._folder.joinpath(*mutant.module.split(".")).with_suffix(".py")
        if path is not None and mutant is not None:
            self._unchanged = path.read_bytes()
            _forget_compiled(path)
            path.write_text(mutant.source, "utf-8")
        return Trial(_fork(self._folder, tests), time.monotonic() + timeout_s, path, self)

    def restore(self, path: Path | None) -> None:
        if path is not None:
            path.write_bytes(self._unchanged)
            _forget_compiled(path)


class Trial:
    """One run of the tests. `ended` says whether it is over; `noticed`, whether a test failed, or it took too long."""

    def __init__(self, pid: int, deadline: float, path: Path | None, slot: Slot) -> None:
        self._pid = pid
        self._deadline = deadline
        self._path = path
        self.slot = slot
        self.noticed = False
        self.late = False

    def ended(self) -> bool:
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if pid == 0 and time.monotonic() < self._deadline:
            return False
        if pid == 0:
            self.late = True
            os.killpg(self._pid, signal.SIGKILL)
            _, status = os.waitpid(self._pid, 0)
        self.noticed = status != 0
        self.slot.restore(self._path)
        return True


def _forget_compiled(path: Path) -> None:
    """Remove the compiled module: it is taken for that of a new source of the same size and second."""
    Path(cache_from_source(str(path))).unlink(missing_ok=True)


@contextmanager
def slots(count: int) -> Iterator[list[Slot]]:
    """Yield so many copies of the package."""
    with tempfile.TemporaryDirectory(prefix="mutate-") as name:
        folders = [Path(name, str(number)) for number in range(count)]
        yield [Slot(folder) for folder in folders]


def _fork(folder: Path, tests: Sequence[str]) -> int:
    """Run tests in a child that has pytest loaded already; return its process id."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        os.chdir(TOP)
        sys.path.insert(0, str(folder))
        os.environ["PYTHONPATH"] = str(folder)
        temporary = folder / "tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        status = int(pytest.main([*_OPTIONS, f"--basetemp={temporary}", *tests]))
    finally:
        os._exit(status)
