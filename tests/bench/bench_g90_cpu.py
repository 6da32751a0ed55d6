"""Processor time of a panel's frame, ours beside pyg90alarm's in one run, and what the product takes in all.

Run it: `tests/bench/run g90_cpu [--frames 300] [--rounds 41]`. Frames go into the connection's `data_received`, one for
each turn of the event loop; what sockets take is left out. Two peers: `G90Alarm` does what we do up to the handler, it
keeps the sensors' state and calls back; its `G90CloudNotifications` alone parses and calls back, and keeps nothing.
Both sides know the same 20 sensors. The product's row goes on to the store, the rules and the topics, its threads too.
"""

# ruff: noqa: ANN401 - the peer is not typed
from __future__ import annotations

import argparse
import asyncio
import gc
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.bench_g90 import GUID, PING, Nobody, hello
from bench.figures import row
from pyg90alarm import G90Alarm
from pyg90alarm.cloud import G90CloudNotifications
from pyg90alarm.local.paginated_result import G90PaginatedResponse
from pyg90alarm.notifications.protocol import G90NotificationProtocol
from support.panels import joined

from bridge.g90.connection import CloudConnection
from bridge.g90.registry import PanelConfig
from bridge.g90.server import PanelServer
from bridge.g90.state.model import Now, SensorsRead
from bridge.g90.wire.commands import SensorRecord
from bridge.g90.wire.constants import AlertType, SensorType, Source
from bridge.g90.wire.events import Alert, Form
from bridge.g90.wire.messages import build_report

if TYPE_CHECKING:
    from collections.abc import Callable

GOAL = 1 / 3
SENSORS = {index: f"Front door {index}" for index in range(1, 21)}
BEGIN, APART_S = 1767225600, 30


class Case(NamedTuple):
    """Frames, each with the second at which it comes, and how many of them are events."""

    name: str
    frames: list[tuple[int, bytes]]
    events: int


def opening(number: int, form: Form) -> bytes:
    """Doors open and close in turn, each at a second of its own."""
    turn, index = divmod(number, len(SENSORS))
    report = Alert(
        form=form, type=AlertType.SENSOR_ACTIVITY, event=index + 1, source=Source.SENSOR, state=(turn + 1) % 2,
        name=SENSORS[index + 1], guid=GUID, time=BEGIN + number * APART_S,
    )  # fmt: skip
    return build_report(report, as_json=form is Form.ALERT)


def cases(count: int) -> list[Case]:
    seconds = [BEGIN + number * APART_S for number in range(count)]
    new, alerts = ([opening(number, form) for number in range(count)] for form in (Form.STATUS, Form.ALERT))
    return [
        Case("a new sensor report, 0x21", list(zip(seconds, new, strict=True)), count),
        Case("a new alert, 0x22", list(zip(seconds, alerts, strict=True)), count),
        Case("a repeated sensor report, 0x21", [(BEGIN, new[0])] * count, 1),
        Case("a ping", [(BEGIN, PING)] * count, 0),
    ]


class Wire:
    """A transport that swallows what is written."""

    def get_extra_info(self, _: str) -> tuple[str, int]:
        return ("127.0.0.1", 5678)

    def write(self, _: bytes) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    pause_reading = resume_reading = abort = close


class Counter(Nobody):
    """Takes events and counts them."""

    events = 0

    async def panel_changed(self, state: Any, events: Any) -> None:
        self.events += len(events)


class Parsed(G90NotificationProtocol):
    """The peer's own receiver of what was parsed."""

    events = 0

    async def on_door_open_close(self, event_id: int, zone_name: str, is_open: bool) -> None:  # noqa: FBT001
        self.events += 1


class Kept(G90Alarm):
    """`G90Alarm` whose panel answers from memory."""

    def __init__(self) -> None:
        super().__init__("127.0.0.1", 1)
        self.events = 0
        self.door_open_close_callback = self.count

    def count(self, *_: Any) -> None:
        self.events += 1

    async def command(self, code: Any, data: Any = None) -> Any:
        return [1023]

    async def paginated_result(self, code: Any, start: int = 1, end: int | None = None) -> Any:
        for place, (index, name) in enumerate(SENSORS.items()):
            record: Any = [name, index, 0, 1, 0, 0, 1, 0, 0, 16, 1, 0, ""]
            yield G90PaginatedResponse(place, record)


async def timed(case: Case, receive: Callable[[bytes], None], at: Callable[[int], None]) -> float:
    """Return the processor time of a frame in microseconds."""
    receive(hello())
    await settled()
    gc.collect()
    began = time.process_time()
    for second, frame in case.frames:
        at(second)
        receive(frame)
        await asyncio.sleep(0)
    await settled()
    return (time.process_time() - began) / len(case.frames) * 1e6


async def settled() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


class Moving:
    """Clocks that stand at the second of the last frame."""

    def __init__(self) -> None:
        self.second = BEGIN

    def set(self, second: int) -> None:
        self.second = second

    def wall(self) -> datetime:
        return datetime.fromtimestamp(self.second, UTC)

    def now(self) -> Now:
        return Now(float(self.second), self.wall())


async def ours(case: Case) -> float:
    handler, clock = Counter(), Moving()
    panels = {GUID: PanelConfig(guid=GUID)}
    server = PanelServer(handler, host="127.0.0.1", port=0, panels=panels, clock=clock.wall)
    serving = asyncio.create_task(server.run())
    await server.started.wait()
    records = tuple(SensorRecord(index, name, SensorType.DOOR) for index, name in SENSORS.items())
    await server.registry.take(server.registry.panels[GUID], SensorsRead(records))
    registry: Any = server.registry
    registry.now = clock.now
    connection: Any = CloudConnection(server)
    connection.connection_made(Wire())
    took = await timed(case, connection.data_received, clock.set)
    assert handler.events == case.events + 1, handler.events  # it came online, too
    connection.connection_lost(None)
    serving.cancel()
    await asyncio.wait([serving])
    return took


async def theirs(case: Case, peer: Any) -> float:
    if isinstance(peer, Kept):
        await peer.get_sensors()
    cloud: Any = G90CloudNotifications(lambda: peer, "127.0.0.1", 0, "127.0.0.1", 5678)
    cloud.connection_made(Wire())
    took = await timed(case, cloud.data_received, lambda _: None)
    assert peer.events in (case.events, len(case.frames) if case.events else 0)  # it takes a repetition for an event
    return took


async def product(case: Case) -> float:
    """Return the processor time of a frame from its bytes to the store and the topics."""
    with tempfile.TemporaryDirectory() as folder:
        async with joined(Path(folder), controlled=False) as site:
            records = tuple(SensorRecord(index, name, SensorType.DOOR) for index, name in SENSORS.items())
            panel = site.registry.panels[GUID]
            await site.registry.take(panel, SensorsRead(records))
            server = PanelServer(
                site.panels, host="127.0.0.1", port=0, panels={GUID: panel.config}, states={GUID: panel.state}
            )
            serving = asyncio.create_task(server.run())
            await server.started.wait()
            connection: Any = CloudConnection(server)
            connection.connection_made(Wire())
            connection.data_received(hello())
            began = time.process_time()
            for number, (_, frame) in enumerate(case.frames):
                connection.data_received(frame)
                while len(site.outgoing.of("event")) <= number:  # noqa: ASYNC110 - nothing says so
                    await asyncio.sleep(0.0005)
            took = time.process_time() - began
            connection.connection_lost(None)
            serving.cancel()
            await asyncio.wait([serving])
    return took / len(case.frames) * 1e6


async def once(case: Case) -> tuple[float, float, float]:
    return await ours(case), await theirs(case, Kept()), await theirs(case, Parsed())


def compare(case: Case, rounds: int) -> None:
    """Print the medians of the rounds: a machine that others use slows both sides of a round down."""
    us, *peers = zip(*(asyncio.run(once(case)) for _ in range(rounds)), strict=True)
    for peer, took in zip(("`pyg90alarm`", "its notifications alone"), peers, strict=True):
        ratio = median(ours / its for ours, its in zip(us, took, strict=True))
        measured = f"{ratio:.2f} x ({median(us):.1f} us, {median(took):.1f} us)"
        row(f"processor time of {case.name}", peer, measured, "a third", met=ratio <= GOAL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=41)
    given = parser.parse_args()
    for case in cases(given.frames):
        compare(case, given.rounds)
    took = asyncio.run(product(cases(300)[0]))
    row("processor time of a new sensor report, 0x21, up to disk and topics", "", f"{took:.0f} us")


if __name__ == "__main__":
    main()
