"""The panel server beside pyg90alarm's, on one machine in one run: only the ratios mean anything elsewhere.

Run it: `tests/bench/run g90 [--frames 1000] [--panels 1000 5000]`. Each server has a process of its own.
In lockstep a panel waits for each answer; an alarm has none, so a ping follows it and two frames count.
"""

# ruff: noqa: ANN401 - settings, peers and parsed arguments of any type go through here
from __future__ import annotations

import argparse
import asyncio
import gc
import multiprocessing
import resource
import socket
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Self

from bench.figures import at_least, row
from pyg90alarm.cloud import G90CloudNotifications
from pyg90alarm.notifications.protocol import G90NotificationProtocol

from bridge.g90.registry import PanelConfig
from bridge.g90.server import Limits, PanelServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

GUID = "GB7F20C14D05A91"
ROUNDS = 21
FRAMES_GOAL, MEMORY_GOAL, ROUND_GOAL_S = 5, 20 * 1024, 1.0


def hello(guid: str = GUID) -> bytes:
    flags = "01000000 00000000 02000000 00700000 32303600 58ba0020 30000000 00000000 07000000 1e000000 1e000000"
    return bytes.fromhex("01100020 48000000 01000000") + guid.encode() + b"\0" + bytes.fromhex(flags)


PING = bytes.fromhex("0110000008000000")
ALARM = (
    bytes.fromhex("21100020 78000000 01000000 030904fe")
    + b"Kitchen smoke".ljust(32, b"\0")
    + bytes.fromhex("00b95569")
    + bytes(68)
)
CASES = {"hello": (hello(), 42, 1), "ping": (PING, 8, 1), "alarm + ping": (ALARM + PING, 8, 2)}
"""Request, bytes of its answer, frames of the request."""


class Nobody:
    """A handler that keeps nothing."""

    async def panel_changed(self, state: Any, events: Any) -> None:
        pass

    async def panel_refused(self, reason: Any, guid: Any, address: Any) -> None:
        pass

    def panel_greeted(self, guid: Any, address: Any) -> None:
        pass


async def serve_ours(pipe: Connection, panels: int) -> None:
    start = rss()
    known = {guid_of(n): PanelConfig(guid=guid_of(n)) for n in range(panels)} | {GUID: PanelConfig(guid=GUID)}
    limits = Limits(max_connections=panels + 10, per_stranger_address=panels + 10)
    server = PanelServer(Nobody(), host="127.0.0.1", port=0, panels=known, limits=limits)
    task = asyncio.create_task(server.run())
    await server.started.wait()
    await attend(pipe, server.address[1], start)
    task.cancel()
    await asyncio.wait([task])


async def serve_peer(pipe: Connection, panels: int) -> None:
    start = rss()
    server = G90CloudNotifications(G90NotificationProtocol, "127.0.0.1", 0, "127.0.0.1", 5678)
    await server.listen()
    assert server._server is not None
    await attend(pipe, server._server.sockets[0].getsockname()[1], start)
    await server.close()


async def serve_echo(pipe: Connection, _panels: int) -> None:
    """Send back what comes: as fast as a server of asyncio can be."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    await attend(pipe, server.sockets[0].getsockname()[1], rss())
    server.close()


class Echo(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data if data == PING else bytes(42))


async def attend(pipe: Connection, port: int, start: int) -> None:
    """Tell port and memory at the start, then answer each question with the memory now, until told to end."""
    pipe.send((port, start))
    while await asyncio.to_thread(pipe.recv) == "memory":
        gc.collect()
        pipe.send(rss())


def rss() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def guid_of(number: int) -> str:
    return f"GBENCH{number:09d}"


def serve(server: Callable[[Connection, int], Any], pipe: Connection, panels: int) -> None:
    asyncio.run(server(pipe, panels))


class Served:
    """One server in a process of its own."""

    def __init__(self, server: Callable[[Connection, int], Any], panels: int = 0) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("spawn").Process(target=serve, args=(server, theirs, panels))

    def __enter__(self) -> Self:
        self.process.start()
        self.port, self.at_start = self.pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self.pipe.send("end")
        self.process.join(10)

    def memory(self) -> int:
        self.pipe.send("memory")
        size: int = self.pipe.recv()
        return size


def lockstep(port: int, request: bytes, answer: int, frames: int) -> float:
    """Send one request, wait for its whole answer, and so on; return requests a second."""
    with socket.create_connection(("127.0.0.1", port)) as panel:
        panel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        exchange(panel, hello(), 42)
        for _ in range(frames // 10):
            exchange(panel, request, answer)
        began = time.perf_counter()
        for _ in range(frames):
            exchange(panel, request, answer)
        return frames / (time.perf_counter() - began)


def exchange(panel: socket.socket, request: bytes, answer: int) -> None:
    panel.sendall(request)
    while answer > 0:
        answer -= len(panel.recv(4096))


def compare(frames: int) -> None:
    for name, (request, answer, each) in CASES.items():
        with Served(serve_ours) as ours, Served(serve_peer) as peer, Served(serve_echo) as echo:
            servers = (ours, peer, echo)
            runs = [[lockstep(server.port, request, answer, frames) for server in servers] for _ in range(ROUNDS)]
        us, theirs, bare = (median(run) * each for run in zip(*runs, strict=True))
        ratio, of_bare = (median(run[0] / run[other] for run in runs) for other in (1, 2))
        shown = f"{{:.1f}} x ({us:.0f}, {theirs:.0f})"
        at_least(f"G90 frames a second, {name}", "`pyg90alarm`", ratio, FRAMES_GOAL, shown)
        row(f"G90 frames a second, {name}", "asyncio without parsing", f"{of_bare:.1f} x ({us:.0f}, {bare:.0f})")


def hold(count: int) -> None:
    with Served(serve_ours, count) as ours:
        panels = []
        for number in range(count):
            panel = socket.create_connection(("127.0.0.1", ours.port))
            exchange(panel, hello(guid_of(number)), 42)
            panels.append(panel)
        each = (ours.memory() - ours.at_start) / count
        began = time.perf_counter()
        for panel in panels:
            panel.sendall(PING)
        for panel in panels:
            assert panel.recv(8) == PING
        took = time.perf_counter() - began
        size = f"{each / 1024:.1f} KiB"
        row(f"memory of each of {count} panels", "", size, "20 KiB", met=each <= MEMORY_GOAL)
        row(f"ping round of {count} panels", "", f"{took:.2f} s", "1 s", met=took <= ROUND_GOAL_S)
        for panel in panels:
            panel.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--panels", type=int, nargs="*", default=[1000, 5000])
    args = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    compare(args.frames)
    for count in args.panels:
        hold(count)


if __name__ == "__main__":
    main()
