"""The bridge's own state: info and health on MQTT, and what hangs."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from bridge import __version__
from bridge.app import web
from bridge.app.core import Core
from bridge.common.errors import StoreError
from bridge.common.lasting import tolerated
from bridge.common.text import timestamp
from bridge.mqtt.session import Session
from bridge.panels.known import KnownPanels
from bridge.record.months import Month
from bridge.store.records import State
from bridge.transmitters.transmitter import Transmitter

log = logging.getLogger(__name__)

_HEALTH_S = 60.0


class BridgeStatus:
    """What the bridge publishes of itself, and what the page, the health check and its node ask it."""

    def __init__(
        self, core: Core, session: Session, transmitters: Mapping[str, Transmitter], panels: KnownPanels
    ) -> None:
        self._core = core
        self._session = session
        self._transmitters = transmitters
        self._panels = panels
        self._started_at = core.clock.now()
        self._started = time.monotonic()
        self._published_panels: list[str] = []

    def publish_info(self) -> None:
        """Declare `bridge/info` (TOPICS.md, Bridge info)."""
        self._published_panels = self._panels.guids
        info = {
            "version": __version__,
            "started_at": timestamp(self._started_at),
            "mqtt_protocol": self._core.settings.mqtt.protocol,
            "transmitters": list(self._transmitters),
            "panels": self._published_panels,
        }
        self._publish("info", info)

    def panel_known(self, guid: str) -> None:
        """Add a panel to the info, if it is new."""
        if guid not in self._published_panels:
            self.publish_info()

    async def run(self) -> None:
        """Publish `bridge/health` each minute until cancelled."""
        while True:
            with tolerated(log):
                self._publish("health", await self.counters())
            await asyncio.sleep(_HEALTH_S)

    def _publish(self, leaf: str, content: Mapping[str, object]) -> None:
        self._core.outgoing.state(self._core.topics.bridge(leaf), json.dumps(content))

    # For the page, the health check and the node

    def online(self) -> bool:
        return self._session.connected.is_set()

    def broker_away_s(self) -> float:
        """Return for how many seconds the broker has not been reached (`Session.away_s`)."""
        return self._session.away_s()

    def reconnects(self) -> int:
        return max(0, self._session.connects - 1)

    async def report(self, transmitter: str, month: Month) -> str | None:
        return await web.report(self._core.settings, self._core.store, self._core.outbox, transmitter, month)

    def state(self) -> str:
        return ""

    def owned(self) -> Mapping[int, bool]:
        return {}

    async def counters(self) -> dict[str, object]:
        """Return the counters (TOPICS.md, Bridge health). Raises StoreError."""
        totals = await self._core.outbox.totals(self._transmitters.keys())
        lines = self._transmitters.values()
        return {
            "uptime_s": int(time.monotonic() - self._started),
            "rss_bytes": _resident_bytes(),
            "outbox_pending": totals[State.PENDING],
            "outbox_rejected": totals[State.REJECTED],
            "alarms_delivered": sum(each.delivered for each in lines),
            "send_failures": sum(each.failures for each in lines),
            "mqtt_reconnects": self.reconnects(),
            "panels_online": self._panels.online,
        }

    async def hanging(self) -> list[str]:
        """Return the names of what hangs, for watchdog and health check.

        An unreachable broker or receiver is not a hang, nor is a full disk.
        """
        with suppress(StoreError):
            await self._core.outbox.change_mark()
        return self.stopped()

    def stopped(self) -> list[str]:
        """Return the names of the workers that hang, without waiting for the store."""
        pulses = [self._session.pulse, *(each.pulse for each in self._transmitters.values())]
        return [pulse.name for pulse in pulses if pulse.stopped]


def _resident_bytes() -> int:
    """Return the memory in use; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
