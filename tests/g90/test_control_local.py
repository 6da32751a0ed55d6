"""Commands over UDP: what is asked, asked again, and not believed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest
from support.g90 import GUID, PATIENCE, run

from bridge.common.errors import FieldError
from bridge.g90.control_local import LocalControl
from bridge.g90.simulator import PanelSimulator, SimulatedSensor
from bridge.g90.wire.commands import CommandRefused, CommandTimeout
from bridge.g90.wire.constants import ArmCode

Answer = Callable[[bytes, asyncio.DatagramTransport, tuple[str, int]], None]


class Answers(asyncio.DatagramProtocol):
    """A panel that answers as the test says."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: asyncio.Queue[bytes] = asyncio.Queue()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.asked.put_nowait(data)
        self.answer(data, self.transport, addr)


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[tuple[LocalControl, Answers]]:
    loop = asyncio.get_running_loop()
    transport, panel = await loop.create_datagram_endpoint(lambda: Answers(answer), local_addr=("127.0.0.1", 0))
    try:
        yield LocalControl(*transport.get_extra_info("sockname")[:2], timeout=0.3, retries=2), panel
    finally:
        transport.close()


STATUS = b'ISTART[100,[3,"","G90","206","206"]]IEND\0'


def test_status_arming_info_and_every_sensor_of_a_simulated_panel() -> None:
    async def scenario() -> None:
        sensors = [SimulatedSensor(n, f"Door {n}") for n in range(23)] + [SimulatedSensor(30, "Wired", nodes=3)]
        simulator = PanelSimulator(GUID, local=("127.0.0.1", 0), sensors=sensors)
        task = asyncio.create_task(simulator.run())
        try:
            await asyncio.wait_for(simulator.listening.wait(), PATIENCE)
            assert simulator.local is not None
            control = LocalControl(*simulator.local)
            assert (await control.status()).arm is ArmCode.DISARMED
            await control.arm_away()
            assert simulator.arm_state is ArmCode.ARMED_AWAY
            await control.arm_home()
            assert (await control.status()).arm is ArmCode.ARMED_HOME
            await control.disarm()
            assert (await control.host_info()).guid == GUID
            names = [s.name for s in await control.sensors()]
            assert names == [*(f"Door {n}" for n in range(23)), "Wired#1", "Wired#2", "Wired#3"]
        finally:
            task.cancel()
            await asyncio.wait([task])

    run(scenario())


def test_a_lost_answer_is_asked_for_again() -> None:
    async def scenario() -> None:
        seen: list[bytes] = []

        def second_time(data: bytes, transport: asyncio.DatagramTransport, addr: tuple[str, int]) -> None:
            seen.append(data)
            if len(seen) == 2:
                transport.sendto(STATUS, addr)

        async with answering(second_time) as (control, _):
            assert (await control.status()).arm is ArmCode.DISARMED
            assert seen == [b'ISTART[100,100,""]IEND\0'] * 2

    run(scenario())


def test_no_answer_at_all_is_a_timeout_that_says_so() -> None:
    async def scenario() -> None:
        async with answering(lambda *_: None) as (control, panel):
            with pytest.raises(
                CommandTimeout, match=r'did not answer the command "arm or disarm" within .* s, sent 3 times'
            ):
                await control.disarm()
            assert panel.asked.qsize() == 3

    run(scenario())


def test_nobody_listening_is_a_timeout_too() -> None:
    async def scenario() -> None:
        async with answering(lambda *_: None) as (control, _):
            pass
        with pytest.raises(CommandTimeout):
            await control.status()

    run(scenario())


def test_answers_to_something_else_garbage_and_other_senders_are_not_believed() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        other, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))

        def noisy(data: bytes, transport: asyncio.DatagramTransport, addr: tuple[str, int]) -> None:
            other.sendto(STATUS.replace(b"[3,", b"[1,"), addr)
            for noise in (b"", b"garbage", b"ISTART[100,[1", b"ISTART{IEND\0", b"ISTART[101,[1]]IEND\0", STATUS):
                transport.sendto(noise, addr)

        async with answering(noisy) as (control, panel):
            assert (await control.status()).arm is ArmCode.DISARMED
            assert panel.asked.qsize() == 1
        other.close()

    run(scenario())


@pytest.mark.parametrize("text", [b"ISTARTfailIEND\0", b"ISTARTerror101,1IEND\0"])
def test_a_refusal_is_told_at_once(text: bytes) -> None:
    async def scenario() -> None:
        async with answering(lambda _data, transport, addr: transport.sendto(text, addr)) as (control, panel):
            with pytest.raises(CommandRefused):
                await control.arm_away()
            assert panel.asked.qsize() == 1

    run(scenario())


def test_commands_to_one_panel_go_one_at_a_time() -> None:
    async def scenario() -> None:
        open_requests = 0

        def slow(data: bytes, transport: asyncio.DatagramTransport, addr: tuple[str, int]) -> None:
            nonlocal open_requests
            open_requests += 1
            assert open_requests == 1

            def done() -> None:
                nonlocal open_requests
                open_requests -= 1
                transport.sendto(b"ISTARTIEND\0", addr)

            asyncio.get_running_loop().call_later(0.02, done)

        async with answering(slow) as (control, panel):
            await asyncio.gather(*(control.disarm() for _ in range(5)))
            assert panel.asked.qsize() == 5

    run(scenario())


def test_a_panel_is_pointed_at_an_address_never_at_a_name() -> None:
    async def scenario() -> None:
        async with answering(lambda *_: None) as (control, panel):
            await control.point_at("192.0.2.10", 5678)
            sent = await asyncio.wait_for(panel.asked.get(), PATIENCE)
            assert sent == b'ISTART[0,100,"AT^IWT=1,78=192.0.2.10&192.0.2.10&5678,IWT"]IEND\0'
            with pytest.raises(FieldError, match="IPv4"):
                await control.point_at('x"]IEND', 5678)

    run(scenario())


def test_a_cancelled_command_leaves_no_socket_behind() -> None:
    async def scenario() -> None:
        async with answering(lambda *_: None) as (control, panel):
            task = asyncio.create_task(control.status())
            await asyncio.wait_for(panel.asked.get(), PATIENCE)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(scenario())
