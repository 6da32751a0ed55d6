"""The transmitters of one shard, and the digest of what must be the same on all nodes. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final
from zlib import crc32

from bridge.config.settings import Settings
from bridge.config.transmitters import TransmitterSettings

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


def divided(settings: Settings) -> list[Settings]:
    """Return the settings of each shard, with its transmitters; panels and their rules are with shard 0."""
    shards = settings.store.shards
    if shards == 1:
        return [settings]
    parts: list[list[TransmitterSettings]] = [[] for _ in range(shards)]
    for each in settings.transmitters:
        parts[shard_of(each.name, shards)].append(each)
    without_panels = settings.model_copy(update={"g90": None, "forward": ()})
    return [
        (without_panels if shard else settings).model_copy(update={"transmitters": tuple(part)})
        for shard, part in enumerate(parts)
    ]


class ShardsOfOthers(Mapping[str, int]):
    """The shards of the transmitters that are not in one shard, by name.

    All shards of a node share one table.
    """

    def __init__(self, shards: Mapping[str, int], own: int) -> None:
        """`shards`: of all transmitters; `own`: the one whose transmitters are left out."""
        self._shards, self._own = shards, own

    def __getitem__(self, name: str) -> int:
        if (shard := self._shards[name]) == self._own:
            raise KeyError(name)
        return shard

    def __iter__(self) -> Iterator[str]:
        return (name for name, shard in self._shards.items() if shard != self._own)

    def __len__(self) -> int:
        return sum(shard != self._own for shard in self._shards.values())


def digest(settings: Settings) -> str:
    """Return a hash of the settings that must be the same on all nodes."""
    found: dict[str, Any] = settings.model_dump(mode="json", exclude=_OF_THE_NODE)
    for path in (path for each in found["transmitters"] for path in each["paths"]):
        for name in _OF_A_PATH:
            del path[name]
    for each, table in zip(settings.transmitters, found["transmitters"], strict=True):
        table["authentication"] = each.authentication.reveal()
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:16]
