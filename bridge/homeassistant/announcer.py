"""Keeps Home Assistant's discovery as the configuration and the panels are; what is gone is taken out there, too."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping

from bridge.homeassistant.devices import removal
from bridge.homeassistant.entity import Names, Payload
from bridge.mqtt.session import Door

log = logging.getLogger(__name__)

_BETWEEN_S = 0.2
"""After Home Assistant's birth its devices come again one after the other."""


class Announcer:
    """Declares device payloads by topic. `enabled` false: declares nothing, so that all of ours is removed."""

    def __init__(self, names: Names, door: Door, *, enabled: bool) -> None:
        self.names = names
        self._door = door
        self._enabled = enabled
        self._devices: dict[str, Payload] = {}
        self._born = asyncio.Event()

    def is_stale(self, topic: str) -> bool:
        """Tell whether a retained discovery topic is ours and of a device that is no more."""
        return self.names.is_ours(topic) and topic not in self._devices

    def announce(self, device: str, payload: Payload) -> None:
        """Declare one device; components that it had and has no more are removed."""
        if not self._enabled:
            return
        topic = self.names.topic(device)
        self._remove(topic, self._devices.get(topic, {}), payload)
        self._devices[topic] = payload
        self._door.state(topic, json.dumps(payload))

    def learned(self, held: Mapping[str, str]) -> None:
        """Take what the broker holds, perhaps from a time with other alarms and sensors."""
        for topic, payload in self._devices.items():
            try:
                before = json.loads(held.get(topic, "{}"))
            except (ValueError, RecursionError):  # whoever wrote it
                continue
            if isinstance(before, dict):
                self._remove(topic, before, payload)

    def born(self) -> None:
        """Home Assistant has started: it gets all devices again."""
        self._born.set()

    async def run(self) -> None:
        """Answer births until cancelled."""
        while True:
            await self._born.wait()
            self._born.clear()
            log.info("Home Assistant is there: %d devices are announced again", len(self._devices))
            for topic in list(self._devices):
                self._door.state_again(topic)
                await asyncio.sleep(_BETWEEN_S)

    def _remove(self, topic: str, before: Payload, after: Payload) -> None:
        markers = removal(before, after)
        if markers is not None:
            self._door.publish(topic, json.dumps(markers), retain=True)
            self._door.publish(topic, json.dumps(after), retain=True)
