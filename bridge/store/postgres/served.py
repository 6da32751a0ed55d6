"""Which transmitters' commands each shard's MQTT session brings to its owner.

While the configurations of the nodes differ, the owner of shard 0, which gets all commands, finds here which of them it
has to pass on.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Final

from bridge.store.database import Db

_ADD: Final = "INSERT INTO served (name, shard) SELECT json_array_elements_text(?), ? ON CONFLICT DO NOTHING"
_DELETE: Final = "DELETE FROM served WHERE shard = ? AND name NOT IN (SELECT json_array_elements_text(?))"
_FIND: Final = "SELECT name FROM served WHERE name IN (SELECT json_array_elements_text(?))"


def note(db: Db, shard: int, transmitters: Collection[str], *, only: bool) -> None:
    """Note that the owner of a shard gets the commands of these transmitters; `only`: and of no others."""
    names = json.dumps(list(transmitters))
    db.execute(_ADD, (names, shard))
    if only:
        db.execute(_DELETE, (shard, names))


def served(db: Db, transmitters: Collection[str]) -> set[str]:
    """Return those of these transmitters whose commands an owner gets."""
    return {row["name"] for row in db.execute(_FIND, (json.dumps(list(transmitters)),))}
