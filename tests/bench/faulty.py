"""Receivers that fail in every way on real sockets, and a bridge between them and a real broker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import aiomqtt
from bench.kit import PASSWORD
from support.brokers import Mosquitto, free_port
from support.processes import Bridge

_ANSWER = (
    '<?xml version="1.0" encoding="ISO-8859-1"?>\n<{0}response><status>{1}</status><info>OK</info>'
    "<arrivaltime>2026-01-31 06:30:00.200</arrivaltime></{0}response>"
)
_WAIT_S = 900.0


Answer = Callable[[str, str], int | None]
"""The status for a message: `kind` is alarm or ping, with its event code; None: silence."""


class Receiver:
    """Answers as `answer` says, after `answer_s`; it may also be away, or take no connections."""

    def __init__(self) -> None:
        self.port = free_port()
        self.answer: Answer = lambda *_: 0
        self.answer_s = 0.005
        self.accepted: dict[str, float] = {}
        """By reference, when its answer went out."""
        self.messages: list[tuple[float, str, str]] = []
        self._stack = AsyncExitStack()
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self) -> None:
        await self.away()
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=1000)
        self._stack.callback(server.close)

    async def away(self) -> None:
        """Refuse connections."""
        await self._stack.aclose()
        for task in list(self._tasks):
            task.cancel()

    async def drop(self) -> None:
        """Take no connections, as a host that is off: the queue of the port is full."""
        await self.away()
        listener = self._stack.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(0)
        for _ in range(3):
            waiting = self._stack.enter_context(socket.socket())
            waiting.setblocking(False)  # noqa: FBT003 - its only parameter
            waiting.connect_ex(listener.getsockname())
        await asyncio.sleep(0.05)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            request = (await reader.readuntil(b"request>") + await reader.readuntil(b"request>")).decode("latin-1")
            kind = "alarm" if "<alarmrequest>" in request else "ping"
            status = self.answer(kind, _element(request, "eventcode"))
            self.messages.append((time.perf_counter(), kind, _element(request, "reference")))
            await asyncio.sleep(self.answer_s if status is not None else 3600)
            writer.write(_ANSWER.format(kind, status).encode())
            await writer.drain()
            if kind == "alarm" and status == 0:
                self.accepted.setdefault(_element(request, "reference"), time.perf_counter())
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


def _element(request: str, name: str) -> str:
    return request.split(f"<{name}>")[1].split("<", maxsplit=1)[0] if f"<{name}>" in request else ""


class Site:
    """A bridge with two receivers."""

    client: aiomqtt.Client

    def __init__(self, broker: int, folder: Path, base: str) -> None:
        self.primary, self.secondary = Receiver(), Receiver()
        self.base = base
        self.folder = folder
        self.sent: dict[str, float] = {}
        self.seen: list[tuple[float, str, str]] = []
        """Messages of the bridge: when, topic, payload."""
        self.bridge = Bridge(folder / "bridge.toml", folder / "bridge.log")
        self._broker = broker

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, *, start: bool = True, **settings: object) -> AsyncIterator[Site]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "broker").mkdir()
            with Mosquitto(folder / "broker", general=["allow_anonymous true", "set_tcp_nodelay true"]) as broker:
                site = cls(broker.port, folder, "bench")
                async with AsyncExitStack() as stack:
                    for receiver in (site.primary, site.secondary):
                        await receiver.listen()
                        stack.push_async_callback(receiver.away)
                    site.client = await stack.enter_async_context(aiomqtt.Client("127.0.0.1", broker.port))
                    await site.client.subscribe("bench/#", qos=1)
                    listening = asyncio.create_task(site._listen())
                    stack.callback(listening.cancel)
                    site.configure(**settings)
                    stack.callback(site.bridge.kill)
                    if start:
                        await site.start()
                    yield site

    def configure(self, **settings: object) -> None:
        lines = [
            f'mqtt = {{host = "127.0.0.1", port = {self._broker}, base_topic = "{self.base}"}}',
            f'store = {{path = "{self.folder}/bridge.db"}}',
            "[[transmitters]]",
            'name = "home"\ntransmitter_code = "IK1"\ntransmitter_type = "SV300"',
            f'authentication = "{PASSWORD}"\nreceiver_id = "ALARM-OPER"',
            f'receiver = "127.0.0.1:{self.primary.port}"\nsecondary_receiver = "127.0.0.1:{self.secondary.port}"',
            *(f"{name} = {json.dumps(value)}" for name, value in settings.items()),
        ]
        self.bridge.config.write_text("\n".join(lines))

    async def start(self) -> None:
        """Start the bridge and wait until it is online and has checked both receivers."""
        self.bridge.start()
        await self.until(lambda topic, payload: topic.endswith("bridge/state") and payload == "online")
        await asyncio.sleep(3.0)

    async def _listen(self) -> None:
        async for message in self.client.messages:
            payload = bytes(message.payload).decode() if isinstance(message.payload, bytes) else ""
            self.seen.append((time.perf_counter(), str(message.topic), payload))

    async def until(self, wanted: Callable[[str, str], bool], after: int = 0, within: float = _WAIT_S) -> float:
        """Return when the first message that fits came."""
        async with asyncio.timeout(within):
            while True:
                for at, topic, payload in self.seen[after:]:
                    if wanted(topic, payload):
                        return at
                await asyncio.sleep(0.01)

    async def publish(self, *references: str, code: str = "FA", **fields: object) -> None:
        """Publish alarms at once."""
        for reference in references:
            self.sent[reference] = time.perf_counter()
            payload = json.dumps({"event_code": code, "reference": reference, **fields})
            await self.client.publish(f"{self.base}/transmitter/home/alarm/raise", payload, qos=1)

    async def took(self, *references: str, within: float = _WAIT_S) -> list[float]:
        """Wait until a receiver has accepted all of these; return the seconds from publishing to acceptance."""
        await holds(lambda: all(self._accepted(each) for each in references), within)
        return [self._accepted(each) - self.sent[each] for each in references]

    def _accepted(self, reference: str) -> float:
        found = [receiver.accepted.get(reference) for receiver in (self.primary, self.secondary)]
        return min((at for at in found if at is not None), default=0.0)

    async def both(self, what: str) -> None:
        for receiver in (self.primary, self.secondary):
            await getattr(receiver, what)()


async def holds(check: Callable[[], bool], within: float = _WAIT_S) -> None:
    """Wait until `check` returns True."""
    async with asyncio.timeout(within):
        while not check():  # noqa: ASYNC110 - receivers and messages set no common event
            await asyncio.sleep(0.005)


def refusing(code: str, status: int | None) -> Answer:
    """Give `status` to one event code and take everything else."""
    return lambda kind, event_code: status if kind == "alarm" and event_code == code else 0


def alarms(status: int | None) -> Answer:
    """Give `status` to alarms and answer pings."""
    return lambda kind, _: status if kind == "alarm" else 0


def numbered(count: int, prefix: str = "r") -> Sequence[str]:
    return [f"{prefix}{number}" for number in range(count)]
