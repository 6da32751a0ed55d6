"""What the tests of joined panels share: a server that remembers, a store in a folder, events of a panel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

from bridge.panels.reading import PanelReader, ReadRequests

from bridge.common.clock import Clock
from bridge.common.errors import StoreError
from bridge.common.models import Reply, Secret
from bridge.g90.control import PanelControl
from bridge.g90.registry import PanelConfig
from bridge.g90.server import PanelServer
from bridge.g90.state.model import PanelState
from bridge.g90.state.reducer import Step
from bridge.g90.wire.commands import HostInfo, HostStatus, PanelCommandError, SensorRecord
from bridge.g90.wire.constants import ArmCode
from bridge.g90.wire.events import EventType, PanelEvent
from bridge.mqtt.client import Incoming
from bridge.mqtt.outgoing import Outgoing
from bridge.panels.code_lock import CodeLock
from bridge.panels.commands import PanelCommands
from bridge.panels.events import Panels
from bridge.panels.forwarding import Rule
from bridge.panels.known import ControlledPanel, KnownPanels
from bridge.panels.topics import PanelTopics
from bridge.store.database import Store
from bridge.store.deliveries import Deliveries
from bridge.store.outbox import Outbox
from bridge.store.records import CommandEntry, Queued

T = TypeVar("T")
GUID = "GB7F20C14D05A91"
OTHER = "GB7F20C14D05A92"
NEW_YEAR = 1767225600
WAIT_S = 30.0
"""Generous: what is awaited comes within milliseconds, unless it never comes."""
TRANSMITTERS = ("home", "office")


def now() -> datetime:
    return datetime.now(UTC)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run one test's coroutine, bounded."""

    async def bounded() -> T:
        async with asyncio.timeout(4 * WAIT_S):
            return await work

    return asyncio.run(bounded())


def event(kind: EventType, sensor: int | None = None, **known: Any) -> PanelEvent:  # noqa: ANN401 - any field
    return PanelEvent(**{"guid": GUID, "type": kind, "at": now(), "sensor": sensor, **known})


def smoke(panel_time: int = NEW_YEAR, **known: Any) -> PanelEvent:  # noqa: ANN401 - any field
    return event(
        EventType.ALARM, 9, **{"name": "Kitchen smoke", "sensor_type": "smoke", **known}, panel_time=panel_time
    )


def fire(**known: Any) -> Rule:  # noqa: ANN401 - any field
    plain = {"event": EventType.ALARM, "transmitter": "home", "event_code": "FA", "restore_on": EventType.DISARMED}
    return Rule(**{**plain, **known})


class Machine:
    """The two clocks of a machine: `error` is by how much the one on the wall is wrong."""

    def __init__(self) -> None:
        self.error = timedelta(0)
        self.lived = timedelta(hours=1)
        """Since it booted."""

    def clock(self) -> Clock:
        """Return the clock of a process that starts now."""
        begun = now()

        def wall() -> float:
            return (begun + self.lived + self.error).timestamp()

        def steady() -> float:
            return self.lived.total_seconds()

        return Clock(wall, steady, "this boot")


class Published(Outgoing):
    """Remembers what is declared and published."""

    def __init__(self) -> None:
        super().__init__(asyncio.Event())
        self.states: dict[str, str] = {}
        self.published: list[tuple[str, Any]] = []

    def state(self, topic: str, payload: str) -> None:
        self.states[topic] = payload

    def publish(self, topic: str, payload: str, *, retain: bool = False, reply: Reply | None = None, **_: Any) -> None:  # noqa: ANN401 - passed by
        self.published.append((topic, json.loads(payload)))
        assert retain is topic.endswith("/set/response")
        assert reply is None

    def of(self, leaf: str) -> list[Any]:
        return [payload for topic, payload in self.published if topic == f"b/panel/{GUID}/{leaf}"]

    async def responded(self, count: int = 1) -> list[Any]:
        """Wait until so many commands ended."""
        async with asyncio.timeout(WAIT_S):
            while len(found := self.of("set/response")) < count:  # noqa: ASYNC110 - a fake has no event
                await asyncio.sleep(0.01)
        return found


class FakeControl(PanelControl):
    """Says what the test wants; `asked` holds the codes in order."""

    def __init__(self) -> None:
        super().__init__("a fake panel", timeout=30, retries=0)
        self.asked: list[tuple[int, object]] = []
        self.fault: PanelCommandError | None = None
        self.arm = ArmCode.DISARMED
        self.listed: tuple[SensorRecord, ...] = ()
        self.free = asyncio.Event()
        self.free.set()

    async def _attempt(self, code: int, data: list[object] | None) -> list[object]:
        await self.free.wait()
        self.asked.append((code, data))
        if self.fault:
            raise self.fault
        return []

    async def status(self) -> HostStatus:
        await self.ask(100)
        return HostStatus(self.arm, "Fake")

    async def host_info(self) -> HostInfo:
        await self.ask(206)
        return HostInfo(GUID, "Fake", "206/206", 4100, 70, 90)

    async def records(self) -> tuple[SensorRecord, ...]:
        await self.ask(102)
        return self.listed


class FakeServer:
    """Takes steps as the registry does."""

    def __init__(self, panels: Panels) -> None:
        self._panels = panels
        self.states: dict[str, PanelState] = {}
        self.taken = asyncio.Queue[PanelState]()

    async def apply(self, guid: str, take: Callable[[PanelState], Step]) -> None:
        before = self.states.get(guid) or PanelState(guid=guid)
        step = take(before)
        if step.state is not before or step.events:
            await self._panels.panel_changed(step.state, step.events)
            self.states[guid] = step.state
        self.taken.put_nowait(self.states.get(guid, before))


class BrokenOutbox(Outbox):
    """Fails as a full disk does for as long as `broken`."""

    broken = False

    async def keep_panel(self, guid: str, content: Mapping[str, Any], entries: Mapping[str, CommandEntry]) -> Any:  # noqa: ANN401 - passed on
        if self.broken:
            raise StoreError("the disk is full")
        return await super().keep_panel(guid, content, entries)


@dataclass
class Joined:
    """Panels over a real outbox, and fakes around them."""

    panels: Panels
    outbox: BrokenOutbox
    outgoing: Published
    server: FakeServer
    control: FakeControl
    restored: dict[str, PanelState]
    events: list[tuple[str, dict[str, object]]]
    commands: PanelCommands
    known: KnownPanels

    async def queue(self, transmitter: str = "home") -> list[Queued]:
        return await self.outbox.list(transmitter)

    async def queued(self, transmitter: str = "home") -> list[tuple[str, str, str | None]]:
        """Return what waits: request, event code, detector."""
        found = await self.queue(transmitter)
        return [
            (q.command.request, q.command.alarm.event_code, q.command.alarm.detector) for q in found if q.command.alarm
        ]

    async def until(self, ready: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not await ready():  # noqa: ASYNC110 - the store has no event
                await asyncio.sleep(0.01)

    async def take(self, payload: str, guid: str = GUID) -> None:
        """Command a panel by MQTT."""
        message = Incoming(
            f"b/panel/{guid}/set", payload.encode(), retained=False, duplicate=False, mid=None, reply=None
        )
        await self.commands.handle([message])


@asynccontextmanager
async def joined(
    folder: Path,
    rules: Sequence[Rule] = (),
    *,
    controlled: bool = True,
    code: str | None = None,
    code_for_arm: bool = False,
    accept_unknown: bool = False,
    clock: Clock | None = None,
) -> AsyncIterator[Joined]:
    """Panels as the bridge joins them, running, over the store in `folder`."""
    async with await Store.open(folder / "bridge.db") as store:
        outbox, outgoing, control = BrokenOutbox(store), Published(), FakeControl()
        events: list[tuple[str, dict[str, object]]] = []
        panel = ControlledPanel(
            config=PanelConfig(guid=GUID, name="House"),
            control=control if controlled else None,
            lock=CodeLock(Secret(code) if code else None, code_for_arm),
        )
        topics, known, reads, clock = PanelTopics("b"), KnownPanels({GUID: panel}), ReadRequests(), clock or Clock()

        def emit(kind: str, **details: object) -> None:
            events.append((kind, details))

        commands = PanelCommands(topics, outgoing, known, Deliveries(outbox), clock=clock, emit=emit)
        panels = Panels(
            topics, outbox, outgoing, known, reads, rules=rules, clock=clock, accept_unknown=accept_unknown, emit=emit
        )
        restored = await panels.restore()
        server = FakeServer(panels)
        reader = PanelReader(reads, known, cast("PanelServer", server), clock)
        tasks = [asyncio.create_task(each.run()) for each in (panels, commands, reader)]
        try:
            yield Joined(panels, outbox, outgoing, server, control, restored, events, commands, known)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for task in tasks:
            assert task.cancelled(), task.exception()
