"""What the benches share: a broker, a receiver that notes arrivals, the contenders' processes, a client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiomqtt
from support.brokers import Mosquitto
from support.processes import Bridge

PASSWORD = "012345678912345"
ALARM = (
    '<?xml version="1.0" encoding="ISO-8859-1"?>\n<alarmrequest><reference>{reference}</reference>'
    f"<authentication>{PASSWORD}</authentication><receiver>ALARM-OPER</receiver>"
    "<transmittertime>2026-01-31 06:30:00.123</transmittertime><alarmtype>AL</alarmtype>"
    "<transmittertype>SV300</transmittertype><transmittercode>{code}</transmittercode>"
    "<eventcode>BA</eventcode></alarmrequest>"
)
_ANSWER = (
    b'<?xml version="1.0" encoding="ISO-8859-1"?>\n<%(kind)sresponse><status>0</status><info>OK</info>'
    b"<arrivaltime>2026-01-31 06:30:00.200</arrivaltime></%(kind)sresponse>"
)
_WAIT_S = 300.0
_TICKS = os.sysconf("SC_CLK_TCK")


class Meter:
    """A receiver that answers at once, or after `answer_s`, and notes when each alarm was whole."""

    def __init__(self, answer_s: float = 0.0) -> None:
        self.answer_s = answer_s
        self.port = 0
        self.arrived: dict[str, float] = {}
        """By reference, when its XML was here."""
        self.pinged: set[bytes] = set()
        """Who sent a heartbeat or ping, by transmitter code."""
        self._one_pinged = asyncio.Event()
        self._expected = 0
        self._here = asyncio.Event()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Meter]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1000)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    def expect(self, count: int) -> None:
        self.arrived.clear()
        self._expected = count
        self._here.clear()

    async def last(self) -> float:
        """Wait for the last alarm that is expected, and return when it came."""
        async with asyncio.timeout(_WAIT_S):
            await self._here.wait()
        return max(self.arrived.values())

    async def heard(self, enough: Callable[[set[bytes]], bool], within: float = _WAIT_S) -> None:
        """Wait until those who have sent a heartbeat or ping are enough."""
        async with asyncio.timeout(within):
            while not enough(self.pinged):
                self._one_pinged.clear()
                await self._one_pinged.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"request>") + await reader.readuntil(b"request>")
        except (asyncio.IncompleteReadError, OSError):  # a check, or a transmitter that gave up
            writer.close()
            return
        now = time.perf_counter()
        kind = b"alarm" if b"<alarmrequest>" in request else b"ping"
        if kind == b"alarm":
            self.arrived[request.split(b"reference>")[1][:-2].decode()] = now
            if len(self.arrived) == self._expected:
                self._here.set()
        else:
            self.pinged.add(request.split(b"transmittercode>")[1][:-2])
            self._one_pinged.set()
        if self.answer_s:
            await asyncio.sleep(self.answer_s)
        writer.write(_ANSWER % {b"kind": kind})
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@dataclass(frozen=True, slots=True)
class Contender:
    """Who takes alarms from MQTT to the receiver, and what it says of it."""

    name: str
    topic: str
    """With the transmitter's name in it."""
    done: str
    """The topic that tells of each alarm that is through."""


BRIDGE = Contender("the bridge", "bench/transmitter/{}/alarm/raise", "bench/transmitter/+/alarm/response")
RELAY = Contender("a bare relay", "relay/{}/raise", "relay/done")
NAIVE = Contender("a naive script", "naive/{}/raise", "naive/done")


@dataclass
class Desk:
    """The client that publishes alarms and hears who is through."""

    client: aiomqtt.Client
    port: int
    meter: Meter
    messages: AsyncIterator[aiomqtt.Message] = field(init=False)
    sent: int = 0

    def __post_init__(self) -> None:
        self.messages = self.client.messages

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, broker: int, meter: Meter) -> AsyncIterator[Desk]:
        at_once = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
        version = aiomqtt.ProtocolVersion.V5
        client = aiomqtt.Client("127.0.0.1", broker, protocol=version, socket_options=at_once, timeout=_WAIT_S)
        client.pending_calls_threshold = 1_000_000
        async with client:
            yield cls(client, broker, meter)

    async def hear(self, topic: str, wanted: bytes) -> None:
        """Wait until `topic` holds `wanted`."""
        await self.client.subscribe(topic, qos=1)
        async with asyncio.timeout(_WAIT_S):
            while (await anext(self.messages)).payload != wanted:
                pass
        await self.client.unsubscribe(topic)

    async def through(self, count: int) -> None:
        """Wait until so many alarms are told as done."""
        async with asyncio.timeout(_WAIT_S):
            for _ in range(count):
                await anext(self.messages)

    async def burst(self, contender: Contender, count: int, names: Sequence[str]) -> float:
        """Publish alarms of `names` in turn at once; return the time from the first to the last XML."""
        self.meter.expect(count)
        began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for number in range(count):
                tasks.create_task(self._publish(contender, names[number % len(names)]))
        took = await self.meter.last() - began
        await self.through(count)
        return took

    async def _publish(self, contender: Contender, name: str) -> None:
        self.sent += 1
        payload = json.dumps({"event_code": "BA", "reference": f"ref{self.sent}"})
        await self.client.publish(contender.topic.format(name), payload, qos=1)


@contextlib.contextmanager
def broker() -> Iterator[tuple[Mosquitto, Path]]:
    """A broker and an empty folder. Without Nagle's algorithm, whose 40 ms would hide what the contenders take."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "broker").mkdir()
        lines = ["allow_anonymous true", "set_tcp_nodelay true"]
        with Mosquitto(folder / "broker", general=lines) as running:
            yield running, folder


def bridge(folder: Path, broker: int, receiver: int, names: Sequence[str], more: str = "") -> Bridge:
    """A bridge with these transmitters, not started; `more` is added to its file."""
    config = folder / "bridge.toml"
    lines = [
        f'mqtt = {{host = "127.0.0.1", port = {broker}, base_topic = "bench"}}',
        f'store = {{path = "{folder}/bridge.db"}}',
    ]
    for name in names:
        lines += [
            "[[transmitters]]",
            f'name = "{name}"\ntransmitter_code = "{name}"\ntransmitter_type = "SV300"',
            f'authentication = "{PASSWORD}"\nreceiver_id = "ALARM-OPER"',
            f'receiver = "127.0.0.1:{receiver}"\nuse_single_receiver = true',
        ]
    config.write_text("\n".join([*lines, more]))
    return Bridge(config, folder / "bridge.log")


@contextlib.contextmanager
def running(*contenders: Bridge | Sequence[str]) -> Iterator[None]:
    """Bridges, and modules of ours with their arguments, in processes that end with this."""
    with contextlib.ExitStack() as stack:
        for each in contenders:
            if isinstance(each, Bridge):
                each.start()
                stack.callback(each.kill)
            else:
                process = stack.enter_context(subprocess.Popen([sys.executable, "-P", "-m", *each]))
                stack.callback(process.kill)
        yield


def resident(pid: int) -> int:
    """Return the bytes of memory that a process takes."""
    return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * resource.getpagesize()


def together(pids: Sequence[int]) -> int:
    """Return the bytes of memory that processes of one program take: what they share of files counts once."""
    shared = [_rolled_up(pid, "Shared_Clean") for pid in pids]
    return sum(map(resident, pids)) - sum(shared) + max(shared)


def _rolled_up(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def processor_s(pid: int) -> float:
    """Return the processor time that a process has taken."""
    return sum(map(int, _stat(pid)[11:13])) / _TICKS


def family_processor_s(pid: int) -> float:
    """Return the processor time that a process has taken with its children, living and ended."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    return sum(map(int, _stat(pid)[11:15])) / _TICKS + sum(processor_s(int(child)) for child in children)


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
