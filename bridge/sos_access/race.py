"""Connects to one of several receivers: the first connection made is used (PROTOCOL.md, Failover)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bridge.sos_access.connection import Connection, Dialer
from bridge.sos_access.peer import Peer, peer_name
from bridge.sos_access.status import TransportError


class Entrant(NamedTuple):
    """One route in a race; `next_after` seconds without a connection let the next one begin."""

    peer: Peer
    next_after: float = 1.0


@dataclass(frozen=True, slots=True)
class RaceOutcome:
    """How connecting ended for the entrant with this index."""

    index: int
    took_s: float
    error: TransportError | None = None


@dataclass(slots=True)
class Observer:
    """Called while a race runs and after it; by index."""

    began: Callable[[int], object] = int
    late: Callable[[int], object] = int
    """It takes so long that the next one begins."""
    lost: Callable[[RaceOutcome], object] = id
    """It ended after the race was won: with an error, or connected and closed again."""


class RaceFailed(TransportError):  # noqa: N818 - named as its siblings in status
    """No entrant could connect; `outcomes` are in the order of failing."""

    def __init__(self, outcomes: Sequence[RaceOutcome]) -> None:
        super().__init__("; ".join(dict.fromkeys(str(each.error) for each in outcomes)))
        self.outcomes = tuple(outcomes)


@dataclass(slots=True)
class Winner:
    """The connection that won, and the outcomes of those that failed before."""

    index: int
    connection: Connection
    took_s: float
    failed: tuple[RaceOutcome, ...] = ()


async def race(dialer: Dialer, entrants: Sequence[Entrant], observer: Observer | None = None) -> Winner:
    """Return the first connection; the others go on in the background and end at `observer.lost`.

    An entrant begins when the one before has failed, or has not connected within its `next_after`. Raises
    RaceFailed. When it is cancelled, every connection that was begun is given up.
    """
    if len(entrants) == 1:
        return await _walk_over(dialer, entrants[0], observer or Observer())
    return await _Race(dialer, entrants, observer or Observer()).run()


async def _walk_over(dialer: Dialer, entrant: Entrant, observer: Observer) -> Winner:
    now = asyncio.get_running_loop().time
    began = now()
    observer.began(0)
    try:
        connection = await dialer.connect(entrant.peer)
    except TransportError as error:
        raise RaceFailed([RaceOutcome(0, now() - began, error)]) from None
    return Winner(0, connection, now() - began)


@dataclass(slots=True)
class _Race:
    dialer: Dialer
    entrants: Sequence[Entrant]
    observer: Observer
    tasks: dict[asyncio.Task[Connection], tuple[int, float]] = field(default_factory=dict)
    failed: list[RaceOutcome] = field(default_factory=list)

    async def run(self) -> Winner:
        try:
            while True:
                if len(self.tasks) + len(self.failed) < len(self.entrants):
                    self._begin(len(self.tasks) + len(self.failed))
                if (winner := await self._wait()) is not None:
                    return winner
                if not self.tasks and len(self.failed) == len(self.entrants):
                    raise RaceFailed(self.failed)
        except asyncio.CancelledError:
            for task in self.tasks:
                task.cancel()
                task.add_done_callback(_closed_again)
            raise

    def _begin(self, index: int) -> None:
        self.observer.began(index)
        peer = self.entrants[index].peer
        task = asyncio.create_task(self.dialer.connect(peer), name=f"connect to {peer_name(peer.address)}")
        self.tasks[task] = index, asyncio.get_running_loop().time()
        self.dialer.keep(task)

    async def _wait(self) -> Winner | None:
        """Wait until one connects, one fails, or it is time for the next one to begin."""
        latest = len(self.tasks) + len(self.failed) - 1
        more = latest + 1 < len(self.entrants)
        timeout = self.entrants[latest].next_after if more else None
        done, _ = await asyncio.wait(self.tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            for index, _ in self.tasks.values():
                self.observer.late(index)
        winner = None
        for task in done:
            outcome = self._outcome(task)
            if outcome.error is not None:
                self.failed.append(outcome)
            elif winner is None:
                winner = Winner(outcome.index, task.result(), outcome.took_s)
            else:
                task.result().close()
                self.observer.lost(outcome)
        if winner is not None:
            winner.failed = tuple(self.failed)
            for task in self.tasks:
                task.add_done_callback(self._lost)
        return winner

    def _outcome(self, task: asyncio.Task[Connection]) -> RaceOutcome:
        index, began = self.tasks.pop(task)
        took_s = asyncio.get_running_loop().time() - began
        error = task.exception()
        if error is not None and not isinstance(error, TransportError):
            raise error
        return RaceOutcome(index, took_s, error)

    def _lost(self, task: asyncio.Task[Connection]) -> None:
        if task.cancelled():
            return
        outcome = self._outcome(task)
        if outcome.error is None:
            task.result().close()
        self.observer.lost(outcome)


def _closed_again(task: asyncio.Task[Connection]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().abort()
