"""The running bridge: everything built from the settings and joined, one TaskGroup, signals, a clean stop."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from bridge import __version__, health
from bridge.broker import Broker
from bridge.credentials import Credentials
from bridge.errors import StoreError
from bridge.intake import Intake
from bridge.line import Line
from bridge.lock import hold
from bridge.models import Secret
from bridge.mqtt import Door, Interface
from bridge.outbox import Outbox
from bridge.publisher import Publisher
from bridge.settings import Mqtt, Settings, split_address
from bridge.settings import Transmitter as TransmitterSettings
from bridge.sos_access.client import SOSAccessClient
from bridge.store import Store
from bridge.topics import Topics, timestamp
from bridge.transmitter import Transmitter

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
        async with await Store.open(path) as store:
            await Bridge(settings, store).run(stop)
    log.info("stopped")


class Bridge:
    """All parts of one running bridge."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._started_at = datetime.now().astimezone()
        self._started = time.monotonic()
        self._outbox = Outbox(store, settings.store.max_commands, timedelta(seconds=settings.store.history))
        self._topics = topics(settings)
        self._publisher = Publisher(self._topics, self._outbox)
        self._transmitters = {
            each.name: Transmitter(line(settings, each), self._outbox, self._publisher)
            for each in settings.transmitters
        }
        intake = Intake(self._topics, self._outbox, self._publisher, self._wake)
        self._door = Door(broker(settings.mqtt), _interface(self._topics), intake)
        self._publisher.attach(self._door)

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set: then the lines end, what is left is published, `offline`, and the broker is left."""
        for each in self._settings.transmitters:
            for warning in each.warnings:
                log.warning("%s: %s", each.name, warning)
        log.info("sosbridge %s, transmitters: %s", __version__, ", ".join(self._transmitters) or "none")
        await self._publisher.restore()
        self._tell_info()
        async with asyncio.TaskGroup() as tasks:
            lines = [tasks.create_task(each.run(), name=each.name) for each in self._transmitters.values()]
            publishing = [tasks.create_task(self._publisher.run()), tasks.create_task(self._publisher.mark())]
            door = tasks.create_task(self._door.run())
            others = [
                tasks.create_task(self._tell_health()),
                tasks.create_task(self._watch_others()),
                tasks.create_task(self._prune()),
                tasks.create_task(health.serve(self._settings.store.path, self._problems)),
            ]
            await stop.wait()
            log.info("stopping")
            self._door.stop()
            for group in (others, lines, publishing, [door]):
                await _end(group)
            await self._publisher.flush()

    def _wake(self, names: Iterable[str]) -> None:
        for name in names:
            self._transmitters[name].wake()

    def _tell_info(self) -> None:
        info = {
            "version": __version__,
            "started_at": timestamp(self._started_at),
            "mqtt_protocol": self._settings.mqtt.protocol,
            "transmitters": list(self._transmitters),
            "panels": [],
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
            "panels_online": 0,
        }

    async def _problems(self) -> list[str]:
        """Say what is wrong, for the health check."""
        found = [] if self._door.connected.is_set() else ["not connected to the broker"]
        try:
            for name in self._transmitters:
                oldest = (await self._outbox.counts(name)).oldest_at
                waited = (datetime.now().astimezone() - oldest).total_seconds() if oldest else 0.0
                if waited > health.STUCK_AFTER_S:
                    found.append(f"transmitter {name}: an alarm waits for {waited:.0f} s")
        except StoreError as error:
            found.append(str(error))
        return found

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
                    self._wake(self._transmitters)
                    for name in self._transmitters:
                        self._publisher.changed(name)
            await asyncio.sleep(_OTHERS_WRITE_S)

    async def _prune(self) -> None:
        while True:
            try:
                await self._outbox.prune(datetime.now().astimezone())
            except StoreError as error:
                log.error("%s", error)
            await asyncio.sleep(_PRUNE_S)


def topics(settings: Settings) -> Topics:
    named = {each.name: {alarm.key: alarm.named() for alarm in each.alarms} for each in settings.transmitters}
    return Topics(settings.mqtt.base_topic, named)


def _interface(names: Topics) -> Interface:
    return Interface(names.bridge_state, names.commands, names.states, names.is_stale)


def broker(mqtt: Mqtt) -> Broker:
    tls = mqtt.tls if mqtt.tls and mqtt.tls.enabled else None
    return Broker(
        host=mqtt.host,
        port=mqtt.port,
        username=mqtt.username,
        password=Secret(mqtt.password.get_secret_value()) if mqtt.password else None,
        protocol=mqtt.protocol,
        client_id=mqtt.client_id or mqtt.base_topic.replace("/", "-"),
        session_expiry_s=int(mqtt.session_expiry),
        keepalive_s=int(mqtt.keepalive),
        transport=mqtt.transport,
        websocket_path=mqtt.websocket_path,
        tls=tls is not None,
        ca_file=tls.ca_file if tls else None,
        cert_file=tls.cert_file if tls else None,
        key_file=tls.key_file if tls else None,
    )


def client(each: TransmitterSettings, authentication: Secret) -> SOSAccessClient:
    return SOSAccessClient(
        each.transmitter_code,
        each.transmitter_type,
        authentication,
        each.receiver_id,
        split_address(each.receiver),
        split_address(each.secondary_receiver) if each.secondary_receiver else None,
        each.use_single_receiver,
        each.use_tls,
        tls_verify=each.tls_verify,
        connect_timeout=each.connect_timeout,
        response_timeout=each.response_timeout,
    )


def credentials(store: Path, each: TransmitterSettings) -> Credentials:
    """Return the passwords of a transmitter, which lie beside the store. Raises StoreError."""
    directory = store.with_name(f"{store.stem}.passwords")
    return Credentials(directory / f"{each.name}.json", Secret(each.authentication.get_secret_value()))


def line(settings: Settings, each: TransmitterSettings) -> Line:
    passwords = credentials(settings.store.path, each)
    return Line(
        name=each.name,
        client=client(each, passwords.candidates()[0]),
        credentials=passwords,
        heartbeat=each.heartbeat_s,
        max_age=timedelta(seconds=each.max_age),
    )


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel `tasks` and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def _resident_bytes() -> int:
    """Return the memory in use; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
