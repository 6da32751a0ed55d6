"""The vendor's cloud behind the bridge: whole messages both ways, and an answer of ours where it gives none."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from support.g90 import (
    ARMED_AWAY,
    COMMAND_STATUS,
    DISCOVERY,
    DISCOVERY_ANSWER,
    GUID,
    HELLO,
    HELLO_ANSWER,
    NEW_YEAR,
    NOTIFICATION,
    PATIENCE,
    PING,
    SMOKE_ALARM,
    Client,
    Recorder,
    cloud_control,
    dialled,
    run,
    serving,
    status,
)

from bridge.g90.upstream import Upstream
from bridge.g90.wire.messages import CommandResponse, build_response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bridge.g90.server import PanelServer


@asynccontextmanager
async def vendor(port: int = 0) -> AsyncIterator[tuple[Upstream, asyncio.Queue[Client]]]:
    """A vendor's cloud whose connections the test holds."""
    accepted: asyncio.Queue[Client] = asyncio.Queue()

    def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.put_nowait(Client(reader, writer))

    held = []
    server = await asyncio.start_server(take, "127.0.0.1", port)
    queue: asyncio.Queue[Client] = asyncio.Queue()

    async def hand_over() -> None:
        while True:
            client = await accepted.get()
            held.append(client)
            queue.put_nowait(client)

    task = asyncio.create_task(hand_over())
    try:
        yield upstream_at(server.sockets[0].getsockname()[1]), queue
    finally:
        task.cancel()
        server.close()
        for client in held:
            client.writer.transport.abort()
        await asyncio.wait([task])


@asynccontextmanager
async def chained(
    recorder: Recorder | None = None, announce: tuple[str, int] | None = None, **patience: float
) -> AsyncIterator[tuple[asyncio.Queue[Client], Client, PanelServer]]:
    """Yield the connections at a vendor's cloud, a panel that has connected to the server before it, and the server."""
    async with vendor() as (found, queue):
        upstream = upstream_at(found.port, **patience)
        async with (
            serving(recorder or Recorder(), upstream=upstream, announce=announce) as server,
            dialled(server.address) as panel,
        ):
            yield queue, panel, server


def upstream_at(port: int, **patience: float) -> Upstream:
    return Upstream(host="127.0.0.1", port=port, **{"first_pause": 0.05, "longest_pause": 0.1, **patience})


async def next_one(queue: asyncio.Queue[Client]) -> Client:
    async with asyncio.timeout(PATIENCE):
        return await queue.get()


def test_messages_go_both_ways_in_order_and_whole_and_we_only_listen() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        async with chained(recorder) as (queue, panel, _):
            cloud = await next_one(queue)
            sent = HELLO + bytes.fromhex("77 10 00 20 0b 00 00 00 01 02 03") + ARMED_AWAY + NOTIFICATION + PING
            await panel.send(sent, 5)
            assert await cloud.receive(len(sent)) == sent
            back = struct.pack("<BBBBi", 0x78, 0x20, 0, 0x10, 4008) + bytes(4000)
            await cloud.send(COMMAND_STATUS + back[:20])
            assert await panel.receive(len(COMMAND_STATUS)) == COMMAND_STATUS
            await cloud.send(back[20:], 700)
            assert await panel.receive(len(back)) == back
            await recorder.told("panel_online", "armed_away", "alarm")
            assert recorder.states[GUID].link.upstream_connected

    run(scenario())


def test_the_vendors_address_never_reaches_the_panel() -> None:
    async def scenario() -> None:
        async with chained(announce=("192.0.2.77", 5699)) as (queue, panel, _):
            cloud = await next_one(queue)
            await panel.send(HELLO + DISCOVERY)
            await cloud.receive(len(HELLO) + len(DISCOVERY))
            await cloud.send(HELLO_ANSWER + DISCOVERY_ANSWER)
            answer = await panel.receive(len(HELLO_ANSWER) + len(DISCOVERY_ANSWER))
            assert answer[:38] + answer[42:54] == HELLO_ANSWER[:38] + DISCOVERY_ANSWER[:12]
            assert struct.unpack("<i", answer[38:42]) == (5699,)
            assert answer[54:70].rstrip(b"\0") == b"192.0.2.77"
            assert struct.unpack("<2i", answer[78:86]) == (5699, NEW_YEAR)

    run(scenario())


def test_an_upstream_that_takes_no_connection_delays_no_alarm() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        with contextlib.ExitStack() as sockets:
            full, *fillers = [sockets.enter_context(socket.socket()) for _ in range(4)]
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            for filler in fillers:  # the backlog: further SYNs are swallowed
                filler.setblocking(False)  # noqa: FBT003 - positional alone
                filler.connect_ex(full.getsockname())
            upstream = upstream_at(full.getsockname()[1], connect_timeout=1)
            async with serving(recorder, upstream=upstream) as server, dialled(server.address) as panel:
                await panel.send(HELLO)
                delays = []
                for sensor in range(1, 6):  # the least of them: the machine may be busy
                    begun = asyncio.get_running_loop().time()
                    await panel.send(status(3, sensor, 4, 254, name="Smoke"))
                    await recorder.until(lambda r, count=sensor: r.types().count("alarm") == count)  # type: ignore[misc]
                    delays.append(asyncio.get_running_loop().time() - begun)
                assert min(delays) < 0.1
                assert (await panel.receive(42))[:26] == HELLO_ANSWER[:26]

    run(scenario())


def test_what_a_panel_sends_is_at_the_upstream_at_once() -> None:
    """From the panel's bytes in to the upstream's bytes out, for what is stored before and what is not."""

    async def scenario() -> None:
        async with chained() as (queue, panel, _):
            cloud = await next_one(queue)
            await panel.send(HELLO)
            await cloud.receive(len(HELLO))
            alarms = [status(3, 9, 4, 254, name="Smoke", time=NEW_YEAR + 30 * number) for number in range(5)]
            for messages in (alarms, [PING] * 5):
                delays = []
                for sent in messages:  # the least of them: the machine may be busy
                    begun = asyncio.get_running_loop().time()
                    await panel.send(sent)
                    assert await cloud.receive(len(sent)) == sent
                    delays.append(asyncio.get_running_loop().time() - begun)
                assert min(delays) < 0.1

    run(scenario())


def test_an_upstream_that_never_answers_is_answered_for_and_remembered() -> None:
    async def scenario() -> None:
        async with vendor() as (found, queue):
            upstream = upstream_at(found.port, patience=0.2)
            async with serving(Recorder(), upstream=upstream) as server:
                async with dialled(server.address) as panel:
                    cloud = await next_one(queue)
                    await panel.send(HELLO + PING)
                    assert (await panel.receive(42 + 8))[-8:] == PING
                    await cloud.receive(len(HELLO) + 8)
                    await cloud.send(HELLO_ANSWER + PING + COMMAND_STATUS)  # too late, but for the command
                    assert await panel.receive(len(COMMAND_STATUS)) == COMMAND_STATUS
                async with dialled(server.address) as panel:
                    cloud = await next_one(queue)
                    begun = asyncio.get_running_loop().time()
                    await panel.send(PING)
                    assert await panel.receive(8) == PING
                    assert asyncio.get_running_loop().time() - begun < 0.15
                    await cloud.receive(8)
                    await cloud.send(PING)  # in time: it is back
                    await cloud.send(COMMAND_STATUS)
                    assert await panel.receive(len(COMMAND_STATUS)) == COMMAND_STATUS
                    await panel.send(PING)
                    await cloud.receive(8)
                    await cloud.send(struct.pack("<BBBBi", 1, 0x10, 0, 0, 9) + b"!")
                    assert (await panel.receive(9))[-1:] == b"!"

    run(scenario())


def test_while_the_upstream_is_away_we_answer_and_when_it_is_back_it_does() -> None:
    async def scenario() -> None:
        async with vendor() as (upstream, _):
            pass
        async with serving(Recorder(), upstream=upstream) as server, dialled(server.address) as panel:
            await panel.send(HELLO)
            assert (await panel.receive(42))[:26] == HELLO_ANSWER[:26]
            async with vendor(upstream.port) as (_, queue):
                cloud = await next_one(queue)
                await panel.send(PING + HELLO)
                assert await cloud.receive(8 + len(HELLO)) == PING + HELLO
                await cloud.send(PING)
                assert await panel.receive(8) == PING
            assert (await panel.receive(42))[:26] == HELLO_ANSWER[:26]  # asked for and not answered
            await panel.send(PING[:3])
            await asyncio.sleep(0.2)
            await panel.send(PING[3:])
            assert await panel.receive(8) == PING

    run(scenario())


def test_a_lost_upstream_is_dialled_again_at_a_messages_beginning() -> None:
    async def scenario() -> None:
        async with chained() as (queue, panel, _):
            first = await next_one(queue)
            await panel.send(HELLO + ARMED_AWAY[:30])
            assert await first.receive(len(HELLO)) == HELLO
            first.writer.close()
            second = await next_one(queue)
            await panel.send(ARMED_AWAY[30:] + PING)
            assert await second.receive(len(ARMED_AWAY) + 8) == ARMED_AWAY + PING

    run(scenario())


def test_half_a_message_of_the_upstream_never_reaches_the_panel() -> None:
    async def scenario() -> None:
        async with chained() as (queue, panel, server):
            cloud = await next_one(queue)
            await panel.send(PING)
            await cloud.receive(8)
            await cloud.send(COMMAND_STATUS[:20])
            asked = asyncio.create_task(cloud_control(server, GUID).ask(100))
            await panel.send(HELLO)
            await cloud.receive(len(HELLO))
            asked.cancel()
            cloud.writer.close()
            assert (await panel.receive(8 + 42))[:8] == PING

    run(scenario())


def test_a_command_of_ours_and_its_response_beside_the_upstream() -> None:
    async def scenario() -> None:
        async with chained() as (queue, panel, server):
            cloud = await next_one(queue)
            await panel.send(HELLO)
            await cloud.receive(len(HELLO))
            await cloud.send(HELLO_ANSWER)
            await panel.receive(42)
            asked = asyncio.create_task(cloud_control(server, GUID).ask(100))
            command = await panel.receive(len(COMMAND_STATUS))
            assert command[12:] == COMMAND_STATUS[12:]
            answer = build_response(CommandResponse(int.from_bytes(command[10:12], "little"), 100, b"[100,[3]]"))
            await panel.send(answer)
            assert await asked == [3]
            assert await cloud.receive(len(answer)) == answer

    run(scenario())


def test_a_cloud_that_falls_silent_is_given_up_and_we_answer() -> None:
    async def scenario() -> None:
        async with chained(silence=0.3, first_pause=60) as (queue, panel, _):
            cloud = await next_one(queue)
            await panel.send(HELLO)
            await cloud.receive(len(HELLO))
            await cloud.closed()
            await panel.send(PING)
            assert (await panel.receive(42 + 8))[-8:] == PING

    run(scenario())


def test_a_cloud_that_takes_no_bytes_is_given_up_and_no_alarm_waits_for_it() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        big = struct.pack("<BBBBi", 0x77, 0x10, 0, 0x20, 60_000) + bytes(60_000 - 8)
        async with chained(recorder, write_timeout=0.3, first_pause=60) as (queue, panel, _):
            await next_one(queue)
            await panel.send(HELLO + big * 300 + SMOKE_ALARM + PING)
            assert (await panel.receive(42 + 8))[-8:] == PING
            assert recorder.types() == ["panel_online", "alarm"]

    run(scenario())
