"""Home Assistant entities in the making: what every component of a discovered device has in common."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

Payload = dict[str, Any]
Component = tuple[str, Payload]

_DEFAULT = "sosbridge"
"""The base topic of nearly all bridges."""
_URL = "https://github.com/sosbridge/sosbridge"


@dataclass(frozen=True, slots=True)
class Names:
    """Where things are: discovery prefix, base topic, our version."""

    prefix: str
    base: str
    version: str

    @property
    def root(self) -> str:
        """What unique ids begin with; no two base topics have the same, nor one that begins like ours."""
        return _DEFAULT if self.base == _DEFAULT else f"{_DEFAULT}-{sha256(self.base.encode()).hexdigest()[:8]}"

    @property
    def slug(self) -> str:
        """What entity ids begin with, for people to read; Home Assistant numbers those that are alike."""
        slug = re.sub(r"[^a-z0-9]+", "_", self.base.lower()).strip("_")
        return slug if slug.startswith(_DEFAULT) else f"{_DEFAULT}_{slug}".strip("_")

    def topic(self, device: str) -> str:
        return f"{self.prefix}/device/{device}/config"

    @property
    def filter(self) -> str:
        """What retained discovery of ours, and perhaps of others, matches."""
        return f"{self.prefix}/device/+/config"

    def is_ours(self, topic: str) -> bool:
        device = topic.removeprefix(f"{self.prefix}/device/").removesuffix("/config")
        return any(
            device == self.root or device.startswith(f"{self.root}_{kind}_") for kind in ("transmitter", "panel")
        )


@dataclass(frozen=True, slots=True)
class Device:
    """One device in the making."""

    names: Names
    id: str
    availability: tuple[str, ...]

    def component(self, platform: str, key: str, name: str, **options: object) -> Component:
        entity = f"{self.names.slug}{self.id.removeprefix(self.names.root)}_{key}"
        return key, {
            "platform": platform,
            "unique_id": f"{self.id}_{key}",
            "object_id": entity,
            "default_entity_id": f"{platform}.{entity}",
            "name": name,
            "availability": [{"topic": topic} for topic in self.availability],
            "availability_mode": "all",
            "qos": 1,
            **options,
        }

    def payload(self, device: Payload, components: Iterable[Component]) -> Payload:
        root = self.names.root
        above = {} if self.id == root else {"via_device": root}
        return {
            "device": {"identifiers": [self.id], **device, **above},
            "origin": {"name": "sosbridge", "sw_version": self.names.version, "support_url": _URL},
            "components": dict(components),
        }


def value(expression: str) -> str:
    """Return a template; a payload that is none, as when a topic is cleared, makes the state unknown."""
    return f"{{{{ ({expression}) if value_json is defined else 'None' }}}}"


def event(device: Device, key: str, name: str, topic: str, types: Iterable[str], **options: object) -> Component:
    """Return an event entity; a message of another type is none of its events (an empty payload)."""
    known = sorted(map(str, types))
    template = _told(known, "value_json.type")
    return device.component(
        "event", key, name, state_topic=topic, event_types=known, value_template=template, **options
    )


def doorbell(device: Device, key: str, name: str, topic: str, kind: str) -> Component:
    """Return an event entity for a doorbell, whose one event Home Assistant wants to be `ring`."""
    options = {"device_class": "doorbell", "event_types": ["ring"], "value_template": _told([str(kind)], "'ring'")}
    return device.component("event", key, name, state_topic=topic, **options)


def _told(known: list[str], event_type: str) -> str:
    found = f"{{{{ dict(value_json, event_type={event_type}) | to_json }}}}"
    return f"{{% if value_json is defined and value_json.type in {known} %}}{found}{{% endif %}}"
