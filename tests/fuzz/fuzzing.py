"""The loop: make an input, judge it, keep in mind what was read in a new way, keep on disk what failed."""

from __future__ import annotations

import hashlib
import re
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

from fuzz.mutation import Mutator
from fuzz.target import Target, TooMuchError, timed, weighed

_WEIGHED: Final = 200
"""One input of so many is weighed: it takes several times as long."""
_POOL: Final = 5000
_MOST_KINDS: Final = 20
"""Different failures of one target, after which it is pointless to go on."""


_QUOTED: Final = re.compile(r"b?'[^']*'?|b?\"[^\"]*\"?")
"""What the input itself says is no other way to end."""


@dataclass
class Tally:
    """What came of one target."""

    name: str
    inputs: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    heaviest: int = 0
    kinds: set[str] = field(default_factory=set)
    """Ways in which inputs were read or refused."""
    failures: dict[str, str] = field(default_factory=dict)
    """By what failed where: the file with the input, and the traceback."""


def fuzz(target: Target, seed: int, *, seconds: float | None = None, inputs: int | None = None) -> Tally:
    """Try inputs for so long, or so many; keep those that fail in the target's folder."""
    tally = Tally(target.name)
    random = Random(f"{seed}/{target.name}")
    pool = target.kept()
    mutator = Mutator(random, pool, target.tokens)
    begun = time.monotonic()
    for data in list(pool):
        _judge(target, tally, data, weigh=True)
    while not _over(tally, begun, seconds, inputs):
        data = mutator.make()
        if random.random() < 0.5:
            data = target.mend(data, random)
        if _judge(target, tally, data, weigh=tally.inputs % _WEIGHED == 0) and len(pool) < _POOL:
            pool.append(data)
    tally.seconds = time.monotonic() - begun
    return tally


def _over(tally: Tally, begun: float, seconds: float | None, inputs: int | None) -> bool:
    if len(tally.failures) >= _MOST_KINDS or (inputs is not None and tally.inputs >= inputs):
        return True
    return seconds is not None and tally.inputs % 16 == 0 and time.monotonic() - begun >= seconds


def _judge(target: Target, tally: Tally, data: bytes, *, weigh: bool) -> bool:
    """Try one input; return whether it was read in a way that none before was."""
    tally.inputs += 1
    try:
        outcome, took = timed(target, data)
        if weigh:
            tally.heaviest = max(tally.heaviest, weighed(target, data))
    except (Exception, TooMuchError) as error:  # noqa: BLE001 - that is what is looked for
        _failed(target, tally, data, error)
        return False
    tally.slowest = max(tally.slowest, took)
    kind = " ".join(re.findall("[A-Za-z]{2,}", _QUOTED.sub("", outcome))[:10])
    new = kind not in tally.kinds
    tally.kinds.add(kind)
    return new


def _failed(target: Target, tally: Tally, data: bytes, error: BaseException) -> None:
    where = _where(error)
    if where in tally.failures:
        return
    data = _smaller(data, lambda shorter: _fails_at(target, shorter) == where)
    path = target.folder / f"failed-{hashlib.sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    tally.failures[where] = f"{path}\n{''.join(traceback.format_exception(error))}"


def _fails_at(target: Target, data: bytes) -> str | None:
    try:
        timed(target, data)
    except (Exception, TooMuchError) as error:  # noqa: BLE001 - that is what is looked for
        return _where(error)
    return None


def _where(error: BaseException) -> str:
    if isinstance(error, TooMuchError):  # wherever it happened to be
        return type(error).__name__
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {frame.filename}:{frame.lineno}"


def _smaller(data: bytes, still_fails: Callable[[bytes], bool]) -> bytes:
    """Return `data` without what does not matter: pieces are left out as long as it still fails."""
    size, tries = len(data) // 2, 0
    while size:
        at = 0
        while at < len(data) and tries < 1000:
            shorter = data[:at] + data[at + size :]
            tries += 1
            if still_fails(shorter):
                data = shorter
            else:
                at += size
        size //= 2
    return data
