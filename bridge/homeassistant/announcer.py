"""Keeps Home Assistant's discovery in step with configuration and panels (TOPICS.md, Home Assistant)."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence

from bridge.common.models import Incoming, NamedAlarm
from bridge.g90.state.model import PanelState
from bridge.homeassistant.devices import bridge_device, removal, transmitter_device, transmitter_id
from bridge.homeassistant.entity import Names, Payload
from bridge.homeassistant.panel import ControlOptions, panel_device, panel_id
from bridge.mqtt.outgoing import Outgoing
from bridge.mqtt.routes import TopicRoute
from bridge.transmitters.topics import Reach

log = logging.getLogger(__name__)

_BETWEEN_S = 0.2
"""Devices are published again one after the other: Home Assistant is still starting."""
_ALL_S = 60.0
"""Within which all are, unless they are so many that less than `_LEAST_S` would be between two."""
_LEAST_S = 0.005
_NOT_CONTROLLED = ControlOptions(possible=False, readable=False)


class Announcer:
    def __init__(
        self, names: Names, outgoing: Outgoing, panels: Mapping[str, ControlOptions], *, enabled: bool
    ) -> None:
        """`panels`: how each can be controlled, by GUID. `enabled` False: all our discovery is removed."""
        self.names = names
        self._outgoing = outgoing
        self._panels = panels
        self._enabled = enabled
        self._devices: dict[str, Payload] = {}
        self._started = asyncio.Event()

    @property
    def route(self) -> TopicRoute:
        return TopicRoute(self.names.birth_topic, self.handle_status, retained=True)

    @property
    def devices(self) -> Mapping[str, Payload]:
        """The announced devices by topic, in the order of their first announcement."""
        return self._devices

    def is_stale(self, topic: str) -> bool:
        """Return whether a retained discovery topic is ours and announces a device that does not exist."""
        return self.names.is_ours(topic) and topic not in self._devices

    def announce_bridge(self, shards: int = 1) -> None:
        self._announce(self.names.root, bridge_device(self.names, shards))

    def announce_transmitter(
        self, name: str, alarms: Mapping[str, NamedAlarm], test_code: str | None, reach: Reach | None = None
    ) -> None:
        payload = transmitter_device(self.names, name, alarms, test_code, reach)
        self._announce(transmitter_id(self.names, name), payload)

    def announce_panel(self, state: PanelState) -> None:
        control = self._panels.get(state.guid, _NOT_CONTROLLED)
        self._announce(panel_id(self.names, state.guid), panel_device(self.names, state, control))

    def _announce(self, device: str, payload: Payload) -> None:
        """Declare one device; components that it had and has no longer are removed."""
        if not self._enabled:
            return
        topic = self.names.topic(device)
        self._remove(topic, self._devices.get(topic, {}), payload)
        self._devices[topic] = payload
        self._outgoing.state(topic, json.dumps(payload))

    def learned(self, held: Mapping[str, str]) -> None:
        """Compare with what the broker holds, perhaps from a configuration with other alarms and sensors."""
        for topic, payload in self._devices.items():
            try:
                before = json.loads(held.get(topic, "{}"))
            except (ValueError, RecursionError):  # any client can write there
                continue
            if isinstance(before, dict):
                self._remove(topic, before, payload)

    async def handle_status(self, batch: Sequence[Incoming]) -> None:
        """Publish all devices again when Home Assistant has started."""
        if any(message.payload == b"online" for message in batch):
            self._started.set()

    async def run(self) -> None:
        """Follow Home Assistant's starts until cancelled."""
        while True:
            await self._started.wait()
            self._started.clear()
            log.info("Home Assistant has started: %d devices are announced again", len(self._devices))
            between = max(_LEAST_S, min(_BETWEEN_S, _ALL_S / max(1, len(self._devices))))
            for topic in list(self._devices):
                self._outgoing.state_again(topic)
                await asyncio.sleep(between)

    def _remove(self, topic: str, before: Payload, after: Payload) -> None:
        markers = removal(before, after)
        if markers is not None:
            self._outgoing.publish(topic, json.dumps(markers), retain=True)
            self._outgoing.publish(topic, json.dumps(after), retain=True)
