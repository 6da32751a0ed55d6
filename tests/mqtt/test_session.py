"""What the door publishes while more comes than it can publish: nothing is kept waiting for ever."""

from __future__ import annotations

import asyncio
from typing import cast

import aiomqtt
import pytest

from bridge.mqtt.client import Broker, Client
from bridge.mqtt.session import Door, Handler, Interface, _Link

INTERFACE = Interface("b/state", ("b/+/set",), ("b/#",), lambda _: True, lambda _: False)


class Busy:
    """A broker's end: with each state that it takes another one changes, and a result is due with each event."""

    session_present = True

    def __init__(self) -> None:
        self.door = Door(Broker("127.0.0.1"), INTERFACE, Handler())
        self.published: list[tuple[str, str]] = []
        self.told_again = asyncio.Event()
        for number in range(25):
            self.door.state(f"b/{number}", "0")

    async def subscribe(self, *_: object, **__: object) -> list[int]:
        return [0]

    async def unsubscribe(self, _: str) -> None: ...

    async def publish(self, topic: str, payload: str, **_: object) -> None:
        self.published.append((topic, payload))
        assert len(self.published) < 1000, "it never ends"
        await asyncio.sleep(0)
        if payload == "again":
            self.told_again.set()
        if topic == "b/result":
            self.door.publish("b/result", "again")
        for number in range(5):
            self.door.state(f"b/{number}", str(len(self.published)))

    @property
    def client(self) -> Client:
        return cast("Client", self)

    @property
    def topics(self) -> set[str]:
        return {topic for topic, _ in self.published}


def test_states_that_change_all_the_time_keep_neither_online_nor_results_nor_other_states_waiting() -> None:
    async def main() -> None:
        busy = Busy()
        busy.door.publish("b/result", "first")
        conversing = asyncio.create_task(busy.door._converse(busy.client, _Link()))
        await busy.door.connected.wait()
        assert busy.published[-1] == ("b/state", "online")
        assert busy.topics == {"b/state"} | {f"b/{number}" for number in range(25)}
        await busy.told_again.wait()
        conversing.cancel()
        await asyncio.wait([conversing])

    asyncio.run(asyncio.wait_for(main(), 10))


def test_a_connection_that_breaks_as_the_door_ends_is_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error takes the place of the cancellation, which then comes no more: the bridge did not end."""

    async def breaks(_: Door) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise aiomqtt.MqttError("it hung up") from None

    monkeypatch.setattr(Door, "_session", breaks)

    async def main() -> None:
        door = Door(Broker("127.0.0.1"), INTERFACE, Handler())
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(door.run())
            await asyncio.sleep(0)
            running.cancel()
            door.stop()

    asyncio.run(main())
