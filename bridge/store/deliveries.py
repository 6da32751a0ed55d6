"""Which MQTT messages the broker may redeliver, which may be acknowledged (TOPICS.md, Commands).

In memory.

A message with DUP is a redelivery if its packet id and content belong to a command that has not ended, and whose
acknowledgement no later answer of the broker has confirmed; or to one that was certainly not acknowledged. In doubt a
command is carried out twice: a broker reuses packet ids, and a new message that was sent into a broken connection has
DUP as well.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from bridge.common.models import Incoming


class Delivery(NamedTuple):
    """Packet id and content of a message with QoS 1."""

    mid: int
    digest: bytes


def delivery_of(message: Incoming) -> Delivery | None:
    """Return what identifies a message when it comes again; None with QoS 0."""
    if message.mid is None:
        return None
    return Delivery(message.mid, hashlib.sha256(message.topic.encode() + b"\0" + message.payload).digest())


class Accepted(NamedTuple):
    """The row that an accepted message or event of a panel has in the store."""

    id: int
    ended: bool = False
    """Whether it is a result, of an invalid command; else it is a command."""


class Deliveries:
    """Messages whose acknowledgement may not have arrived, and those that may not be acknowledged yet."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        """Set when more messages may be acknowledged; its one user clears it."""
        self.accepting: set[asyncio.Task[set[str]]] = set()
        """Commands that are being stored."""
        self._open: dict[int, tuple[bytes, int]] = {}
        """The digest and the command, by packet id."""
        self._mids: dict[int, int] = {}
        """The packet id under which each command came that has not ended; another may have it by now."""
        self._confirmed: set[int] = set()
        """Commands that the store is to forget the packet ids of."""
        self._unsaved: dict[Delivery | str, Accepted] = {}
        """What is in memory only: messages, and events of panels by their keys."""

    def load(self, stored: Mapping[int, tuple[bytes, int]]) -> None:
        """Take what the store holds, at start."""
        self._open = dict(stored)
        self._mids = {command: mid for mid, (_, command) in stored.items()}

    async def settled(self) -> None:
        """Return when every command that was begun to be stored is stored, or has failed."""
        if self.accepting:
            await asyncio.wait(self.accepting)

    def add(self, accepted: Mapping[Delivery | str, Accepted], *, saved: bool) -> None:
        """Note what is accepted; `saved`: on disk."""
        for key, row in accepted.items():
            if isinstance(key, Delivery) and not row.ended:
                self._open[key.mid] = key.digest, row.id
                self._mids[row.id] = key.mid
        if not saved:
            self._unsaved |= accepted

    def is_redelivery(self, message: Incoming) -> bool:
        if not message.duplicate or (delivery := delivery_of(message)) is None:
            return False
        digest, _ = self._open.get(delivery.mid, (None, 0))
        return digest == delivery.digest or delivery in self._unsaved

    def is_safe(self, message: Incoming) -> bool:
        """Whether a message may be acknowledged: its command is on disk, or its result is published."""
        return not self._unsaved or delivery_of(message) not in self._unsaved

    def are_safe(self, keys: Iterable[str]) -> bool:
        """Whether the alarms of these events are on disk, or their results are published."""
        return self._unsaved.keys().isdisjoint(keys)

    def saved(self) -> None:
        self._unsaved.clear()
        self.changed.set()

    def ended(self, commands: Collection[int]) -> None:
        """These commands were delivered, or ended otherwise: what looks like one of them now may be a new one."""
        for command in commands:
            mid = self._mids.pop(command, 0)
            if self._open.get(mid, (b"", 0))[1] == command:
                del self._open[mid]

    def published(self, rows: Collection[Accepted]) -> None:
        for key in [key for key, row in self._unsaved.items() if row in rows]:
            del self._unsaved[key]
            self.changed.set()

    def acknowledged(self, messages: Iterable[Incoming]) -> None:
        """The broker has certainly read the acknowledgements of these."""
        for message in messages:
            mid = message.mid or 0
            if mid in self._open and delivery_of(message) == (mid, self._open[mid][0]):
                self._confirmed.add(self._open.pop(mid)[1])

    def new_session(self) -> None:
        """The broker knows nothing of an earlier session: it repeats nothing of it."""
        self._confirmed.update(command for _, command in self._open.values())
        self._open.clear()
        self._unsaved = {key: row for key, row in self._unsaved.items() if isinstance(key, str)}

    def confirmed(self) -> set[int]:
        """Return the commands that the store is to forget the packet ids of, once each."""
        found, self._confirmed = self._confirmed, set()
        return found
