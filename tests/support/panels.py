"""What the tests of joined panels share: a server that remembers, a store in a folder, events of a panel."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

from support.stores import open_store

from bridge.common.clock import Clock
from bridge.common.errors import StoreError
from bridge.common.models import Incoming, Reply, Secret
from bridge.common.problems import Problems
from bridge.g90.control import PanelControl, PanelExchange
from bridge.g90.reader import PanelReader
from bridge.g90.registry import PanelConfig, PanelRegistry
from bridge.g90.state.model import PanelState
from bridge.g90.state.plan import Reads
from bridge.g90.wire.answers import history_data, page_data
from bridge.g90.wire.commands import PanelCommandError, SensorRecord
from bridge.g90.wire.constants import ArmCode
from bridge.g90.wire.events import Alert, EventType, PanelEvent
from bridge.mqtt.outgoing import Outgoing
from bridge.panels.code_lock import CodeLock
from bridge.panels.commands import PanelCommands
from bridge.panels.events import Panels
from bridge.panels.forwarding import MaxAges, Rule
from bridge.panels.known import ControlledPanel, KnownPanels
from bridge.panels.topics import PanelTopics
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
        self.outputs: tuple[SensorRecord, ...] = ()
        self.past: list[Alert] = []
        self.free = asyncio.Event()
        self.free.set()

    @asynccontextmanager
    async def _exchange(self, code: int, data: list[object] | None) -> AsyncIterator[PanelExchange]:
        await self.free.wait()
        self.asked.append((code, data))
        if self.fault:
            raise self.fault
        exchange = _Answered()
        exchange.answer.set_result(self._answer(code, data))
        yield exchange

    def _answer(self, code: int, data: list[object] | None) -> list[object]:
        lists: dict[int, list[object]] = {
            102: [_record(each) for each in self.listed],
            138: [_record(each) for each in self.outputs],
            200: [history_data(each) for each in self.past],
        }
        if code in lists:
            first, last = cast("list[int]", data)
            return page_data(lists[code], first, last)
        plain: dict[int, list[object]] = {
            100: [int(self.arm), "", "Fake", "206", "206"],
            117: [1023],
            206: [GUID, "Fake", "1.2", "1.1", "206", "206", 3, 3, 0, 2, "4100", 70, 90],
        }
        return plain.get(code, [])


class _Answered:
    def __init__(self) -> None:
        self.answer: asyncio.Future[list[object]] = asyncio.get_running_loop().create_future()

    async def send(self) -> None:
        pass


def _record(sensor: SensorRecord) -> list[object]:
    return [sensor.name, sensor.index, 0, sensor.type, 0, 0, 33, 0, 0, 16, sensor.nodes, 0, ""]


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
    registry: PanelRegistry
    control: FakeControl
    restored: dict[str, PanelState]
    events: list[tuple[str, dict[str, object]]]
    commands: PanelCommands
    known: KnownPanels
    problems: Problems

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

    async def read(self) -> None:
        """Wait until the panel was read whole."""
        async with asyncio.timeout(WAIT_S):
            await asyncio.sleep(0.02)
            plan = self.known.configured[GUID].reader
            while plan._plan.next(time.monotonic()) is not None:  # noqa: ASYNC110 - a plan has no event
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)

    def has(self, leaf: str, holds: Callable[[Any], bool]) -> Callable[[], Awaitable[bool]]:
        """Return whether a JSON topic of the panel holds something, for `until`."""

        async def ready() -> bool:
            return holds(json.loads(self.outgoing.states.get(f"b/panel/{GUID}/{leaf}", "{}")))

        return ready

    @property
    def state(self) -> PanelState:
        return self.registry.panels[GUID].state

    async def take(self, payload: str, guid: str = GUID, leaf: str = "set", mid: int | None = None) -> None:
        """Command a panel by MQTT."""
        topic = f"b/panel/{guid}/{leaf}"
        message = Incoming(topic, payload.encode(), retained=False, duplicate=False, mid=mid, reply=None)
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
    async with await open_store(folder / "bridge.db") as store:
        outbox, outgoing, control = BrokenOutbox(store), Published(), FakeControl()
        events: list[tuple[str, dict[str, object]]] = []
        panel = ControlledPanel(
            config=PanelConfig(guid=GUID, name="House"),
            control=control if controlled else None,
            lock=CodeLock(Secret(code) if code else None, code_for_arm),
            reader=PanelReader(GUID, control, reads=Reads.AT_HELLO),
        )
        problems = Problems()
        topics, known, clock = PanelTopics("b"), KnownPanels({GUID: panel}), clock or Clock()

        def emit(kind: str, **details: object) -> None:
            events.append((kind, details))

        commands = PanelCommands(topics, outgoing, known, clock=clock, emit=emit)
        panels = Panels(
            topics, outbox, outgoing, known, rules=rules, clock=clock, accept_unknown=accept_unknown, emit=emit,
            problems=problems, max_ages=MaxAges(dict.fromkeys(TRANSMITTERS, 3600.0), 600.0),
        )  # fmt: skip
        restored = await panels.restore()
        registry = PanelRegistry(panels, {GUID: panel.config}, restored, accept_unknown=accept_unknown, clock=clock.now)
        works = (panels.run(), commands.run(registry), panel.reader.run(registry))
        tasks = [asyncio.create_task(each) for each in works]
        try:
            yield Joined(panels, outbox, outgoing, registry, control, restored, events, commands, known, problems)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for task in tasks:
            assert task.cancelled(), task.exception()
