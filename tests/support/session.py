"""What tests of the MQTT session share: one that has no routes and remembers no deliveries."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.mqtt.client import Broker, Incoming
from bridge.mqtt.outgoing import Outgoing
from bridge.mqtt.routes import Router
from bridge.mqtt.session import Session, Subscriptions


class NoDeliveries:
    """Remembers nothing."""

    def acknowledged(self, batch: Sequence[Incoming]) -> None: ...

    async def new_session(self) -> None: ...


def make_session(outgoing: Outgoing, states: tuple[str, ...] = (), kind: type[Session] = Session) -> Session:
    """Return a session that is not connected; all topics that `states` match are its own."""
    subscriptions = Subscriptions("b/state", states, lambda _: True, lambda _: False)
    router = Router((), lambda *_, **__: None)
    return kind(Broker("127.0.0.1"), outgoing, router, subscriptions, NoDeliveries())
