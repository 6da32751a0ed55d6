"""Retained topics on the broker, read and removed without a session (`sosbridge mqtt clear`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bridge.mqtt.client import Broker, BrokerError, Message, failed, visit


async def retained(broker: Broker, filters: Sequence[str]) -> dict[str, bytes]:
    """Return the retained topics that match `filters`, with their payloads. Raises BrokerError."""
    found: dict[str, bytes] = {}

    def received(message: Message) -> None:
        if message.retain:
            found[message.topic] = bytes(message.payload)

    async with visit(broker, "retained", received) as client:
        for pattern in filters:
            if any(failed(code) for code in await client.subscribe(pattern, qos=0)):
                raise BrokerError(f"it does not allow to subscribe to {pattern}; see the broker's access list")
        for pattern in filters:  # the broker has sent all of them before it confirms this
            await client.unsubscribe(pattern)
    return found


async def clear(broker: Broker, topics: Iterable[str]) -> None:
    """Remove retained topics. Raises BrokerError."""
    async with visit(broker, "retained") as client:
        for topic in topics:
            await client.publish(topic, None, qos=1, retain=True)
