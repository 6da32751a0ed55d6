"""A connection to the broker that is left while it is made, and waits that are cancelled: nothing stays behind."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
from contextlib import suppress
from typing import Any

import aiomqtt
import pytest
from paho.mqtt.client import MQTT_ERR_SUCCESS
from support import virtual

from bridge.common.errors import LostError
from bridge.mqtt.client import Broker, BrokerError, Client, make_client, try_connection


def client(port: int = 1) -> Client:
    return make_client(Broker("127.0.0.1", port), lambda _: None, None, None)


def test_a_cancellation_is_not_lost_to_an_answer_that_comes_at_the_same_moment() -> None:
    """It was, and the bridge went on without its panels instead of ending."""

    async def scenario() -> None:
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        waiting = asyncio.create_task(client()._wait_for(answer, timeout=5))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        answer.set_result("PUBACK")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(scenario())


def test_an_answer_that_does_not_come_is_an_error() -> None:
    async def scenario() -> None:
        never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        with pytest.raises(aiomqtt.MqttError):
            await client()._wait_for(never, timeout=0)

    asyncio.run(scenario())


@pytest.mark.parametrize(("keepalive_s", "looks"), [(2, [0.0, 0.5, 1.0, 1.5, 2.0]), (30, [0.0, 1.0, 2.0])])
def test_a_short_keepalive_is_looked_at_more_often(
    monkeypatch: pytest.MonkeyPatch, keepalive_s: int, looks: list[float]
) -> None:
    """Else a network that swallows everything is noticed a second later than the keepalive says."""

    async def scenario() -> None:
        found: list[float] = []
        loop = asyncio.get_running_loop()
        connected, begun = client(), loop.time()

        def look() -> int:
            found.append(loop.time() - begun)
            return MQTT_ERR_SUCCESS

        connected._client.keepalive = keepalive_s
        monkeypatch.setattr(connected._client, "loop_misc", look)
        with suppress(TimeoutError):
            async with asyncio.timeout(2.2):
                await connected._misc_loop()
        assert found == pytest.approx(looks, abs=0.01)

    virtual.run(scenario())


def test_a_socket_that_closes_before_it_is_written_to_is_left_alone() -> None:
    """Its number may be that of a connection to a receiver by then."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        faults: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, fault: faults.append(fault))
        ours, theirs = socket.socketpair()
        number = ours.fileno()
        leaving = client()
        leaving._on_socket_register_write(leaving._client, None, ours)
        ours.close()
        theirs.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not faults
        assert not loop.remove_writer(number)

    asyncio.run(scenario())


def test_an_answer_to_a_subscription_that_nobody_waits_for_any_more_is_no_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        late = client()
        late._on_subscribe(late._client, None, 9, [])
        late._on_unsubscribe(late._client, None, 9, [])

    asyncio.run(scenario())
    assert not caplog.records


def test_what_a_socket_does_not_take_at_once_is_written_when_it_does() -> None:
    """A big message to a broker that reads late."""
    size = 8_000_000

    async def scenario() -> None:
        began, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(100)
            writer.write(bytes.fromhex("2003000000"))  # CONNACK
            await reader.readexactly(1)
            began.set()
            await go_on.wait()
            assert len(await reader.read()) > size
            writer.close()
            await writer.wait_closed()
            ended.set()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1000)
        talking = client(server.sockets[0].getsockname()[1])
        async with server, asyncio.timeout(20):
            async with talking.connection():
                publishing = asyncio.create_task(talking.publish("topic", bytes(size), qos=0))
                await began.wait()
                assert talking._client.want_write()
                go_on.set()
                await publishing
            await ended.wait()

    asyncio.run(scenario())


def test_a_connection_that_is_left_while_it_is_made_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that connects cannot be stopped: what it opens is closed once it has."""
    began, go_on, connect = threading.Event(), threading.Event(), aiomqtt.Client._client_connect

    def slow(self: aiomqtt.Client) -> None:
        began.set()
        assert go_on.wait(10)
        connect(self)

    monkeypatch.setattr(aiomqtt.Client, "_client_connect", slow)

    async def scenario() -> None:
        faults: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
        leaving = client(listener.getsockname()[1])

        async def stay() -> None:
            async with leaving.connection():
                pass

        staying = asyncio.create_task(stay())
        assert await asyncio.to_thread(began.wait, 10)
        staying.cancel()
        await asyncio.wait([staying])
        go_on.set()
        broker_side, _ = await asyncio.to_thread(listener.accept)
        with broker_side:
            broker_side.settimeout(10)
            while await asyncio.to_thread(broker_side.recv, 1000):  # a login perhaps, and the end
                pass
        assert faults == []

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        asyncio.run(scenario())


@pytest.mark.parametrize("answer", [b"\x20\x02\x00\x01", b"", None], ids=["refused", "hangs up", "silent"])
def test_a_broker_that_does_not_know_mqtt_5_is_named_with_the_setting(
    answer: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.mqtt.client.TIMEOUT_S", 0.5)

    async def scenario() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(answer or b"")
            if answer is None:
                await reader.read(-1)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            ended.set()

        ended = asyncio.Event()
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            with pytest.raises(BrokerError, match=r"mqtt\.protocol"):
                await try_connection(Broker("127.0.0.1", server.sockets[0].getsockname()[1]))
            await ended.wait()

    asyncio.run(scenario())


def test_a_disconnection_that_nobody_asks_about_any_more_is_no_fault() -> None:
    """Such as that of a node which lost its shard: the client is left for another reason."""

    async def scenario() -> None:
        faults: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))

        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1000)
            writer.write(b"\x20\x03\0\0\0")  # CONNACK
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        async with server:
            leaving = client(server.sockets[0].getsockname()[1])
            with suppress(LostError):
                async with leaving.connection():
                    await asyncio.wait([leaving._disconnected], timeout=5)
                    raise LostError("another node owns the shard")
        del leaving
        gc.collect()
        assert faults == []

    asyncio.run(scenario())
