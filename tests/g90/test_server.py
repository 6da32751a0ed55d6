"""The server over real sockets: answers, attribution, strangers, garbage, bounds, silence, commands."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest
from support.g90 import (
    ARMED_AWAY,
    DISCOVERY,
    GUID,
    HELLO,
    HELLO_ANSWER,
    NOTIFICATION,
    OTHER,
    PATIENCE,
    PING,
    SMOKE_ALARM,
    Recorder,
    cloud_control,
    dialled,
    known,
    run,
    serving,
    status,
)

from bridge.common.errors import StoreError
from bridge.g90.connection import CloudConnection
from bridge.g90.registry import PanelConfig, Refused
from bridge.g90.server import Limits, PanelServer
from bridge.g90.wire.commands import CommandTimeout, PanelCommandError
from bridge.g90.wire.messages import CommandResponse, build_response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bridge.g90.state.model import PanelState
    from bridge.g90.wire.events import PanelEvent

ANNOUNCE = ("192.0.2.10", 5678)
UNKNOWN = struct.pack("<BBBBi", 0x77, 0x10, 0, 0x20, 60_000) + bytes(60_000 - 8)
MUCH = 4 << 20
"""Bytes: far more than the buffers of two small sockets hold."""
OTHER_HELLO = HELLO.replace(GUID.encode(), OTHER.encode())


def test_hello_discovery_and_ping_are_answered_in_any_pieces() -> None:
    async def scenario() -> None:
        async with serving(Recorder(), announce=ANNOUNCE) as server:
            for piece in (None, 1, 5):
                async with dialled(server.address) as panel:
                    await panel.send(HELLO + DISCOVERY + PING, piece)
                    answer = await panel.receive(len(HELLO_ANSWER) + 44 + 8)
                    assert answer[:42] == HELLO_ANSWER
                    assert answer[42:54] == bytes.fromhex("01 d0 00 10 2c 00 00 00 01 00 00 00")
                    assert answer[54:70].rstrip(b"\0") == b"192.0.2.10"
                    assert answer[-8:] == PING

    run(scenario())


def test_a_panel_is_told_the_time_where_it_is_known() -> None:
    async def scenario() -> None:
        for known_time in (1_772_366_400, 0):
            told = serving(Recorder(), announce=ANNOUNCE, panel_time=partial(int, known_time))
            async with told as server, dialled(server.address) as panel:
                await panel.send(DISCOVERY)
                assert struct.unpack("<i", (await panel.receive(44))[-4:]) == (known_time,)

    run(scenario())


def test_without_an_announced_address_a_panel_is_told_what_it_dialled() -> None:
    async def scenario() -> None:
        async with serving(Recorder()) as server, dialled(server.address) as panel:
            await panel.send(HELLO + DISCOVERY)
            answer = await panel.receive(42 + 44)
            port = server.address[1].to_bytes(4, "little")
            assert answer[38:42] == port
            assert answer[54:70].rstrip(b"\0") == b"127.0.0.1"
            assert answer[78:82] == port

    run(scenario())


def test_a_smoke_alarm_told_twice_is_one_event_and_triggers() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        async with serving(recorder) as server, dialled(server.address) as panel:
            await panel.send(HELLO + ARMED_AWAY + NOTIFICATION + SMOKE_ALARM + PING, 5)
            await panel.receive(42 + 8)
            assert recorder.types() == ["panel_online", "armed_away", "alarm"]
            state = recorder.states[GUID]
            assert state.state == "triggered"
            assert state.sensors[9].type_name == "smoke"
            assert state.sensors[9].on

    run(scenario())


def test_reports_on_a_connection_without_hello_belong_to_the_panel_at_that_address() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        async with serving(recorder) as server:
            async with dialled(server.address) as panel:
                await panel.send(HELLO)
                await panel.receive(42)
            async with dialled(server.address) as panel:
                await panel.send(ARMED_AWAY)
                await recorder.told("armed_away")

    run(scenario())


def test_reports_of_nobody_or_of_one_of_two_change_nothing() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        async with serving(recorder, panels=known(GUID, OTHER)) as server:
            async with dialled(server.address) as nobody:
                await nobody.send(ARMED_AWAY + PING)
                await nobody.receive(8)
            async with dialled(server.address) as one, dialled(server.address) as two:
                await one.send(HELLO)
                await two.send(OTHER_HELLO)
                await one.receive(42)
                await two.receive(42)
                async with dialled(server.address) as either:
                    await either.send(ARMED_AWAY + PING)
                    await either.receive(8)
            assert recorder.refused == [(Refused.UNATTRIBUTED, None, "127.0.0.1")]
            assert {event.type.value for event in recorder.events} == {"panel_online"}

    run(scenario())


def test_a_stranger_is_named_once_and_changes_nothing_not_even_for_reports_without_hello() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        async with serving(recorder) as server, dialled(server.address) as ours:
            await ours.send(HELLO)
            await ours.receive(42)
            for _ in range(3):
                async with dialled(server.address) as stranger:
                    await stranger.send(OTHER_HELLO + SMOKE_ALARM + PING)
                    await stranger.receive(42 + 8)
            async with dialled(server.address) as stranger:
                await stranger.send(SMOKE_ALARM + PING)
                await stranger.receive(8)
            await ours.send(PING)
            await ours.receive(8)
            named = [refusal for refusal in recorder.refused if refusal[0] is Refused.UNKNOWN_PANEL]
            assert named == [(Refused.UNKNOWN_PANEL, OTHER, "127.0.0.1")]
            assert recorder.types() == ["panel_online"]
            assert set(recorder.states) == {GUID}

    run(scenario())


def test_unknown_panels_are_taken_where_the_setting_says_so() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        async with serving(recorder, panels={}, accept_unknown=True) as server, dialled(server.address) as panel:
            await panel.send(HELLO + ARMED_AWAY)
            await recorder.told("armed_away")
            assert server.registry.panels[GUID].state.state == "armed_away"

    run(scenario())


def test_a_guid_from_another_network_is_refused() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        config = PanelConfig(guid=GUID, address=ip_network("192.0.2.0/24"))
        async with serving(recorder, panels={GUID: config}) as server, dialled(server.address) as panel:
            await panel.send(HELLO + SMOKE_ALARM)
            await panel.closed()
            assert recorder.refused == [(Refused.WRONG_ADDRESS, GUID, "127.0.0.1")]
            assert recorder.events == []

    run(scenario())


@pytest.mark.parametrize("length", [-1, 0, 7, 65537, 2**31 - 1])
def test_an_impossible_length_ends_that_connection_alone(length: int) -> None:
    async def scenario() -> None:
        async with serving(Recorder()) as server, dialled(server.address) as ours, dialled(server.address) as probe:
            await ours.send(HELLO)
            await ours.receive(42)
            await probe.send(PING + b"\x01\x10\x00\x00" + length.to_bytes(4, "little", signed=True))
            assert await probe.closed() in (PING, b"")
            await ours.send(PING)
            assert await ours.receive(8) == PING

    run(scenario())


def test_messages_without_a_meaning_are_skipped_and_a_few_of_them_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bridge.g90")

    async def scenario() -> None:
        recorder = Recorder()
        garbage = [
            bytes.fromhex("99 10 00 20 08 00 00 00"),
            bytes.fromhex("22 10 00 20 10 00 00 00 01 00 00 00") + b"[17\0",
            status(9, 1),
            status(2, 77),
            HELLO.replace(GUID.encode(), b"not/a/topic+#!!"),
        ]
        async with serving(recorder) as server, dialled(server.address) as panel:
            await panel.send(HELLO + b"".join(garbage) + PING)
            await panel.receive(42 + 8)
            assert recorder.types() == ["panel_online"]

    run(scenario())
    assert caplog.text.count(": skipped ") == 3


@pytest.mark.parametrize("named", [GUID + " ", GUID + "X", "not/a/guid", ""])
def test_an_alert_with_an_odd_guid_is_the_panels_that_said_hello(named: str) -> None:
    async def scenario() -> None:
        recorder = Recorder()
        body = b'[208,[3,1200,1,254,"Attic smoke","%b",1767225600,0,[""]]]\0' % named.encode()
        frame = struct.pack("<BBBBiHH", 0x22, 0x10, 0, 0x20, 12 + len(body), 1, 0) + body
        async with serving(recorder) as server, dialled(server.address) as panel:
            await panel.send(HELLO + frame)
            await recorder.told("alarm")
            assert [event.sensor for event in recorder.events if event.type == "alarm"] == [1200]

    run(scenario())


def test_a_name_in_gbk_whose_last_byte_is_a_backslash_is_a_name() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        name = "\u8aa0".encode("gbk")  # ends in 0x5C
        assert name.endswith(b"\\")
        body = b'[208,[3,9,1,254,"%b","%b",1767225600,0,[""]]]\0' % (name, GUID.encode())
        frame = struct.pack("<BBBBiHH", 0x22, 0x10, 0, 0x20, 12 + len(body), 1, 0) + body
        async with serving(recorder) as server, dialled(server.address) as panel:
            await panel.send(HELLO + frame)
            await recorder.told("alarm")
            assert recorder.events[-1].name == "\u8aa0"

    run(scenario())


def test_a_second_connection_or_a_port_probe_cuts_nobody_off() -> None:
    async def scenario() -> None:
        async with serving(Recorder()) as server, dialled(server.address) as first, dialled(server.address) as second:
            await first.send(HELLO)
            await first.receive(42)
            await second.send(HELLO)
            await second.receive(42)
            async with dialled(server.address):
                pass
            for panel in (first, second, first):
                await panel.send(PING)
                assert await panel.receive(8) == PING

    run(scenario())


def test_one_address_of_strangers_holds_few_connections_panels_as_many_as_fit() -> None:
    async def scenario() -> None:
        limits = Limits(per_stranger_address=2, max_connections=4)
        serving_few = serving(Recorder(), limits=limits)
        async with serving_few as server, dialled(server.address) as one, dialled(server.address) as two:
            await one.send(PING)
            await one.receive(8)
            await two.send(PING)
            await two.receive(8)
            async with dialled(server.address) as third:
                assert await third.closed() == b""
            await one.send(HELLO)
            await one.receive(42)
            async with dialled(server.address) as fourth:
                await fourth.send(HELLO)
                await fourth.receive(42)

    run(scenario())


def test_a_full_server_drops_strangers_for_a_panel() -> None:
    async def scenario() -> None:
        async with (
            serving(Recorder(), limits=Limits(per_stranger_address=9, max_connections=1)) as server,
            dialled(server.address) as stranger,
        ):
            await stranger.send(PING)
            await stranger.receive(8)
            async with dialled(server.address) as panel:
                await panel.send(HELLO)
                await panel.receive(42)
                await stranger.closed()

    run(scenario())


def test_idle_connections_are_closed_and_bytes_that_complete_nothing_do_not_count() -> None:
    async def scenario() -> None:
        async with serving(Recorder(), limits=Limits(idle_timeout=0.3)) as server, dialled(server.address) as panel:
            await panel.send(PING[:4])
            assert await panel.closed() == b""

    run(scenario())


def test_a_silent_panel_goes_offline_and_comes_back() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        async with serving(recorder, limits=Limits(offline_after=0.2)) as server, dialled(server.address) as panel:
            await panel.send(HELLO)
            await recorder.told("panel_online", "panel_offline")
            assert recorder.states[GUID].link.online is False
            before = len(recorder.events)
            await panel.send(PING)
            await recorder.until(lambda r: len(r.events) > before)
            assert recorder.types()[before] == "panel_online"

    run(scenario())


def test_a_panel_never_heard_of_is_said_to_be_offline() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        async with serving(recorder, limits=Limits(offline_after=0.2)):
            await recorder.told("panel_offline")

    run(scenario())


class Failing(Recorder):
    """A handler whose store fails the first time."""

    failures = 1

    async def panel_changed(self, state: PanelState, events: tuple[PanelEvent, ...]) -> None:
        if self.failures and events and events[-1].type == "alarm":
            self.failures -= 1
            raise StoreError("the disk is full")
        await super().panel_changed(state, events)


def test_what_could_not_be_stored_is_offered_again_before_the_next_message() -> None:
    async def scenario() -> None:
        recorder = Failing()
        async with serving(recorder) as server, dialled(server.address) as panel:
            await panel.send(HELLO + SMOKE_ALARM + status(2, 3) + PING)
            await panel.receive(42 + 8)
            assert recorder.types() == ["panel_online", "alarm", "disarmed"]

    run(scenario())


def test_an_alarm_on_a_connection_that_closes_at_once_is_told() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        async with serving(recorder) as server:
            async with dialled(server.address) as panel:
                await panel.send(HELLO + SMOKE_ALARM + status(2, 3))
            await recorder.told("alarm", "disarmed")

    run(scenario())


def test_a_stop_closes_connections_and_frees_the_port() -> None:
    async def scenario() -> None:
        async with serving(Recorder()) as server, dialled(server.address) as panel:
            await panel.send(PING)
            await panel.receive(8)
            address = server.address
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(panel.closed())
                for task in asyncio.all_tasks():
                    if "PanelServer.run" in repr(task.get_coro()):
                        task.cancel()
        async with serving(Recorder(), port=address[1]) as again:
            assert again.address == address

    run(scenario())


def test_a_taken_port_is_reported_and_tried_again_until_it_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.g90.server._LISTEN_AGAIN_S", 0.01)
    found: list[str | None] = []

    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            server = PanelServer(Recorder(), host="127.0.0.1", port=port, on_listening=found.append)
            running = asyncio.create_task(server.run())
            while len(found) < 2:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.01)
            assert not server.started.is_set()
            assert set(found) == {f"cannot listen for panels on 127.0.0.1:{port}: Address already in use"}
        await server.started.wait()
        assert found[-1] is None
        running.cancel()
        await asyncio.wait([running])

    run(scenario())


@pytest.mark.parametrize("older", [False, True])
def test_a_cloud_command_goes_to_the_newest_connection_and_is_answered_on_any(
    older: bool,  # noqa: FBT001 - a case
) -> None:
    """It is matched by sequence and code, and by the panel: another one answers nothing."""

    async def scenario() -> None:
        async with (
            serving(Recorder(), panels=known(GUID, OTHER)) as server,
            dialled(server.address) as old,
            dialled(server.address) as new,
            dialled(server.address) as other,
        ):
            for panel, hello in ((old, HELLO), (new, HELLO), (other, OTHER_HELLO)):
                await panel.send(hello)
                await panel.receive(42)
            asked = asyncio.create_task(cloud_control(server, GUID).ask(101, [1]))
            command = await new.receive(32)
            assert command[:8] == bytes.fromhex("29 50 00 10 20 00 00 00")
            assert command[12:] == bytes.fromhex("02 00 65 00 65 00 05 00 00 00") + b"[101,[1]]\0"
            sequence = int.from_bytes(command[10:12], "little")
            await other.send(build_response(CommandResponse(sequence, 101, b"[101,[9]]")) + PING)
            assert await other.receive(8) == PING
            panel = old if older else new
            await panel.send(build_response(CommandResponse(sequence + 1, 101, b"[101,[9]]")))
            await panel.send(build_response(CommandResponse(sequence, 100, b"[100,[9]]")))
            await panel.send(build_response(CommandResponse(sequence, 101, b"[101,[1]]")))
            assert await asked == [1]

    run(scenario())


def test_a_cloud_command_is_asked_again_and_then_times_out() -> None:
    async def scenario() -> None:
        async with serving(Recorder()) as server, dialled(server.address) as panel:
            with pytest.raises(PanelCommandError, match="not connected"):
                await cloud_control(server, GUID).ask(100)
            await panel.send(HELLO)
            await panel.receive(42)
            control = cloud_control(server, GUID, timeout=0.1, retries=1)
            with pytest.raises(CommandTimeout, match="sent 2 times"):
                await control.status()
            assert len(await panel.receive(2 * 23)) == 46

    run(scenario())


def test_one_physical_event_is_one_event_also_when_the_bridge_is_killed_between_its_forms() -> None:
    async def scenario() -> None:
        before, after = Recorder(), Recorder()
        async with serving(before) as server, dialled(server.address) as panel:
            await panel.send(HELLO + SMOKE_ALARM)
            await before.told("alarm")
        async with serving(after, states=before.states) as server, dialled(server.address) as panel:
            await panel.send(NOTIFICATION + PING)
            await panel.receive(8)
            assert after.events == []
            assert server.registry.panels[GUID].state.state == "triggered"
            assert server.registry.panels[GUID].state.sensors[9].name == "Kitchen smoke"

    run(scenario())


def test_two_forms_at_once_on_two_connections_are_one_event() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        async with serving(recorder) as server, dialled(server.address) as one, dialled(server.address) as two:
            await asyncio.gather(one.send(HELLO + NOTIFICATION + PING, 1), two.send(HELLO + SMOKE_ALARM + PING, 1))
            await asyncio.gather(one.receive(50), two.receive(50))
            assert recorder.types() == ["panel_online", "alarm"]

    run(scenario())


def test_nothing_is_ever_sent_to_a_panel_that_did_not_ask() -> None:
    async def scenario() -> None:
        async with serving(Recorder()) as server, dialled(server.address) as panel:
            await panel.send(HELLO + ARMED_AWAY + SMOKE_ALARM + NOTIFICATION + PING)
            panel.writer.write_eof()
            assert len(await panel.closed()) <= 42 + 8

    run(scenario())


@asynccontextmanager
async def narrow(address: tuple[str, int]) -> AsyncIterator[socket.socket]:
    """Connect with small buffers and segments: whoever is not read by the other side soon has to wait."""
    with socket.socket() as peer:
        peer.setblocking(False)  # noqa: FBT003 - as it is
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        await asyncio.get_running_loop().sock_connect(peer, address)
        yield peer


async def pushed(peer: socket.socket, message: bytes) -> int:
    """Send a message again and again until the other side takes no more; return the bytes that it took."""
    sent = waited = 0
    while sent < MUCH and waited < 50:
        try:
            sent += peer.send((message + message * (4096 // len(message)))[sent % len(message) :])
            waited = 0
        except BlockingIOError:
            waited += 1
            await asyncio.sleep(0.01)
    return sent


def test_a_panel_that_takes_no_answers_is_not_read_until_it_does() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with (
            serving(Recorder()) as server,
            narrow(server.address) as deaf,
            dialled(server.address) as ours,
        ):
            sent = await pushed(deaf, PING)
            assert sent < MUCH
            await ours.send(PING)
            assert await ours.receive(8) == PING
            answers = 0
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)  # now it reads as fast as it can
            async with asyncio.timeout(5 * PATIENCE):
                while answers < sent // 8 * 8:
                    answers += len(await loop.sock_recv(deaf, 65536))

    run(scenario())


def test_a_storm_of_panels_leaves_few_tasks_and_these_work_on() -> None:
    """A panel that waits for its event to be stored has a task, and keeps none."""

    async def scenario() -> None:
        recorder = Recorder()
        hellos = {guid: HELLO.replace(GUID.encode(), guid.encode()) for guid in (f"GSTORM{n:09}" for n in range(100))}
        limits = Limits(per_stranger_address=len(hellos))
        async with serving(recorder, panels=known(*hellos), limits=limits) as server:
            connections = {guid: CloudConnection(server) for guid in hellos}
            for connection in connections.values():
                connection.connection_made(Wire())
            for event, messages in (("panel_online", hellos), ("armed_away", dict.fromkeys(hellos, ARMED_AWAY))):
                async with recorder.changed:  # nothing is stored meanwhile
                    for guid, connection in connections.items():
                        connection.data_received(messages[guid])
                    await asyncio.sleep(0.05)
                    assert len(workers()) == len(hellos)
                await recorder.until(lambda r, e=event: [each.type for each in r.events].count(e) == len(hellos))  # type: ignore[misc]
                await asyncio.sleep(0.05)
                assert 0 < len(workers()) <= 40
            for connection in connections.values():
                connection.connection_lost(None)

    def workers() -> list[str]:
        return [name for task in asyncio.all_tasks() if "worker" in (name := task.get_name())]

    run(scenario())


class Wire(asyncio.Transport):
    """A transport that keeps what is written, write by write."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.7", 1), "sockname": ANNOUNCE})
        self.written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass


def test_the_answers_to_one_segment_are_one_write() -> None:
    """From Python 3.12 on a full transport sums its writes at each of them: many small ones would take a second."""

    async def scenario() -> None:
        recorder = Recorder()
        async with serving(recorder) as server:
            wire, connection = Wire(), CloudConnection(server)
            connection.connection_made(wire)
            for greeted in (False, True):
                connection.data_received(PING * 1000)
                assert [len(each) for each in wire.written] == [8000]
                wire.written.clear()
                if not greeted:
                    connection.data_received(HELLO + PING + HELLO + PING)
                    await recorder.told("panel_online")
                    await asyncio.sleep(0)
                    assert wire.written == [2 * (HELLO_ANSWER + PING)]
                    wire.written.clear()
            connection.data_received(PING)
            connection.close()
            assert wire.written == [PING]
            connection.connection_lost(None)

    run(scenario())


class Slow(Recorder):
    """A handler that takes an alarm only when the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.let = asyncio.Event(), asyncio.Event()

    async def panel_changed(self, state: PanelState, events: tuple[PanelEvent, ...]) -> None:
        if any(event.type == "alarm" for event in events):
            self.asked.set()
            await self.let.wait()
        await super().panel_changed(state, events)


def test_the_second_form_waits_for_the_first_and_other_panels_do_not() -> None:
    async def scenario() -> None:
        recorder = Slow()
        async with (
            serving(recorder, panels=known(GUID, OTHER)) as server,
            dialled(server.address) as one,
            dialled(server.address) as two,
            dialled(server.address) as other,
        ):
            await one.send(HELLO + SMOKE_ALARM + PING)
            await recorder.asked.wait()
            await two.send(NOTIFICATION + PING)
            await other.send(OTHER_HELLO + ARMED_AWAY + PING)
            await other.receive(42 + 8)
            recorder.let.set()
            await two.receive(8)
            assert recorder.types() == ["panel_online", "alarm"]
            assert recorder.types(OTHER) == ["panel_online", "armed_away"]

    run(scenario())


def test_a_panel_whose_alarm_took_long_to_store_was_not_silent() -> None:
    """A full disk holds up its pings, too; once there is room again, `panel_offline` would be a false alarm."""

    async def scenario() -> None:
        recorder = Slow()
        async with serving(recorder, limits=Limits(offline_after=1.0)) as server, dialled(server.address) as panel:
            await panel.send(HELLO + SMOKE_ALARM + PING)
            await recorder.asked.wait()
            await asyncio.sleep(2.0)
            recorder.let.set()
            await panel.receive(42 + 8)
            assert recorder.types() == ["panel_online", "alarm"]

    run(scenario())


def test_a_flood_while_an_alarm_is_stored_stays_in_the_panels_socket(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bridge.g90")

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        recorder = Slow()
        async with serving(recorder) as server, narrow(server.address) as panel:
            await loop.sock_sendall(panel, HELLO + SMOKE_ALARM)
            await recorder.asked.wait()
            sent = await pushed(panel, UNKNOWN)
            assert sent < MUCH
            recorder.let.set()
            async with asyncio.timeout(PATIENCE):
                await loop.sock_sendall(panel, UNKNOWN[sent % len(UNKNOWN) :] + UNKNOWN * 3 + PING)
                answers = b""
                while len(answers) < 42 + 8:
                    answers += await loop.sock_recv(panel, 4096)
            assert answers[42:] == PING

    run(scenario())
    assert caplog.text.count(": skipped ") == 3


def test_the_same_status_change_again_is_no_event_but_after_another_report_it_may_be_one() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        opened, closed = (status(4, 7, 1, state, name="Front door") for state in (1, 0))
        async with serving(recorder) as server, dialled(server.address) as panel:
            await panel.send(HELLO)
            await panel.receive(42)
            for frame in (opened, opened, opened, closed, opened, opened):
                await panel.send(frame)
                await panel.send(PING)
                await panel.receive(8)
            assert recorder.types() == ["panel_online", "door_opened", "door_closed", "door_opened"]
            unset = status(4, 4, 10, 0, name="Key fob", time=0)
            for frame in (unset, unset):
                await panel.send(frame)
                await panel.send(PING)
                await panel.receive(8)
            assert recorder.types()[4:] == ["remote_button"] * 2

    run(scenario())
