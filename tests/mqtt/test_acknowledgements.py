"""Acknowledgements of commands, as a broker gets them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from support.brokers import PUBACK, Mosquitto, Proxy
from support.recorder import Recorder
from support.session import NoDeliveries, running

from bridge.common.models import Incoming
from bridge.common.problems import Problems
from bridge.mqtt.client import Broker
from bridge.mqtt.outgoing import Outgoing
from bridge.mqtt.routes import Router, TopicRoute
from bridge.mqtt.session import Session, Subscriptions

COUNT = 12


class EverySecond(NoDeliveries):
    """Takes every second message for a redelivery."""

    def __init__(self) -> None:
        super().__init__()
        self.came: list[int | None] = []

    def is_redelivery(self, message: Incoming) -> bool:
        self.came.append(message.mid)
        return len(self.came) % 2 == 0


def test_messages_are_acknowledged_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    """Redeliveries as well (MQTT 5, 4.6): else mosquitto 2.0 sends a new message before those that wait for us."""
    acknowledged: list[int] = []
    everything = asyncio.Event()

    def note(kind: int, packet: bytes) -> bool:
        if kind == PUBACK:
            acknowledged.append(int.from_bytes(packet[2:4]))
            if len(acknowledged) == COUNT:
                everything.set()
        return False

    async def handle(batch: Sequence[Incoming]) -> None:
        await asyncio.sleep(0.05 * bool(batch))

    def session(port: int, deliveries: NoDeliveries) -> Session:
        return Session(
            Broker("127.0.0.1", port, client_id="bridge"),
            Outgoing(asyncio.Event()),
            Router([TopicRoute("b/raise", handle)], lambda *_, **__: None),
            Subscriptions("b/state", lambda: ("b/+/link",), lambda _: True, lambda _: False),
            deliveries,
            Problems(),
        )

    async def scenario() -> None:
        with Mosquitto(tmp_path) as mosquitto:
            async with Proxy(mosquitto.port) as proxy, Recorder(mosquitto.port, "b") as recorder:
                before = session(mosquitto.port, NoDeliveries())
                async with running(before):
                    await before.connected.wait()
                for number in range(COUNT):
                    await recorder.publish("raise", str(number))
                proxy.swallows = note
                deliveries = EverySecond()
                async with running(session(proxy.port, deliveries)):
                    await everything.wait()
                assert acknowledged == deliveries.came

    asyncio.run(scenario())
