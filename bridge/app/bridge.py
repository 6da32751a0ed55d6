"""The running bridge: its parts, run in one TaskGroup, stopped in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import asdict

from bridge.app import build, panels, watchdog
from bridge.app.clock_watch import ClockWatch
from bridge.app.collector import Collector
from bridge.app.core import make_core
from bridge.app.front import Work, front
from bridge.app.ownership import Place
from bridge.app.problem_log import ProblemLog
from bridge.app.requests import RequestHandler
from bridge.app.sending import make_sending
from bridge.app.start_log import log_start
from bridge.app.status import BridgeStatus
from bridge.common.errors import BridgeError, DamagedError, StoreError, first
from bridge.common.problems import Kind
from bridge.config.settings import Settings
from bridge.g90.server import PanelServer
from bridge.g90.state.model import PanelState
from bridge.mqtt.routes import Router
from bridge.mqtt.session import Session
from bridge.store.database import Store
from bridge.store.maintenance import maintain
from bridge.store.sqlite.recovery import RecoveryReport
from bridge.transmitters.intake import CommandHandler

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
        """`report`: how a damaged store was replaced before this start. `place`: in a cluster."""
        self._report = report
        self._core = core = make_core(settings, store, place)
        self._sending = make_sending(core)
        self._emit = emit = self._sending.publisher.emit
        self._panels = panels.make_panels(core, emit, self._panel_stored)
        known = self._panels.known
        self._announcer = build.announcer(settings, core.outgoing, core.topics.shard)
        self._session = Session(
            build.broker(settings, core.topics.shard), core.outgoing, self._router(),
            build.subscriptions(core.topics, self._panels.topics, known, self._announcer, core.differs),
            core.outbox.deliveries, core.problems, place.ownership if place else None,
        )  # fmt: skip
        self.status = BridgeStatus(core, self._session, self._sending.transmitters, known)
        self._clock_watch = ClockWatch(core.clock, core.outbox, core.problems, emit)
        self._problem_log = ProblemLog(core.problems, known.label)
        self._collector = Collector(core.transmitters)
        self.requests = RequestHandler(store, core.topics.shard, core.outbox, core.clock, place.move) if place else None
        self.problems = core.problems

    def _router(self) -> Router:
        """Return the routes of all commands; those of transmitters last: where the disk is full they wait."""
        topics, outbox, clock = self._core.topics, self._core.outbox, self._core.clock
        commands = CommandHandler(topics, outbox, self._sending.publisher, clock, self._core.others)
        of_panels = self._panels.commands.routes if topics.shard == 0 else ()
        return Router((self._announcer.route, *of_panels, *commands.routes), self._emit)

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set; then end the lines, publish what is left and `offline`, and disconnect."""
        log_start(self._core.settings, self._core.store.name, self._core.topics.shard)
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
                self._session.stop()
            log.info("stopping")
            if self._core.place is None:
                manager.notify(STOPPING=1)
            for group in groups:
                await _end(group)
            await self._sending.publisher.flush()
            await self._sending.recorder.stop()

    async def _restore(self) -> PanelServer | None:
        """Declare what was published last; return the server of panels as they were, if they are configured."""
        settings, outbox = self._core.settings, self._core.outbox
        if self._report is not None:
            self._emit("store_damaged", **asdict(self._report))
        await outbox.load_deliveries()
        await self._clock_watch.load()
        server = None
        if settings.g90:
            server = panels.server(self._core, self._panels, await self._panels.events.restore())
        await self._sending.publisher.restore()
        outbox.wakes.wake(await outbox.unconfigured(()))  # what waits is sent first
        self.status.publish_info()
        await build.announce(settings, self._core.topics, self._announcer)
        return server

    def _work(self, manager: watchdog.Manager, server: PanelServer | None) -> list[dict[str, Work]]:
        """Return what runs, by name, in the order in which it is stopped."""
        core, sending = self._core, self._sending
        others = {
            "status": self.status.run(),
            "store": maintain(core.store, core.outbox, core.clock, self._store_failed),
            "clock": self._clock_watch.run(),
            "record": sending.record.run(),
            "test alarms": sending.tests.run(),
            "problem log": self._problem_log.run(),
            "announcer": self._announcer.run(),
            "collector": self._collector.run(),
        }
        if core.place is None:
            others |= front(core.settings, self.status, core.problems, manager, self._session.connected, core.board)
        else:
            others["ownership"] = core.place.ownership.run(self.status.broker_away_s)
        if self.requests:
            others["requests"] = self.requests.run()
        lines = {f"transmitter {name}": each.run() for name, each in sending.transmitters.items()}
        publishing = {"publisher": sending.publisher.run(), "recorder": sending.recorder.run()}
        listening = panels.work(self._panels, server) if server else {}
        return [listening, others, lines, publishing, {"session": self._session.run()}]

    def _store_failed(self, failure: StoreError | None) -> None:
        """Report that the disk takes no writes, or that it does again."""
        if self._core.place is not None:  # the shard is lost, which the node says
            return
        if failure is None:
            self._emit("store_recovered")
        else:
            self._emit("store_failed", error=str(failure))
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
