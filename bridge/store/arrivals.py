"""Notes new commands in memory: a command reaches its transmitter without a read from disk."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence

from bridge.store.records import Queued


class Wakes:
    """Who waits for changes of the outbox: each transmitter for its own, the publisher for all."""

    def __init__(self) -> None:
        self.any = asyncio.Event()
        self._events: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._names: set[str] = set()

    def of(self, transmitter: str) -> asyncio.Event:
        """Return what is set whenever something is stored for a transmitter; its one user clears it."""
        return self._events[transmitter]

    def wake(self, transmitters: Iterable[str]) -> None:
        """Wake those of `transmitters`: something is stored for them, or may be."""
        for name in transmitters:
            self._names.add(name)
            self.of(name).set()
            self.any.set()

    def wake_all(self) -> None:
        """Wake all who have ever waited: anything may have changed."""
        self.wake(list(self._events))

    def take(self) -> set[str]:
        """Return the transmitters that were woken since this was last called."""
        self.any.clear()
        names, self._names = self._names, set()
        return names


class Arrivals:
    """The pending commands that lines know, and those that they do not know yet."""

    def __init__(self) -> None:
        self._known: dict[str, set[int]] = {}
        """By transmitter, once its line has asked for what is pending."""
        self._new: defaultdict[str, list[Queued]] = defaultdict(list)
        self._dropped: defaultdict[str, set[int]] = defaultdict(set)

    def add(self, queued: Queued) -> None:
        name = queued.command.transmitter
        if name in self._known and queued.id not in self._known[name]:
            self._known[name].add(queued.id)
            self._new[name].append(queued)

    def begin(self, transmitter: str, pending: Sequence[Queued]) -> None:
        """Note everything that is pending, which its line gets now."""
        self._known[transmitter] = {queued.id for queued in pending}
        self._new[transmitter].clear()
        self._dropped[transmitter].clear()

    def end(self, queued: Queued) -> None:
        self._known.get(queued.command.transmitter, set()).discard(queued.id)

    def take(self, transmitter: str) -> list[Queued]:
        return self._new.pop(transmitter, [])

    def dropped(self, transmitter: str) -> set[int]:
        return self._dropped.pop(transmitter, set())

    @property
    def transmitters(self) -> list[str]:
        return list(self._known)

    def compare(self, transmitter: str, pending: set[int]) -> tuple[set[int], set[int]]:
        """Return which known commands are gone from those `pending` on disk, and which of these are not known."""
        known = self._known[transmitter]
        gone = known - pending
        known -= gone
        self._dropped[transmitter] |= gone
        self._new[transmitter] = [queued for queued in self._new[transmitter] if queued.id not in gone]
        return gone, pending - known
