"""What the session publishes while more comes than it can publish: everything gets its turn."""

from __future__ import annotations

import asyncio
from typing import cast

import aiomqtt
import pytest
from support.session import make_session

from bridge.mqtt.client import Client
from bridge.mqtt.outgoing import Outgoing
from bridge.mqtt.session import Session, _Connection


class Busy:
    """A broker's end: with each state that it takes another one changes, and a result is due with each event."""

    session_present = True

    def __init__(self) -> None:
        self.outgoing = Outgoing(asyncio.Event())
        self.session = make_session(self.outgoing, states=("b/#",))
        self.published: list[tuple[str, str]] = []
        self.published_again = asyncio.Event()
        for number in range(25):
            self.outgoing.state(f"b/{number}", "0")

    async def subscribe(self, *_: object, **__: object) -> list[int]:
        return [0]

    async def unsubscribe(self, _: str) -> None: ...

    async def publish(self, topic: str, payload: str, **_: object) -> None:
        self.published.append((topic, payload))
        assert len(self.published) < 1000, "it never ends"
        await asyncio.sleep(0)
        if payload == "again":
            self.published_again.set()
        if topic == "b/result":
            self.outgoing.publish("b/result", "again")
        for number in range(5):
            self.outgoing.state(f"b/{number}", str(len(self.published)))

    @property
    def client(self) -> Client:
        return cast("Client", self)

    @property
    def topics(self) -> set[str]:
        return {topic for topic, _ in self.published}


def test_states_that_change_all_the_time_keep_neither_online_nor_results_nor_other_states_waiting() -> None:
    async def main() -> None:
        busy = Busy()
        busy.outgoing.publish("b/result", "first")
        conversing = asyncio.create_task(busy.session._converse(busy.client, _Connection()))
        await busy.session.connected.wait()
        assert busy.published[-1] == ("b/state", "online")
        assert busy.topics == {"b/state"} | {f"b/{number}" for number in range(25)}
        await busy.published_again.wait()
        conversing.cancel()
        await asyncio.wait([conversing])

    asyncio.run(asyncio.wait_for(main(), 10))


def test_a_connection_that_breaks_as_the_session_ends_is_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error takes the place of the cancellation, which then comes no more: the bridge did not end."""

    async def breaks(_: Session) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise aiomqtt.MqttError("it hung up") from None

    monkeypatch.setattr(Session, "_connect", breaks)

    async def main() -> None:
        session = make_session(Outgoing(asyncio.Event()))
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(session.run())
            await asyncio.sleep(0)
            running.cancel()
            session.stop()

    asyncio.run(main())
