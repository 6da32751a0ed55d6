"""The bridge's own state: info and health on MQTT, and what hangs."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from bridge import __version__
from bridge.common.errors import StoreError
from bridge.common.lasting import tolerated
from bridge.common.text import timestamp
from bridge.mqtt.outgoing import Outgoing
from bridge.mqtt.session import Session
from bridge.panels.known import KnownPanels
from bridge.store.outbox import Outbox
from bridge.store.records import State
from bridge.transmitters.topics import Topics
from bridge.transmitters.transmitter import Transmitter

log = logging.getLogger(__name__)

_HEALTH_S = 60.0


class BridgeStatus:
    def __init__(
        self,
        topics: Topics,
        outbox: Outbox,
        outgoing: Outgoing,
        session: Session,
        transmitters: Mapping[str, Transmitter],
        panels: KnownPanels,
        *,
        protocol: str,
        started_at: datetime,
    ) -> None:
        """`protocol` is the MQTT version, for the info topic."""
        self._topics = topics
        self._outbox = outbox
        self._outgoing = outgoing
        self._session = session
        self._transmitters = transmitters
        self._panels = panels
        self._protocol = protocol
        self._started_at = started_at
        self._started = time.monotonic()
        self._published_panels: list[str] = []

    def publish_info(self) -> None:
        """Declare `bridge/info` (TOPICS.md, Bridge info)."""
        self._published_panels = self._panels.guids
        info = {
            "version": __version__,
            "started_at": timestamp(self._started_at),
            "mqtt_protocol": self._protocol,
            "transmitters": list(self._transmitters),
            "panels": self._published_panels,
        }
        self._outgoing.state(self._topics.bridge("info"), json.dumps(info))

    def panel_known(self, guid: str) -> None:
        """Add a panel to the info, if it is new."""
        if guid not in self._published_panels:
            self.publish_info()

    async def run(self) -> None:
        """Publish `bridge/health` each minute until cancelled."""
        while True:
            with tolerated(log):
                self._outgoing.state(self._topics.bridge("health"), json.dumps(await self.health()))
            await asyncio.sleep(_HEALTH_S)

    async def health(self) -> dict[str, object]:
        """Return the counters (TOPICS.md, Bridge health). Raises StoreError."""
        totals = await self._outbox.totals(self._transmitters.keys())
        lines = self._transmitters.values()
        return {
            "uptime_s": int(time.monotonic() - self._started),
            "rss_bytes": _resident_bytes(),
            "outbox_pending": totals[State.PENDING],
            "outbox_rejected": totals[State.REJECTED],
            "alarms_delivered": sum(each.delivered for each in lines),
            "send_failures": sum(each.failures for each in lines),
            "mqtt_reconnects": max(0, self._session.connects - 1),
            "panels_online": self._panels.online,
        }

    async def hanging(self) -> list[str]:
        """Return the names of what hangs, for watchdog and health check.

        An unreachable broker or receiver is not a hang, nor is a full disk.
        """
        with suppress(StoreError):
            await self._outbox.change_mark()
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
