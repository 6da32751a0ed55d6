"""Which MQTT messages the broker may deliver again, and which may be acknowledged (TOPICS.md, Commands). In memory.

A message with DUP is a redelivery if its packet id and content belong to a command whose result is not published, and
whose acknowledgement no later answer of the broker has confirmed. In doubt a command is carried out twice: a broker
reuses packet ids, and a new message that was sent into a broken connection has DUP as well.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol


class Message(Protocol):
    """An MQTT message; `mid` is None with QoS 0."""

    @property
    def topic(self) -> str: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def duplicate(self) -> bool: ...
    @property
    def mid(self) -> int | None: ...


class Delivery(NamedTuple):
    """Packet id and content of a message with QoS 1."""

    mid: int
    digest: bytes


def delivery_of(message: Message) -> Delivery | None:
    """Return what identifies a message when it comes again; None with QoS 0."""
    if message.mid is None:
        return None
    return Delivery(message.mid, hashlib.sha256(message.topic.encode() + b"\0" + message.payload).digest())


class Deliveries:
    """The messages whose acknowledgement the broker has perhaps not read."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        """Set when more messages may be acknowledged; its one user clears it."""
        self.accepting: set[asyncio.Task[set[str]]] = set()
        """Commands that are being stored."""
        self._open: dict[int, bytes] = {}
        self._unsaved: set[Delivery] = set()
        self._confirmed: set[Delivery] = set()

    def load(self, stored: Mapping[int, bytes]) -> None:
        """Take what the store holds, at start."""
        self._open = dict(stored)

    async def settled(self) -> None:
        """Return when every command that was begun to be stored is stored, or has failed."""
        if self.accepting:
            await asyncio.wait(self.accepting)

    def add(self, delivery: Delivery, *, saved: bool) -> None:
        """Note a message whose command is accepted; `saved`: on disk."""
        self._open[delivery.mid] = delivery.digest
        self._confirmed.discard(delivery)
        if not saved:
            self._unsaved.add(delivery)

    def is_redelivery(self, message: Message) -> bool:
        delivery = delivery_of(message)
        return bool(message.duplicate and delivery and self._open.get(delivery.mid) == delivery.digest)

    def is_safe(self, message: Message) -> bool:
        """Whether a message may be acknowledged: its command is on disk, or its result is published."""
        return delivery_of(message) not in self._unsaved

    def saved(self) -> None:
        """Everything is on disk."""
        self._unsaved.clear()
        self.changed.set()

    def published(self, deliveries: Iterable[Delivery]) -> None:
        """The results of these are published."""
        for each in deliveries:
            self._forget(each)
            self._confirmed.discard(each)  # the store knows by the result
            if each in self._unsaved:
                self._unsaved.discard(each)
                self.changed.set()

    def acknowledged(self, messages: Iterable[Message]) -> None:
        """The broker has certainly read the acknowledgements of these."""
        for message in messages:
            delivery = delivery_of(message)
            if delivery is not None and self._forget(delivery):
                self._confirmed.add(delivery)

    def new_session(self) -> None:
        """The broker knows nothing of an earlier session: it repeats nothing of it."""
        self._confirmed.update(Delivery(mid, digest) for mid, digest in self._open.items())
        self._open.clear()

    def confirmed(self) -> list[int]:
        """Return the packet ids that the store is to forget, once each."""
        found = [each.mid for each in self._confirmed if each.mid not in self._open]
        self._confirmed.clear()
        return found

    def _forget(self, delivery: Delivery) -> bool:
        if self._open.get(delivery.mid) != delivery.digest:
            return False
        del self._open[delivery.mid]
        return True
