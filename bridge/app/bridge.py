"""The running bridge: everything built from the settings and joined, one TaskGroup, signals, a clean stop."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from bridge import __version__
from bridge.app import build, clock_watch, health
from bridge.app import watchdog as notify
from bridge.common.clock import Clock
from bridge.common.errors import BridgeError, DamagedError, StoreError, first
from bridge.common.text import clean, timestamp
from bridge.config.settings import G90, Settings
from bridge.config.settings import Transmitter as TransmitterSettings
from bridge.g90.state.panel import PanelState
from bridge.homeassistant.announcer import Announcer
from bridge.homeassistant.devices import bridge_device, transmitter_device, transmitter_id
from bridge.homeassistant.entity import Names
from bridge.homeassistant.panel import ControlOptions, panel_device, panel_id
from bridge.mqtt.client import Incoming
from bridge.mqtt.session import Door, Interface
from bridge.panels.events import Panels, check_stored
from bridge.panels.topics import PanelTopics, SetOutcome, set_response
from bridge.store.database import Store
from bridge.store.lock import hold
from bridge.store.outbox import Outbox, Touched
from bridge.store.recovery import Keeper, Loss
from bridge.transmitters.intake import Intake
from bridge.transmitters.publisher import Publisher
from bridge.transmitters.transmitter import Transmitter

log = logging.getLogger(__name__)

_HEALTH_S = 60.0
_OTHERS_WRITE_S = 2.0
"""How soon a change by `sosbridge outbox` is noticed."""
_PRUNE_S = 3600.0


async def run(settings: Settings) -> None:
    """Run the bridge until SIGTERM or SIGINT. Raises ConfigError, BusyError or StoreError where it cannot start."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    path = settings.store.path
    with hold(path):
        keeper = Keeper(path, check_stored)
        while not stop.is_set():
            async with await keeper.open() as store:
                damaged = await _live(Bridge(settings, store, keeper.loss), stop)
            if damaged is not None:
                await keeper.renew(damaged)
    log.info("stopped")


async def _live(bridge: Bridge, stop: asyncio.Event) -> DamagedError | None:
    """Run `bridge` until `stop` is set, or until its store shows damage, which is returned. Raises BridgeError."""
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
    """All parts of one running bridge."""

    def __init__(self, settings: Settings, store: Store, loss: Loss | None = None) -> None:
        """`loss` is what became of the store before this one, to be told."""
        self._settings = settings
        self._store = store
        self._loss = loss
        self._clock = Clock()
        self._started_at = self._clock.now()
        self._started = time.monotonic()
        self._told_panels: list[str] = []
        self._outbox = Outbox(store, settings.store.max_commands, timedelta(seconds=settings.store.history))
        self._topics = build.topics(settings)
        self._panel_topics = PanelTopics(self._topics.base)
        self._publisher = Publisher(self._topics, self._outbox)
        self._transmitters = {each.name: self._make_transmitter(each) for each in settings.transmitters}
        self._names = Names(settings.homeassistant.discovery_prefix, settings.mqtt.base_topic, __version__)
        intake = Intake(
            self._topics,
            self._outbox,
            self._publisher,
            self._stored,
            self._clock,
            is_elsewheres=lambda topic: self._panel_topics.guid(topic) is not None,
            elsewhere=self._panel_command,
            notices={self._names.birth_topic: self._home_assistant_status},
            learned=lambda held: self._announcer.learned(held),  # noqa: PLW0108 - it is made below
        )
        self._door = Door(build.broker(settings.mqtt), self._interface(), intake)
        self._announcer = Announcer(self._names, self._door, enabled=settings.homeassistant.enabled)
        self._publisher.attach(self._door)
        self._panels = self._make_panels(settings.g90) if settings.g90 else None
        self._configured = {each.guid: each for each in settings.g90.panels} if settings.g90 else {}

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set: then the lines end, what is left is published, `offline`, and the broker is left."""
        for warning in self._settings.warnings:
            log.warning("%s", warning)
        log.info("sosbridge %s, transmitters: %s", __version__, ", ".join(self._transmitters) or "none")
        if self._loss is not None:
            self._publisher.event("store_damaged", **asdict(self._loss))
        manager = notify.Manager()
        await self._publisher.restore()
        states = await self._panels.restore() if self._panels else {}
        self._tell_info()
        self._announce()
        async with asyncio.TaskGroup() as tasks:
            lines = [tasks.create_task(each.run(), name=each.name) for each in self._transmitters.values()]
            publishing = [tasks.create_task(self._publisher.run()), tasks.create_task(self._publisher.mark())]
            door = tasks.create_task(self._door.run())
            others = [
                tasks.create_task(self._tell_health()),
                tasks.create_task(self._watch_others()),
                tasks.create_task(clock_watch.watch(self._clock, self._publisher.event, self._panels)),
                tasks.create_task(self._watch_damage()),
                tasks.create_task(self._prune()),
                tasks.create_task(self._announcer.run()),
                tasks.create_task(health.serve(self._settings.store.path, self._problems)),
                tasks.create_task(notify.watch(manager, self._door.connected, self._hanging)),
            ]
            listening = [tasks.create_task(each) for each in self._listen_to_panels(states)]
            try:
                await stop.wait()
            finally:  # also where one of these failed: a connection that broke in that moment is not tried again
                self._door.stop()
            log.info("stopping")
            manager.tell(STOPPING=1)
            for group in (listening, others, lines, publishing, [door]):
                await _end(group)
            await self._publisher.flush()

    def _interface(self) -> Interface:
        """Return all topics to watch."""
        own, panels, names = self._topics, self._panel_topics, self._names

        def is_ours(topic: str) -> bool:
            return topic.startswith(f"{own.base}/") or names.is_ours(topic)

        def is_stale(topic: str) -> bool:
            if names.is_ours(topic):
                return self._announcer.is_stale(topic)
            guid = panels.guid(topic)
            return own.is_stale(topic) if guid is None else not self._knows_panel(guid)

        commands = (*own.commands, *panels.commands, names.birth_topic)
        return Interface(own.bridge_state, commands, (*own.states, *panels.states, names.filter), is_ours, is_stale)

    def _announce(self) -> None:
        """Tell Home Assistant of the bridge and the transmitters; panels follow as they are known."""
        self._announcer.announce(self._names.root, bridge_device(self._names))
        for each in self._settings.transmitters:
            alarms = self._topics.transmitters[each.name]
            payload = transmitter_device(self._names, each.name, alarms, each.test_event_code)
            self._announcer.announce(transmitter_id(self._names, each.name), payload)

    def _announce_panel(self, state: PanelState) -> None:
        panel = self._configured.get(state.guid)
        code = panel.code.get_secret_value() if panel and panel.code else None
        control = ControlOptions(
            possible=panel is not None and panel.control != "off",
            code=code is not None,
            digits=code is not None and code.isdecimal(),
            code_to_arm=panel is not None and code is not None and panel.code_arm_required,
        )
        self._announcer.announce(panel_id(self._names, state.guid), panel_device(self._names, state, control))
        if state.guid not in self._told_panels:
            self._tell_info()

    def _home_assistant_status(self, payload: bytes) -> None:
        if payload == b"online":
            self._announcer.born()

    def _make_transmitter(self, each: TransmitterSettings) -> Transmitter:
        line = build.line(self._settings, each, self._clock)
        return Transmitter(line, self._outbox, self._publisher, self._clock)

    def _make_panels(self, g90: G90) -> Panels:
        return Panels(
            self._panel_topics,
            self._outbox,
            self._door,
            panels=build.controlled(g90),
            rules=[each.rule() for each in self._settings.forward],
            clock=self._clock,
            accept_unknown=g90.unknown_panels == "accept",
            tell=self._publisher.event,
            stored=self._stored,
            known=self._announce_panel,
        )

    def _listen_to_panels(self, states: dict[str, PanelState]) -> Iterator[Coroutine[Any, Any, None]]:
        g90 = self._settings.g90
        if g90 is not None and self._panels is not None:
            controlled, transmitters = build.controlled(g90), len(self._transmitters)
            server = build.server(g90, self._panels, controlled, states, transmitters, self._clock)
            yield server.run()
            yield self._panels.run(server)

    def _knows_panel(self, guid: str) -> bool:
        return self._panels is not None and guid in self._panels.guids

    def _panel_command(self, message: Incoming) -> None:
        guid = self._panel_topics.guid(message.topic) or ""
        if self._panels is not None and self._knows_panel(guid):
            self._panels.take(message.topic, message.payload, message.reply)
            return
        reason = f"there is no panel {clean(guid)!r} in the configuration"
        self._publisher.event("command_rejected", topic=clean(message.topic), reason=reason)
        if message.reply is not None:
            payload = set_response(None, SetOutcome.FAILED, reason, self._clock.now())
            self._publisher.answer(message.reply, payload)

    def _stored(self, touched: Touched) -> None:
        """Something new was stored for these transmitters."""
        for name, queued in touched.items():
            if name in self._transmitters:
                self._transmitters[name].wake(queued)
                self._publisher.changed_soon(name)

    def _tell_info(self) -> None:
        self._told_panels = self._panels.guids if self._panels else []
        info = {
            "version": __version__,
            "started_at": timestamp(self._started_at),
            "mqtt_protocol": self._settings.mqtt.protocol,
            "transmitters": list(self._transmitters),
            "panels": self._told_panels,
        }
        self._door.state(self._topics.bridge_info, json.dumps(info))

    async def _tell_health(self) -> None:
        while True:
            try:
                self._door.state(self._topics.bridge_health, json.dumps(await self._health()))
            except StoreError as error:
                log.error("%s", error)
            await asyncio.sleep(_HEALTH_S)

    async def _health(self) -> dict[str, object]:
        counts = [await self._outbox.counts(name) for name in self._transmitters]
        lines = self._transmitters.values()
        return {
            "uptime_s": int(time.monotonic() - self._started),
            "rss_bytes": _resident_bytes(),
            "outbox_pending": sum(each.pending for each in counts),
            "outbox_rejected": sum(each.rejected for each in counts),
            "alarms_delivered": sum(each.delivered for each in lines),
            "send_failures": sum(each.failures for each in lines),
            "mqtt_reconnects": max(0, self._door.connects - 1),
            "panels_online": self._panels.online if self._panels else 0,
        }

    async def _problems(self) -> list[str]:
        """Say what is wrong, for the health check."""
        found = [] if self._door.connected.is_set() else ["not connected to the broker"]
        try:
            for name in self._transmitters:
                queued = await self._outbox.first(name)
                waited = self._clock.age_s(queued.command.moment, queued.command.accepted_at) if queued else 0.0
                if waited > health.STUCK_AFTER_S:
                    found.append(f"transmitter {name}: an alarm waits for {waited:.0f} s")
        except StoreError as error:
            found.append(str(error))
        return found

    async def _hanging(self) -> list[str]:
        """Name what hangs, for the watchdog. A broker or receivers that are away, or a full disk, are no hang."""
        with suppress(StoreError):
            await self._outbox.change_mark()
        pulses = [self._door.pulse, *(each.pulse for each in self._transmitters.values())]
        return [pulse.name for pulse in pulses if pulse.stopped]

    async def _watch_others(self) -> None:
        """Notice what another program changed in the store, such as `sosbridge outbox retry`."""
        mark = None
        while True:
            try:
                before, mark = mark, await self._outbox.change_mark()
            except StoreError as error:
                log.error("%s", error)
            else:
                if before is not None and before != mark:
                    self._stored(dict.fromkeys(self._transmitters))
            await asyncio.sleep(_OTHERS_WRITE_S)

    async def _watch_damage(self) -> None:
        """End this life of the bridge once the store is damaged: the next one begins with a sound store."""
        raise await self._store.until_damaged()

    async def _prune(self) -> None:
        while True:
            await asyncio.sleep(_PRUNE_S)  # by then a receiver has told if the clock is years ahead
            if self._clock.is_wrong:
                continue
            try:
                await self._outbox.prune(self._clock.now())
            except StoreError as error:
                log.error("%s", error)


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel `tasks` and wait until they have ended."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


def _resident_bytes() -> int:
    """Return the memory in use; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
