"""What is to be published: retained states and events (TOPICS.md, States and events). Pure.

A state says what a retained topic is to hold from now on; it is published where the broker holds something else. An
event is published once, in order. The last of either on a retained topic counts.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from bridge.common.models import Reply
from bridge.common.text import clean

log = logging.getLogger(__name__)

_MOST_EVENTS = 10_000
"""Bounds the memory that events take while the broker is away; those with `done` are bounded by their sender."""


class Signal(Protocol):
    """An `asyncio.Event`, as it is used here."""

    def set(self) -> None: ...
    def clear(self) -> None: ...
    async def wait(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Event:
    """A message to publish once. An empty `topic`: to the response topic of `reply` alone."""

    topic: str
    payload: str
    retain: bool = False
    reply: Reply | None = None
    done: Callable[[], None] | None = None
    number: int = 0
    """Counted together with the states."""


class Outgoing:
    """The states and events that wait for the broker, and what it holds of the states."""

    def __init__(self, work: Signal) -> None:
        """`work` is set while something is waiting."""
        self.work = work
        self._wanted: dict[str, str] = {}
        self._held: dict[str, str] = {}
        self._due: dict[str, None] = {}
        """Topics whose state may differ from what the broker holds, those due longest first."""
        self._events: deque[Event] = deque()
        self._numbers = itertools.count(1)
        self._declared: dict[str, int] = {}
        """The number of each topic's state."""

    # For who publishes

    def state(self, topic: str, payload: str) -> None:
        """Declare what a retained topic holds from now on."""
        self._declared[topic] = next(self._numbers)
        if self._wanted.get(topic) != payload:
            self._wanted[topic] = payload
            self._due[topic] = None
            self.work.set()

    def state_again(self, topic: str) -> None:
        """Publish a declared state once more, even if the broker holds it."""
        self._held.pop(topic, None)
        self._due[topic] = None
        self.work.set()

    def publish(
        self,
        topic: str,
        payload: str,
        *,
        retain: bool = False,
        reply: Reply | None = None,
        done: Callable[[], None] | None = None,
    ) -> None:
        """Publish once, in order, as soon as there is a connection; `done` is called when the broker has it.

        With `reply`, a copy goes to its topic with its correlation data.
        """
        if len(self._events) >= _MOST_EVENTS and done is None:
            log.warning("dropped an event for %s: %d are waiting for the broker", clean(topic), len(self._events))
            return
        self._events.append(Event(topic, payload, retain, reply, done, next(self._numbers)))
        self.work.set()

    def publish_reply(self, reply: Reply, payload: str) -> None:
        self._events.append(Event("", payload, reply=reply))
        self.work.set()

    # For the session

    @property
    def is_empty(self) -> bool:
        return not (self._events or self._due)

    @property
    def waiting_events(self) -> int:
        return len(self._events)

    @property
    def waiting_states(self) -> int:
        return len(self._due)

    @property
    def held(self) -> Mapping[str, str]:
        return self._held

    def forget_held(self) -> None:
        """A new connection: what the broker holds is not known yet."""
        self._held.clear()

    def hold(self, topic: str, payload: str | None) -> None:
        """Note what the broker holds on a topic; None: nothing."""
        if payload is None:
            self._held.pop(topic, None)
        else:
            self._held[topic] = payload

    def check_all(self) -> None:
        self._due.update(dict.fromkeys(self._wanted))

    def next_event(self) -> Event:
        """Return the event to publish next; it stays until `event_done`."""
        return self._events[0]

    def is_held(self, event: Event) -> bool:
        return event.retain and self._held.get(event.topic) == event.payload

    def event_published(self, event: Event) -> None:
        """Note that the broker has the event; its reply may still be due."""
        if not event.retain:
            return
        self._held[event.topic] = event.payload
        if event.number > self._declared.get(event.topic, 0):
            self._wanted[event.topic] = event.payload
        else:
            self._due[event.topic] = None

    def event_done(self) -> None:
        """Remove the event that was published, and say so."""
        event = self._events.popleft()
        if event.done is not None:
            event.done()

    def due_states(self, most: int) -> tuple[list[str], dict[str, str]]:
        """Return the topics due longest, and the payloads of those that differ from what the broker holds."""
        topics = list(itertools.islice(self._due, most))
        return topics, {topic: self._wanted[topic] for topic in topics if self._held.get(topic) != self._wanted[topic]}

    def states_published(self, topics: list[str], published: Mapping[str, str]) -> None:
        """Note that the broker has `published`; what has changed meanwhile is due again, after the others."""
        self._held.update(published)
        for topic in topics:
            del self._due[topic]
            if self._held.get(topic) != self._wanted[topic]:
                self._due[topic] = None
