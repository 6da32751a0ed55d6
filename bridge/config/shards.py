"""The transmitters of one shard, and the digest of what must be the same on all nodes. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any, Final
from zlib import crc32

from bridge.common.models import Secret
from bridge.config.settings import Settings

_OF_THE_NODE: Final[Any] = {
    "node": True,
    "log": True,
    "include": True,
    "web": True,
    "store": {"path", "url"},
    "mqtt": {"host", "port", "username", "password", "transport", "websocket_path", "tls"},
    "g90": {"listen"},
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
    if shards == 1 or settings.store.url is None:
        return settings
    ours = tuple(each for each in settings.transmitters if shard_of(each.name, shards) == shard)
    panels = {} if shard == 0 else {"g90": None, "forward": ()}
    return settings.model_copy(update={"transmitters": ours, **panels})


def elsewhere(settings: Settings, shard: int) -> dict[str, int]:
    """Return the shards of the transmitters that are not in this one, by name."""
    found = {each.name: shard_of(each.name, settings.store.shards) for each in settings.transmitters}
    return {name: number for name, number in found.items() if number != shard}


def digest(settings: Settings) -> str:
    """Return a hash of the settings that must be the same on all nodes.

    Secrets are part of it: the long passwords of transmitters keep a panel's short code from being found by trying.
    """
    found: dict[str, Any] = settings.model_dump(exclude=_OF_THE_NODE)
    for path in (path for each in found["transmitters"] for path in each["paths"]):
        for name in _OF_A_PATH:
            del path[name]
    found["transmitters"] = _sorted(found["transmitters"], "name")
    if found["g90"]:
        found["g90"]["panels"] = _sorted(found["g90"]["panels"], "guid")
    text = json.dumps(found, sort_keys=True, default=Secret.reveal)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _sorted(tables: Iterable[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Return tables whose order says nothing: nodes may include their files in different orders."""
    return sorted(tables, key=lambda table: str(table[name]))
