"""Routes from topic filters to handlers: what the session subscribes to, and who takes what arrives."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from paho.mqtt.matcher import MQTTMatcher

from bridge.common.lasting import LASTS
from bridge.common.models import Incoming
from bridge.common.text import clean

log = logging.getLogger(__name__)

Handle = Callable[[Sequence[Incoming]], Awaitable[None]]
"""Takes messages in the order of their arrival; when it returns they are acknowledged."""


@dataclass(frozen=True, slots=True)
class TopicRoute:
    """Messages whose topic matches `filter` go to `handle`; no two routes match the same topic."""

    filter: str
    handle: Handle
    qos: int = 1
    """Of the subscription: with 0 nothing waits in the broker while we are away."""
    retained: bool = False
    """Whether retained messages are taken. Commands must not be retained: each reconnect would repeat them."""
    optional: bool = False
    """Whether the broker may refuse the subscription."""
    subscribe: Callable[[str], Iterable[str]] = lambda pattern: (pattern,)
    """Returns what to subscribe to for `filter`, which may match more."""


def _subscriptions(routes: Iterable[TopicRoute]) -> Iterator[str]:
    """Return what to subscribe to, one by one: of thousands of transmitters it is megabytes."""
    return (pattern for route in routes for pattern in route.subscribe(route.filter))


class Router:
    """Hands messages to the handlers of their topics."""

    def __init__(self, routes: Iterable[TopicRoute], emit: Callable[..., None]) -> None:
        """Messages of a batch are handled in the order of `routes`; `emit` publishes on `bridge/event`."""
        self._order: dict[Handle, None] = {}
        self._routes = MQTTMatcher()  # type: ignore[no-untyped-call]
        self._emit = emit
        self._all = [*routes]
        for route in self._all:
            self._order[route.handle] = None
            self._routes[route.filter] = route

    @property
    def filters(self) -> dict[int, Iterator[str]]:
        """What to subscribe to, by QoS."""
        needed = [route for route in self._all if not route.optional]
        levels = dict.fromkeys(route.qos for route in needed)
        return {qos: _subscriptions([route for route in needed if route.qos == qos]) for qos in levels}

    @property
    def optional(self) -> Iterator[str]:
        """What to subscribe to with QoS 0 if the broker allows it."""
        return _subscriptions(route for route in self._all if route.optional)

    def takes(self, topic: str) -> bool:
        return self._route(topic) is not None

    def _route(self, topic: str) -> TopicRoute | None:
        return next(self._routes.iter_match(topic), None)  # type: ignore[no-untyped-call]

    async def dispatch(self, batch: Iterable[Incoming]) -> None:
        groups: dict[Handle, list[Incoming]] = {handle: [] for handle in self._order}
        for message in batch:
            route = self._route(message.topic)
            if route is None:
                # The broker keeps the subscriptions of a session: this one was made by an earlier configuration.
                log.warning("ignored a message on %s: nothing here handles it", clean(message.topic), extra=LASTS)
                continue
            if message.retained and not route.retained:
                self._refuse_retained(message)
            else:
                groups[route.handle].append(message)
        for handle, messages in groups.items():
            if messages:
                await handle(messages)

    def _refuse_retained(self, message: Incoming) -> None:
        if not message.payload:  # clears a retained command
            return
        topic = clean(message.topic)
        how = f"clear it with: mosquitto_pub -r -n -t '{topic}'"
        log.warning("ignored a retained command on %s; %s", topic, how)
        self._emit("retained_command_ignored", topic=topic, reason=f"commands must not be retained; {how}")
