"""Home Assistant entities in the making: what every component of a discovered device has in common."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Payload = dict[str, Any]
Component = tuple[str, Payload]

_URL = "https://github.com/sosbridge/sosbridge"


@dataclass(frozen=True, slots=True)
class Names:
    """Where things are: discovery prefix, base topic, our version."""

    prefix: str
    base: str
    version: str

    @property
    def root(self) -> str:
        """What unique ids and entity ids begin with."""
        slug = "".join(c if c.isalnum() else "_" for c in self.base.lower())
        return slug if slug.startswith("sosbridge") else f"sosbridge_{slug}"

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
        entity = f"{platform}.{self.id}_{key}"
        return key, {
            "platform": platform,
            "unique_id": f"{self.id}_{key}",
            "object_id": f"{self.id}_{key}",
            "default_entity_id": entity,
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
