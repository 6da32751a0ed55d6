"""The transmitters of one shard, and the digest of what must be the same on all nodes. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final
from zlib import crc32

from bridge.config.settings import Settings

_OF_THE_NODE: Final[Any] = {
    "node": True,
    "log": True,
    "include": True,
    "web": True,
    "store": {"path", "url"},
    "mqtt": {"host", "port", "username", "password", "transport", "websocket_path", "tls"},
}
"""Settings that may differ from node to node."""
_OF_A_PATH = ("interface", "source")
"""Machines name their networks as they like."""


def shard_of(transmitter: str, shards: int) -> int:
    """Return the shard that a transmitter belongs to."""
    return crc32(transmitter.encode()) % shards


def of_shard(settings: Settings, shard: int) -> Settings:
    """Return the settings with the transmitters of one shard; panels and their rules are with shard 0."""
    shards = settings.store.shards
    if shards == 1:
        return settings
    ours = tuple(each for each in settings.transmitters if shard_of(each.name, shards) == shard)
    panels = {} if shard == 0 else {"g90": None, "forward": ()}
    return settings.model_copy(update={"transmitters": ours, **panels})


def elsewhere(settings: Settings, shard: int) -> dict[str, int]:
    """Return the shards of the transmitters that are not in this one, by name."""
    found = {each.name: shard_of(each.name, settings.store.shards) for each in settings.transmitters}
    return {name: number for name, number in found.items() if number != shard}


def digest(settings: Settings) -> str:
    """Return a hash of the settings that must be the same on all nodes."""
    found: dict[str, Any] = settings.model_dump(mode="json", exclude=_OF_THE_NODE)
    for path in (path for each in found["transmitters"] for path in each["paths"]):
        for name in _OF_A_PATH:
            del path[name]
    for each, table in zip(settings.transmitters, found["transmitters"], strict=True):
        table["authentication"] = each.authentication.reveal()
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:16]
