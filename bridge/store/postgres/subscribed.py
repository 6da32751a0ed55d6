"""Which transmitters each shard's MQTT session is subscribed to.

While the configurations of the nodes differ, the owner of shard 0, which receives all commands, queries here which of
them no other owner receives.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Final

from bridge.store.database import Db

_ADD: Final = "INSERT INTO subscribed (name, shard) SELECT json_array_elements_text(?), ? ON CONFLICT DO NOTHING"
_DELETE: Final = "DELETE FROM subscribed WHERE shard = ? AND name NOT IN (SELECT json_array_elements_text(?))"
_FIND: Final = "SELECT name FROM subscribed WHERE name IN (SELECT json_array_elements_text(?))"


def set_subscribed(db: Db, shard: int, transmitters: Collection[str], *, only: bool) -> None:
    """Store that a shard is subscribed to the commands of these transmitters; `only`: and of no others."""
    names = json.dumps(list(transmitters))
    db.execute(_ADD, (names, shard))
    if only:
        db.execute(_DELETE, (shard, names))


def subscribed(db: Db, transmitters: Collection[str]) -> set[str]:
    """Return which of these transmitters some shard is subscribed to."""
    return {row["name"] for row in db.execute(_FIND, (json.dumps(list(transmitters)),))}
