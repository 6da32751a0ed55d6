"""The transmitters of one shard, and the digest of what must be the same on all nodes. Pure."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import zlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import chain
from typing import Any, Final

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
    return zlib.crc32(transmitter.encode()) % shards


class Parts:
    """The settings of each shard, with its transmitters; panels and their rules are with shard 0.

    Most shards belong to other nodes: until their settings are asked for, transmitters take next to no memory here.
    """

    def __init__(self, settings: Settings) -> None:
        count = settings.store.shards if settings.store.url is not None else 1
        self.common = settings.model_copy(update={"transmitters": ()})
        """What is the same for all transmitters."""
        shards = {each.name: shard_of(each.name, count) for each in settings.transmitters}
        parts: list[list[TransmitterSettings]] = [[] for _ in range(count)]
        for each in settings.transmitters:
            parts[shards[each.name]].append(each)
        self._packed = [_packed(part) for part in parts]
        self._packed_shards = _packed(shards)

    @cached_property
    def shards(self) -> dict[str, int]:
        """The shard of each transmitter, by name."""
        # A name that was read with the settings keeps the memory around it from being given back with them.
        found: dict[str, int] = _unpacked(self._packed_shards)
        return found

    def __len__(self) -> int:
        return len(self._packed)

    def __iter__(self) -> Iterator[Settings]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, shard: int) -> Settings:
        part: dict[str, Any] = {"transmitters": tuple(self._transmitters(shard))}
        if shard:
            part |= {"g90": None, "forward": ()}
        return self.common.model_copy(update=part)

    def names(self, shard: int) -> list[str]:
        """Return the names of the transmitters of a shard."""
        return [name for name, each in self.shards.items() if each == shard]

    def transmitter(self, name: str) -> TransmitterSettings | None:
        """Return the settings of a transmitter of any shard; None if it is not configured."""
        if (shard := self.shards.get(name)) is None:
            return None
        return next(each for each in self._transmitters(shard) if each.name == name)

    def _transmitters(self, shard: int) -> list[TransmitterSettings]:
        found: list[TransmitterSettings] = _unpacked(self._packed[shard])
        return found


class _Pickler(pickle.Pickler):
    """Secrets refuse to be pickled. What is packed here never leaves the process."""

    def persistent_id(self, obj: object) -> str | None:
        return obj.reveal() if isinstance(obj, Secret) else None


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, pid: str) -> Secret:
        return Secret(pid)


def _packed(value: object) -> bytes:
    packed = io.BytesIO()
    _Pickler(packed).dump(value)
    return zlib.compress(packed.getvalue(), level=1)


def _unpacked(packed: bytes) -> Any:  # noqa: ANN401 - what was packed
    return _Unpickler(io.BytesIO(zlib.decompress(packed))).load()


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
    found: dict[str, Any] = settings.model_dump(exclude={**_OF_THE_NODE, "transmitters": True})
    # Nodes may include their files in different orders.
    if found["g90"]:
        found["g90"]["panels"] = sorted(found["g90"]["panels"], key=lambda panel: str(panel["guid"]))
    hashed = hashlib.sha256()
    for each in chain([found], map(_shared, sorted(settings.transmitters, key=lambda transmitter: transmitter.name))):
        hashed.update(json.dumps(each, sort_keys=True, default=Secret.reveal).encode())
    return hashed.hexdigest()[:16]


def _shared(transmitter: TransmitterSettings) -> dict[str, Any]:
    found = transmitter.model_dump()
    for path in found["paths"]:
        for name in _OF_A_PATH:
            del path[name]
    return found
