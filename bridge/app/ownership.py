"""Owning one shard: the proof of life, what it permits, and when the shard is given up.

While this node owns the shard, a commit each second proves it. Nothing is sent unless the last one is young enough, and
no connection to the broker is made without one. A store that lost its session has lost the shard.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bridge.app.build import Homes
from bridge.common.errors import LostError
from bridge.common.lasting import tolerated
from bridge.common.loop import now, within
from bridge.common.models import NamedAlarm
from bridge.mqtt.session import Owner, SessionEnd
from bridge.store.postgres.owner import PROOF, boot_clock, permits
from bridge.store.postgres.subscribed import set_subscribed
from bridge.transmitters.network import Pace

if TYPE_CHECKING:  # psycopg is imported only where there is a database
    from bridge.store.postgres.database import PostgresStore
    from bridge.store.postgres.nodes import Cluster, Member
    from bridge.web.board import Board

log = logging.getLogger(__name__)

_EACH_S = 1.0
_LOOK_S = 0.02
_AWAY_S = 5.0
"""How long the broker may be away until a node that reaches it gets the shard."""
_SILENT_S = 10.0
"""A database that is silent for so long may have been replaced by another one."""
_THROWN_OUT_S = 30.0
_THROWN_OUT = 2
"""So often within `_THROWN_OUT_S`: another client has our id, and takes turns with us."""


class Ownership(Owner):
    """The ownership of one shard, from the moment that its store is open."""

    def __init__(
        self,
        store: PostgresStore,
        node: str,
        shard: int,
        lease_s: float,
        cluster: Callable[[], Cluster],
        reachable: Callable[[], bool],
        transmitters: Sequence[str] = (),
        differs: Callable[[], bool] = lambda: False,
    ) -> None:
        """`transmitters` are those of the shard. `cluster` returns what this node sees of the others.

        `reachable` returns whether another session of this node reaches the database. `differs` returns whether another
        node may have another configuration.
        """
        self._transmitters = transmitters
        self._differs = differs
        self._reachable = reachable
        self.shard = shard
        self.stop = asyncio.Event()
        """Set to give the shard up in order."""
        self.released = False
        """Whether that is because another node is better off."""
        self._store = store
        self._node = node
        self._lease_s = lease_s
        self._cluster = cluster
        self._hurry = asyncio.Event()
        self._ends: deque[float] = deque(maxlen=_THROWN_OUT)

    def permit(self) -> bool:
        """Whether an exchange may begin now."""
        return not self._store.lost.is_set() and permits(self._store.last_commit, self._lease_s, boot_clock())

    @property
    def ending(self) -> SessionEnd:
        """How the MQTT session is to end now."""
        if not self.permit():
            return SessionEnd.LOST
        return SessionEnd.HAND_OVER if self._cluster().heirs(self._node) else SessionEnd.OFFLINE

    def _successors(self) -> list[Member]:
        return self._cluster().successors(self._node)

    async def run(self, away_s: Callable[[], float]) -> None:
        """Watch the ownership until cancelled. Raises LostError once it is lost.

        `away_s` returns for how many seconds this node has not reached the broker.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_broker(away_s), name=f"shard {self.shard}: watch the broker")
            tasks.create_task(self._watch_database(), name=f"shard {self.shard}: watch the database")
            await self._store.lost.wait()
            raise LostError(f"shard {self.shard} is lost: {self._store.failure or 'the database ended the session'}")

    async def prove_regularly(self) -> None:
        """Prove the ownership until it is lost: from the moment that the store is open."""
        while not self._store.lost.is_set():
            self._hurry.clear()
            with tolerated(log):
                await self._store.write(lambda db: db.execute(PROOF, (self.shard, self._node)))
            await within(_EACH_S, self._hurry.wait())

    async def _watch_broker(self, away_s: Callable[[], float]) -> None:
        while True:
            left_s = _AWAY_S - away_s()
            if left_s <= 0 and (better := [each.name for each in self._successors() if each.broker]):
                self.release(f"the broker does not answer this node, but {', '.join(better)}")
            await asyncio.sleep(max(left_s, _LOOK_S) if 0 < left_s < _EACH_S else _EACH_S)

    async def _watch_database(self) -> None:
        """Raise LostError where the database answers nothing any more, and does not end the session either."""
        since = boot_clock()
        while True:
            if self.permit() or self._reachable():
                since = boot_clock()
            elif boot_clock() - since > _SILENT_S:
                raise LostError(f"shard {self.shard} is lost: the database does not answer")
            await asyncio.sleep(_EACH_S)

    def release(self, why: str) -> None:
        """Give the shard up in order, for another node that is better off."""
        if not self.stop.is_set():
            log.warning("shard %d is given up: %s", self.shard, why)
        self.released = True
        self.stop.set()

    # For the MQTT session

    async def prove(self, beat: Callable[[], None]) -> None:
        asked = boot_clock()
        self._hurry.set()
        while self._store.last_commit < asked:  # one that was begun after the connection had ended
            beat()
            await asyncio.sleep(_LOOK_S)

    async def subscribed(self) -> None:
        if self.shard == 0:  # which gets the commands of all
            return
        with tolerated(log):
            only = not self._differs()
            await self._store.write(lambda db: set_subscribed(db, self.shard, self._transmitters, only=only))

    def thrown_out(self) -> None:
        self._ends.append(now())
        if len(self._ends) == _THROWN_OUT and now() - self._ends[0] < _THROWN_OUT_S and self._successors():
            self.release("the broker ended two connections: another client has our client id, or cannot keep ours")


@dataclass(frozen=True, slots=True)
class Place:
    """What a node gives to the bridge of a shard that it owns."""

    ownership: Ownership
    homes: Homes
    others: Mapping[str, int]
    """The shards of the transmitters that others own, by name."""
    max_ages: Mapping[str, float]
    """How old an alarm of any transmitter may be, in seconds: panels, which are with shard 0, raise them for all."""
    move: Callable[[str], Awaitable[bool]]
    """Gives the shard to a node by its name; it returns False where that cannot take it."""
    pace: Pace
    """At which the transmitters of all shards of the node begin."""
    board: Board | None
    """What the node's page shows."""
    differs: Callable[[], bool]
    """Returns whether the owner of another shard may have another configuration."""
    alarms: Callable[[str], Mapping[str, NamedAlarm] | None]
    """Returns the configured alarms of a transmitter of any shard; None if this node does not know it."""
