"""What the session publishes while more comes than it can publish: everything gets its turn."""

from __future__ import annotations

import asyncio

import aiomqtt
import pytest
from support.session import ScriptedClient, make_session, running

from bridge.common.models import Incoming
from bridge.mqtt.outgoing import Outgoing
from bridge.mqtt.routes import Router, TopicRoute
from bridge.mqtt.session import _Connection


class Busy(ScriptedClient):
    """With each state that it takes another one changes, and a result is due with each event."""

    def __init__(self, outgoing: Outgoing) -> None:
        self.outgoing = outgoing
        self.published: list[tuple[str, str]] = []
        self.published_again = asyncio.Event()
        self.state_after_that = asyncio.Event()

    async def publish(self, topic: str, payload: str, **_: object) -> None:
        self.published.append((topic, payload))
        await asyncio.sleep(0)
        if payload == "again":
            self.published_again.set()
        elif self.published_again.is_set():
            self.state_after_that.set()
        if self.state_after_that.is_set() or len(self.published) > 1000:  # else it never ends
            return
        if topic == "b/result":
            self.outgoing.publish("b/result", "again")
        for number in range(5):
            self.outgoing.state(f"b/{number}", str(len(self.published)))


def test_states_that_change_all_the_time_keep_neither_online_nor_results_nor_other_states_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        outgoing = Outgoing(asyncio.Event())
        busy = Busy(outgoing)
        for number in range(25):
            outgoing.state(f"b/{number}", "0")
        outgoing.publish("b/result", "first")
        session = make_session(monkeypatch, outgoing, lambda: busy, "b/#")
        async with running(session):
            await session.connected.wait()
            assert busy.published[-1] == ("b/state", "online")
            assert {topic for topic, _ in busy.published} >= {"b/state"} | {f"b/{number}" for number in range(25)}
            await busy.published_again.wait()
            await busy.state_after_that.wait()
        assert len(busy.published) < 200

    asyncio.run(main())


def test_results_wait_neither_for_all_states_after_a_connect_nor_keep_online_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Noting(ScriptedClient):
        async def publish(self, topic: str, payload: str, **_: object) -> None:
            published.append(topic)
            await asyncio.sleep(0)

    published: list[str] = []

    async def main() -> None:
        outgoing, ended = Outgoing(asyncio.Event()), asyncio.Event()
        for number in range(300):
            outgoing.state(f"b/{number}", "0")
        for _ in range(1999):
            outgoing.publish("b/result", "{}")
        outgoing.publish("b/last", "{}", done=ended.set)
        session = make_session(monkeypatch, outgoing, Noting, "b/#")
        async with running(session):
            await session.connected.wait()
            assert published[0] == "b/result"
            assert published.count("b/result") < 1000
            assert published[-1] == "b/state"
            assert set(published) == {"b/result", "b/state"} | {f"b/{number}" for number in range(300)}
            await ended.wait()

    asyncio.run(main())


def test_a_result_that_the_broker_holds_already_proves_no_acknowledgement(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was sent, so nothing was answered."""

    async def main() -> None:
        outgoing = Outgoing(asyncio.Event())
        session = make_session(monkeypatch, outgoing, ScriptedClient)
        connection = _Connection(
            unconfirmed=[Incoming("b/set", b"ON", retained=False, duplicate=False, mid=1, reply=None)]
        )
        for payload, unproven in (("held", 1), ("new", 0)):
            outgoing.hold("b/result", "held")
            outgoing.publish("b/result", payload, retain=True)
            await session._publish_waiting(ScriptedClient(), connection)  # type: ignore[arg-type]
            assert len(connection.unconfirmed) == unproven

    asyncio.run(main())


def test_a_connection_that_breaks_as_the_session_ends_is_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error takes the place of the cancellation, which then comes no more: the bridge did not end."""
    made: list[ScriptedClient] = []

    class Breaks(ScriptedClient):
        def __init__(self) -> None:
            made.append(self)

        async def until_lost(self) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise aiomqtt.MqttError("it disconnected") from None

    async def main() -> None:
        session = make_session(monkeypatch, Outgoing(asyncio.Event()), Breaks)
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            task = tasks.create_task(session.run())
            await session.connected.wait()
            task.cancel()
            session.stop()

    asyncio.run(main())
    assert len(made) == 1


@pytest.mark.parametrize("optional", [False, True])
def test_many_filters_are_subscribed_in_portions(monkeypatch: pytest.MonkeyPatch, *, optional: bool) -> None:
    """A shard has filters for each of its transmitters; a broker bounds the packet."""
    subscribed: list[list[str]] = []

    class Noting(ScriptedClient):
        async def subscribe(self, filters: list[tuple[str, object]]) -> list[int]:
            subscribed.append([pattern for pattern, _ in filters])
            return [0] * len(filters)

    async def handle(_: object) -> None: ...

    async def main() -> None:
        session = make_session(monkeypatch, Outgoing(asyncio.Event()), Noting)
        routes = [TopicRoute(f"b/{number}/raise", handle, optional=optional) for number in range(250)]
        session._router = Router(routes, lambda *_, **__: None)
        async with running(session):
            await session.connected.wait()
        assert [len(each) for each in subscribed] == [100, 100, 50]
        assert [pattern for each in subscribed for pattern in each] == [each.filter for each in routes]

    asyncio.run(main())
