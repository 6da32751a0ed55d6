"""What is fuzzed, how one input is judged, and where inputs are kept."""

from __future__ import annotations

import re
import signal
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

CORPUS: Final = Path(__file__).with_name("corpus")
SLOWEST_S: Final = 1.0
"""Processor time of one input; the slowest honest one takes a few hundredths of it."""
MARK: Final = "Pl4nted5ecretXy"
"""The password or code in the inputs: where it stands as one, no error and no repr may show it."""
_MEMORY: Final = 32 << 20
_MEMORY_PER_BYTE: Final = 100


@dataclass(frozen=True)
class Target:
    """One reader of bytes. `check` returns what the bytes were read as, or why the reader refused them.

    Anything that it raises is a failure. `tokens` are what the reader's language is made of; `mend` makes most changed
    inputs pass the first check of the format.
    """

    name: str
    check: Callable[[bytes], str]
    tokens: tuple[bytes, ...]
    mend: Callable[[bytes, Random], bytes] = lambda data, _: data

    @property
    def folder(self) -> Path:
        return CORPUS / self.name

    def kept(self) -> list[bytes]:
        return [path.read_bytes() for path in sorted(self.folder.iterdir())]


class TooMuchError(BaseException):
    """An input took too long or too much memory; no `except Exception` of the product takes it for its own."""


@contextmanager
def alarm(seconds: float = SLOWEST_S) -> Iterator[None]:
    """Raise `TooMuchError` in what runs longer, of processor time: a busy machine fails nobody."""

    def ring(*_: object) -> None:
        raise TooMuchError(f"more than {seconds:g} s")

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def timed(target: Target, data: bytes) -> tuple[str, float]:
    """Return what `data` was read as, and the processor time it took."""
    with alarm():
        begun = time.thread_time()
        outcome = target.check(data)
        return outcome, time.thread_time() - begun


def weighed(target: Target, data: bytes) -> int:
    """Return the most memory that reading `data` took at once; raise `TooMuchError` past what its length explains."""
    tracemalloc.start()
    try:
        with alarm(10 * SLOWEST_S):  # to count memory takes time as well
            target.check(data)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    if most > _MEMORY + _MEMORY_PER_BYTE * len(data):
        raise TooMuchError(f"{most >> 20} MiB for {len(data)} bytes")
    return most


def planted(data: bytes, before: bytes) -> bool:
    """Whether the mark stands in `data`, and only where `before`, an expression, precedes it."""
    mark = MARK.encode()
    return 0 < data.count(mark) == len(re.findall(b"(?:" + before + b")" + mark, data))


def hidden(data: bytes, before: bytes, *shown: object) -> None:
    """Fail if `shown` gives away the secret in `data`."""
    if planted(data, before):
        for each in shown:
            assert MARK not in str(each) + repr(each), f"the secret is shown: {each!r}"
