"""The running bridge: its parts built from the settings, run in one TaskGroup, stopped in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from bridge.app import build, watchdog, web
from bridge.app.clock_watch import ClockWatch
from bridge.app.collector import Collector
from bridge.app.front import Work, front
from bridge.app.ownership import Place
from bridge.app.problem_log import ProblemLog
from bridge.app.requests import RequestHandler
from bridge.app.start_log import log_start
from bridge.app.status import BridgeStatus
from bridge.common.clock import Clock
from bridge.common.errors import BridgeError, DamagedError, StoreError, first
from bridge.common.problems import Kind, Problems
from bridge.config.settings import Settings
from bridge.g90.connections import Connections
from bridge.g90.server import PanelServer
from bridge.g90.state.model import PanelState
from bridge.mqtt.outgoing import Outgoing
from bridge.mqtt.routes import Router
from bridge.mqtt.session import Ending, Session
from bridge.panels.commands import PanelCommands
from bridge.panels.events import MISSED_MAX_AGE_S, Panels
from bridge.panels.topics import PanelTopics
from bridge.record.months import Month
from bridge.record.recorder import Recorder
from bridge.store.database import Store
from bridge.store.edges import Edges
from bridge.store.maintenance import maintain
from bridge.store.postgres.requests import OtherShards
from bridge.store.sqlite.recovery import RecoveryReport
from bridge.transmitters.intake import CommandHandler
from bridge.transmitters.network import Network
from bridge.transmitters.publisher import Publisher
from bridge.transmitters.record import RecordPublisher
from bridge.transmitters.scheduled_tests import ScheduledTests

if TYPE_CHECKING:
    pass

log = logging.getLogger(__name__)


async def run_once(bridge: Bridge, stop: asyncio.Event) -> DamagedError | None:
    """Run `bridge` until `stop` is set or its store shows damage, which is returned. Raises BridgeError."""
    damaged = None
    try:
        await bridge.run(stop)
    except* DamagedError as errors:
        damaged = first(errors)
    except* BridgeError as errors:
        # Such as an address that cannot be listened on: one line, not a tree of them.
        raise first(errors) from None
    return damaged if isinstance(damaged, DamagedError) else None


class Bridge:
    def __init__(
        self,
        settings: Settings,
        store: Store,
        report: RecoveryReport | None = None,
        place: Place | None = None,
    ) -> None:
        """`report`: how a damaged store was replaced before this start.

        `place`: in a cluster; then the node shows the page and answers health checks.
        """
        self._settings, self._store, self._report = settings, store, report
        self._ownership = ownership = place.ownership if place else None
        self._clock = clock = Clock()
        shard, others = (place.ownership.shard, place.others) if place else (0, {})
        self._outbox = outbox = build.outbox(settings, store, OtherShards(others) if others else None)
        outgoing = Outgoing(asyncio.Event())
        self._topics = topics = build.topics(settings, shard, others)
        panel_topics = PanelTopics(settings.mqtt.base_topic)
        self.problems = problems = Problems()
        self._board = board = place.board if place else web.board(settings, problems)
        if board:
            outgoing.follow(board.published)
        self._recorder = Recorder(edges := Edges(store), clock)
        measured = board.measured if board else None
        self._record = RecordPublisher(topics, edges, outgoing, build.subjects(settings), clock, measured)
        self._publisher = publisher = Publisher(topics, outbox, outgoing, problems, self._recorder)
        self._connections = connections = Connections()
        self._known = known = build.known_panels(settings.g90, connections)
        self._problem_log = ProblemLog(problems, known.label)
        self._tests = ScheduledTests(build.planned_tests(settings), outbox, clock, problems)
        network = Network(pace=place.pace if place else None)
        if board:
            network.answered = board.exchanges.add
        if ownership:
            network.permit, network.stored_first = ownership.permit, True
        self._transmitters = build.transmitters(
            settings, outbox, publisher, clock, network, place.homes if place else None
        )
        self._collector = Collector(len(self._transmitters) + len(others))
        self._clock_watch = ClockWatch(clock, outbox, problems, publisher.emit)
        self._announcer = announcer = build.announcer(settings, outgoing, shard)
        self._panel_commands = PanelCommands(panel_topics, outgoing, known, clock=clock, emit=publisher.emit)
        self.requests = RequestHandler(store, shard, outbox, clock, place.move) if place else None
        # Commands of transmitters last: where the disk is full they wait.
        panel_routes = self._panel_commands.routes if shard == 0 else ()
        commands = *panel_routes, *CommandHandler(topics, outbox, publisher, clock).routes
        self._session = Session(
            build.broker(settings, shard), outgoing, Router((announcer.route, *commands), publisher.emit),
            build.subscriptions(topics, panel_topics, known, announcer), outbox.deliveries, problems, ownership,
        )  # fmt: skip
        self.status = BridgeStatus(
            topics, outbox, outgoing, self._session, self._transmitters, known,
            protocol=settings.mqtt.protocol, started_at=clock.now(),
        )  # fmt: skip
        self._panels = Panels(
            panel_topics, outbox, outgoing, known,
            rules=[each.rule() for each in settings.forward], clock=clock,
            accept_unknown=build.accepts_unknown(settings.g90),
            emit=publisher.emit, problems=problems, on_state=self._panel_stored,
            max_ages=place.max_ages if place else build.max_ages(settings),
            missed_max_age=settings.g90.missed_max_age if settings.g90 else MISSED_MAX_AGE_S,
        )  # fmt: skip

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set; then end the lines, publish what is left and `offline`, and disconnect."""
        log_start(self._settings, self._store.name, self._topics.shard)
        server = await self._restore()
        self._collector.built()
        manager = watchdog.Manager()
        async with asyncio.TaskGroup() as tasks:
            groups = [
                [tasks.create_task(work, name=name) for name, work in group.items()]
                for group in self._work(manager, server)
            ]
            try:
                await stop.wait()
            finally:  # also where one of these failed: a connection that broke in that moment is not tried again
                self._session.stop(self._ownership.ending if self._ownership else Ending.OFFLINE)
            log.info("stopping")
            if self._ownership is None:
                manager.notify(STOPPING=1)
            for group in groups:
                await _end(group)
            await self._publisher.flush()
            await self._recorder.stop()

    async def _restore(self) -> PanelServer | None:
        """Declare what was published last; return the server of panels as they were, if they are configured."""
        if self._report is not None:
            self._publisher.emit("store_damaged", **asdict(self._report))
        await self._outbox.load_deliveries()
        await self._clock_watch.load()
        server = None
        if g90 := self._settings.g90:
            states = await self._panels.restore()
            lines = len(self._transmitters) + len(self._topics.others)
            server = build.server(
                g90, lines, self._panels, self._known, self._connections, states, self._clock,
                self.problems,
            )  # fmt: skip
        await self._publisher.restore()
        self._outbox.wakes.wake(await self._outbox.unconfigured(()))  # what waits is sent first
        self.status.publish_info()
        await build.announce(self._settings, self._topics, self._announcer)
        return server

    def _work(self, manager: watchdog.Manager, server: PanelServer | None) -> list[dict[str, Work]]:
        """Return what runs, by name, in the order in which it is stopped."""
        status, clock = self.status, self._clock
        listening: dict[str, Work] = {}
        if server is not None:
            readers = {
                f"reader of panel {guid}": panel.reader.run(server.registry)
                for guid, panel in self._known.configured.items()
            }
            listening = {
                "panel server": server.run(),
                "panels": self._panels.run(),
                "panel commands": self._panel_commands.run(server.registry),
                **readers,
            }
        others = {
            "status": status.run(),
            "store": maintain(self._store, self._outbox, clock, self._store_failed),
            "clock": self._clock_watch.run(),
            "record": self._record.run(),
            "test alarms": self._tests.run(),
            "problem log": self._problem_log.run(),
            "announcer": self._announcer.run(),
            "collector": self._collector.run(),
        }
        if self._ownership is None:
            others |= front(self._settings, self, self.problems, manager, self._session.connected, self._board)
        else:
            others["ownership"] = self._ownership.run(self.online)
            assert self.requests  # noqa: S101 - made with the ownership
            others["requests"] = self.requests.run()
        lines = {f"transmitter {name}": each.run() for name, each in self._transmitters.items()}
        publishing = {"publisher": self._publisher.run(), "recorder": self._recorder.run()}
        return [listening, others, lines, publishing, {"session": self._session.run()}]

    # For the page and the node

    def online(self) -> bool:
        return self._session.connected.is_set()

    def reconnects(self) -> int:
        return max(0, self._session.connects - 1)

    async def hanging(self) -> list[str]:
        return await self.status.hanging()

    async def report(self, transmitter: str, month: Month) -> str | None:
        return await web.report(self._settings, self._store, self._outbox, transmitter, month)

    async def counters(self) -> Mapping[str, object]:
        return await self.status.health()

    def state(self) -> str:
        return ""

    def owned(self) -> Mapping[int, bool]:
        return {}

    def _store_failed(self, failure: StoreError | None) -> None:
        """Report that the disk takes no writes, or that it does again."""
        if self._ownership is not None:  # the shard is lost, which the node says
            return
        if failure is None:
            self._publisher.emit("store_recovered")
        else:
            self._publisher.emit("store_failed", error=str(failure))
        text = f"{failure}; alarms are sent from memory until it takes writes again"
        self.problems.set(Kind.STORE_FAILED, None if failure is None else text)

    def _panel_stored(self, state: PanelState) -> None:
        self._announcer.announce_panel(state)
        self.status.panel_known(state.guid)


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
