"""Recognises MQTT messages that the broker delivers again (TOPICS.md, Commands)."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

from bridge.common.errors import StoreError
from bridge.store.outbox import Outbox
from bridge.store.records import Delivery

log = logging.getLogger(__name__)

_MOST_CONFIRMED = 1000
"""Confirmed deliveries are forgotten with the next command that is stored; where none is, past so many."""


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


class Deliveries:
    """The deliveries that the broker may repeat."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._confirmed: list[Delivery] = []

    def of(self, message: Message) -> Delivery | None:
        """Return what identifies a message when it comes again; None with QoS 0."""
        if message.mid is None:
            return None
        digest = hashlib.sha256(message.topic.encode() + b"\0" + message.payload).digest()
        return Delivery(message.mid, message.duplicate, digest)

    async def repeated(self, deliveries: Iterable[Delivery | None]) -> list[Delivery]:
        """Return those that came before. A confirmed one never comes again: another message has its number by now."""
        marked = [delivery for delivery in deliveries if delivery is not None and delivery.duplicate]
        over = {(each.mid, each.digest) for each in self._confirmed}
        marked = [each for each in marked if (each.mid, each.digest) not in over]
        if not marked:
            return []
        try:
            return await self._outbox.known(marked)
        except StoreError as error:  # a duplicate event beats a lost one
            log.warning("%s", error)
            return []

    @property
    def confirmed(self) -> list[Delivery]:
        """The deliveries that the broker will not repeat and the store still remembers."""
        return list(self._confirmed)

    @property
    def many_confirmed(self) -> bool:
        """Whether so many are confirmed that the store is to forget them now."""
        return len(self._confirmed) >= _MOST_CONFIRMED

    def forget(self, confirmed: Sequence[Delivery]) -> None:
        """Drop what was `confirmed` and is forgotten by the store."""
        del self._confirmed[: len(confirmed)]

    def acknowledged(self, batch: Iterable[Message]) -> None:
        """The broker has the acknowledgements of these messages."""
        self._confirmed += [delivery for delivery in map(self.of, batch) if delivery is not None]

    async def new_session(self) -> None:
        """The broker repeats nothing of an earlier session."""
        try:
            await self._outbox.forget_deliveries()
        except StoreError as error:
            log.warning("%s", error)
