"""The transmitters of one shard, and the digest of what must be the same on all nodes. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from zlib import crc32

from bridge.common.models import Secret
from bridge.config.settings import Settings
from bridge.config.transmitters import TransmitterSettings

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


def divided(settings: Settings) -> list[Settings]:
    """Return the settings of each shard, with its transmitters; panels and their rules are with shard 0."""
    shards = settings.store.shards
    if shards == 1 or settings.store.url is None:
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
