"""A discovered device and its entities in Home Assistant, pure (TOPICS.md, Home Assistant)."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from bridge.transmitters.topics import Topics

Payload = dict[str, Any]

DIAGNOSTIC: Final[Payload] = {"entity_category": "diagnostic"}
MEASUREMENT: Final[Payload] = {"state_class": "measurement"}
TOTAL: Final[Payload] = {"state_class": "total_increasing"}

_REPLACED: Final = (("_", " "), ("ac power", "AC power"), ("wifi", "Wi-Fi"))
"""What turns the type of an event into words."""
_READABLE: Final = "".join(f" | replace({old!r}, {new!r})" for old, new in _REPLACED)

_DEFAULT = "sosbridge"
"""The default base topic; its ids need no hash."""
_URL = "https://github.com/sosbridge/sosbridge"


@dataclass(frozen=True, slots=True)
class Names:
    """Topics and ids that follow from the discovery prefix and the base topic; the version of sosbridge."""

    prefix: str
    base: str
    version: str
    shard: int = 0
    """Whose state the availability follows."""

    @property
    def root(self) -> str:
        """The prefix of unique ids. It differs for every base topic, and none is a prefix of another."""
        return _DEFAULT if self.base == _DEFAULT else f"{_DEFAULT}-{sha256(self.base.encode()).hexdigest()[:8]}"

    @property
    def slug(self) -> str:
        """The readable prefix of entity ids; Home Assistant numbers equal ones."""
        slug = re.sub(r"[^a-z0-9]+", "_", self.base.lower()).strip("_")
        return slug if slug.startswith(_DEFAULT) else f"{_DEFAULT}_{slug}".strip("_")

    @property
    def birth_topic(self) -> str:
        """Where Home Assistant publishes `online` when it starts."""
        return f"{self.prefix}/status"

    def topic(self, device: str) -> str:
        return f"{self.prefix}/device/{device}/config"

    @property
    def filter(self) -> str:
        """The filter of retained discovery payloads, those of other programs included."""
        return self.topic("+")

    def is_ours(self, topic: str) -> bool:
        device = topic.removeprefix(f"{self.prefix}/device/").removesuffix("/config")
        return any(
            device == self.root or device.startswith(f"{self.root}_{kind}_") for kind in ("transmitter", "panel")
        )


@dataclass(frozen=True, slots=True)
class Entity:
    """A row in the table of a device: `options` are those of its platform in Home Assistant's discovery."""

    platform: str
    key: str
    name: str
    options: Payload
    always_available: bool = False


@dataclass(frozen=True, slots=True)
class Device:
    """A device; its entities are available while the bridge is online and all of `availability` are."""

    names: Names
    id: str
    availability: tuple[str, ...] = ()

    def payload(self, about: Payload, entities: Iterable[Entity]) -> Payload:
        root = self.names.root
        via = {} if self.id == root else {"via_device": root}
        return {
            "device": {"identifiers": [self.id], **about, **via},
            "origin": {"name": "sosbridge", "sw_version": self.names.version, "support_url": _URL},
            "components": {entity.key: self._component(entity) for entity in entities},
        }

    def _component(self, entity: Entity) -> Payload:
        entity_id = f"{self.names.slug}{self.id.removeprefix(self.names.root)}_{entity.key}"
        state = Topics(self.names.base, {}, shard=self.names.shard).bridge("state")
        topics = (state, *self.availability)
        availability = {"availability": [{"topic": topic} for topic in topics], "availability_mode": "all"}
        return {
            "platform": entity.platform,
            "unique_id": f"{self.id}_{entity.key}",
            "object_id": entity_id,
            "default_entity_id": f"{entity.platform}.{entity_id}",
            "name": entity.name,
            **({} if entity.always_available else availability),
            "qos": 1,
            **entity.options,
        }


def sensor(key: str, name: str, topic: str, expression: str, **options: object) -> Entity:
    return Entity("sensor", key, name, {"state_topic": topic, "value_template": _value(expression), **options})


def binary_sensor(key: str, name: str, topic: str, expression: str | None = None, **options: object) -> Entity:
    """Return a binary sensor; without `expression` the payload itself is `ON` or `OFF`."""
    template = {"value_template": _value(expression)} if expression else {}
    return Entity("binary_sensor", key, name, {"state_topic": topic, **template, **options})


def button(key: str, name: str, topic: str, **options: object) -> Entity:
    return Entity("button", key, name, {"command_topic": topic, **options})


def event(key: str, name: str, topic: str, types: Iterable[str], **options: object) -> Entity:
    """Return an event entity that ignores messages of other types; its event types are for people to read."""
    known = sorted(map(str, types))
    readable = [_readable(each) for each in known]
    template = _event_template(known, "value_json.type" if readable == known else f"value_json.type{_READABLE}")
    own = {"state_topic": topic, "event_types": readable, "value_template": template}
    return Entity("event", key, name, own | options)


def _readable(event_type: str) -> str:
    return functools.reduce(lambda text, each: text.replace(*each), _REPLACED, event_type)


def doorbell(key: str, name: str, topic: str, event_type: str) -> Entity:
    """Return an event entity for a doorbell; Home Assistant requires its event to be `ring`."""
    template = _event_template([str(event_type)], "'ring'")
    options = {"device_class": "doorbell", "event_types": ["ring"], "value_template": template}
    return Entity("event", key, name, {"state_topic": topic, **options})


def _value(expression: str) -> str:
    """Return a template; an empty payload (a cleared topic) makes the state unknown."""
    return f"{{{{ ({expression}) if value_json is defined else 'None' }}}}"


def _event_template(known: list[str], event_type: str) -> str:
    found = f"{{{{ dict(value_json, event_type={event_type}) | to_json }}}}"
    return f"{{% if value_json is defined and value_json.type in {known} %}}{found}{{% endif %}}"
