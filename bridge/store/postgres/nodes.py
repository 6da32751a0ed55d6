"""The nodes of a cluster: each has a row and a session of its own beside those that own shards.

Over it a node says that it lives, sees who else does and who owns what, and gets notifications. Nothing that must not
be lost is written there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

import psycopg
from psycopg.rows import dict_row

from bridge.common.errors import BusyError, ConfigError
from bridge.common.models import Secret
from bridge.store.postgres.connection import Server
from bridge.store.postgres.owner import CHANNEL, LOCK_CLASS, NODE_CLASS, node_of
from bridge.store.postgres.schema import SHARED, upgrade

ALIVE_S: Final = 3.0
"""A node whose row is older does not live, or cannot reach the database."""
_MAY_LIVE_S: Final = 15.0
"""A busy machine may let its node wait so long."""
_WAITS_S: Final = 2.0
"""A commit that waits longer for the synchronous standby is reported: usually it takes milliseconds."""
_OPTIONS: Final = (
    "-c synchronous_commit=off"  # it shows that a standby is gone also while no other commit ends
    " -c statement_timeout=3s -c lock_timeout=2s -c idle_in_transaction_session_timeout=2s"
    " -c idle_session_timeout=5s"  # a node looks each half second; a dead one leaves its name to the next process
    f" -c search_path={SHARED}"
)
_SESSION: Final[dict[str, Any]] = {
    "connect_timeout": "3", "keepalives_idle": "3", "keepalives_interval": "1", "keepalives_count": "2",
    "tcp_user_timeout": "3000", "options": _OPTIONS,
}  # fmt: skip
_NODES: Final = "SELECT *, extract(epoch FROM clock_timestamp() - seen_at)::float8 AS age_s FROM node ORDER BY name"
_OWNERS: Final = """
    SELECT l.objid::int8 AS shard, a.application_name AS session, s.since,
        CASE WHEN a.wait_event = 'SyncRep'
             THEN extract(epoch FROM clock_timestamp() - a.state_change)::float8 ELSE 0 END AS waits_s
    FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid LEFT JOIN shard s ON s.shard = l.objid::int8
    WHERE l.locktype = 'advisory' AND l.classid::int8 = %s AND l.objsubid = 2 AND l.granted
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@dataclass(frozen=True, slots=True)
class Member:
    name: str
    version: str
    digest: str
    started_at: datetime
    seen_at: datetime
    age_s: float
    """Since it was seen, by the clock of the database."""
    stopped: bool
    broker: bool | None
    shards: int
    """How many it takes at most."""

    @property
    def alive(self) -> bool:
        return not self.stopped and self.age_s < ALIVE_S


@dataclass(frozen=True, slots=True)
class ShardOwner:
    node: str
    since: datetime | None
    waits_s: float
    """How long its commit has been waiting for the synchronous standby of the database."""

    @property
    def stuck(self) -> bool:
        return self.waits_s > _WAITS_S


@dataclass(frozen=True, slots=True)
class Cluster:
    """What one node saw at one moment."""

    nodes: tuple[Member, ...]
    owners: Mapping[int, ShardOwner]

    def others(self, name: str) -> list[Member]:
        return [each for each in self.nodes if each.name != name]

    def heirs(self, name: str) -> list[Member]:
        """Return the other nodes that may live: in doubt the will says that nobody has taken over."""
        return [each for each in self.others(name) if not each.stopped and each.age_s < _MAY_LIVE_S]

    def successors(self, name: str) -> list[Member]:
        """Return the other nodes that can take a shard over now."""
        found = [each for each in self.others(name) if each.alive and each.broker is not False]
        return [each for each in found if len(self.owned(each.name)) < each.shards]

    def owned(self, name: str) -> list[int]:
        """Return the shards that a node owns."""
        return [shard for shard, owner in self.owners.items() if owner.node == name]

    @property
    def stuck_s(self) -> float:
        """How long a commit has been waiting for the synchronous standby; 0: not remarkably long."""
        return max((each.waits_s for each in self.owners.values() if each.stuck), default=0.0)


class NodeSession:
    """A session whose statements are transactions of their own. Methods may raise StoreError."""

    def __init__(self, server: Server, connection: psycopg.AsyncConnection[dict[str, Any]]) -> None:
        self._server = server
        self._connection = connection

    @classmethod
    async def open(cls, url: Secret, name: str) -> Self:
        """`name` is shown in pg_stat_activity. Raises ConfigError for the URL."""
        server = Server(url)
        try:
            connection = await psycopg.AsyncConnection.connect(
                url.reveal(), autocommit=True, row_factory=dict_row, application_name=name, **_SESSION
            )
        except psycopg.Error as error:
            raise server.fault(error) from None
        return cls(server, connection)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._connection.close()

    async def rows(self, sql: str, *values: object) -> list[dict[str, Any]]:
        """Run one statement, and return what it found."""
        try:
            cursor = await self._connection.execute(sql.encode(), values or None)
            return await cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            raise self._server.fault(error) from None

    async def news(self, within_s: float) -> list[str]:
        """Return what was notified, as soon as something is, or after so many seconds."""
        try:
            return [each.payload async for each in self._connection.notifies(timeout=within_s, stop_after=1)]
        except psycopg.Error as error:
            raise self._server.fault(error) from None

    async def cluster(self) -> Cluster:
        """Return what can be seen of nodes and shards."""
        nodes = [Member(**{name: row[name] for name in Member.__slots__}) for row in await self.rows(_NODES)]
        owners = {
            row["shard"]: ShardOwner(node_of(row["session"]), row["since"], row["waits_s"])
            for row in await self.rows(_OWNERS, LOCK_CLASS)
        }
        return Cluster(tuple(nodes), owners)


class Membership:
    """The session of one node. Every method may raise StoreError: then it is to be made anew."""

    def __init__(self, session: NodeSession, name: str) -> None:
        self._session = session
        self._name = name

    @classmethod
    async def join(cls, url: Secret, name: str, version: str, digest: str, shards: int, most: int) -> Self:
        """Make the tables of all if need be, and the row of this node, which takes at most so many shards.

        Raises BusyError where another process has this name, ConfigError where the cluster has other shards.
        """
        await asyncio.to_thread(_upgraded, url, name)
        found = cls(await NodeSession.open(url, f"sosbridge {name}"), name)
        try:
            await found._enter(version, digest, shards, most)
        except BaseException:
            await found.close()
            raise
        return found

    async def _enter(self, version: str, digest: str, shards: int, most: int) -> None:
        [row] = await self._session.rows(
            "SELECT pg_try_advisory_lock(%s, hashtext(%s)) AS taken", NODE_CLASS, self._name
        )
        if not row["taken"]:
            raise BusyError(f"another process is the node {self._name}; give each its own node.name")
        await self._session.rows("INSERT INTO cluster (shards) VALUES (%s) ON CONFLICT DO NOTHING", shards)
        [row] = await self._session.rows("SELECT shards FROM cluster")
        if row["shards"] != shards:
            raise ConfigError(
                f"store.shards is {shards}, but this database has {row['shards']} shards; use that number"
            )
        await self._session.rows(
            "INSERT INTO node (name, version, digest, shards) VALUES (%s, %s, %s, %s) ON CONFLICT (name) DO UPDATE SET"
            " version = excluded.version, digest = excluded.digest, shards = excluded.shards, started_at = now(),"
            " seen_at = now(), stopped = FALSE, broker = NULL",
            self._name, version, digest, most,
        )  # fmt: skip
        await self._session.rows(f"LISTEN {CHANNEL}")

    async def look(self, *, broker: bool | None) -> Cluster:
        """Say that this node lives and whether it reaches the broker; return what it sees."""
        sql = "UPDATE node SET seen_at = clock_timestamp(), broker = %s WHERE name = %s"
        await self._session.rows(sql, broker, self._name)
        return await self._session.cluster()

    async def news(self, within_s: float) -> list[str]:
        """Return what was notified, as soon as something is, or after so many seconds."""
        return await self._session.news(within_s)

    async def notify(self, text: str) -> None:
        await self._session.rows("SELECT pg_notify(%s, %s)", CHANNEL, text)

    async def leave(self) -> None:
        """Say that this node ends, and close its session."""
        try:
            await self._session.rows("UPDATE node SET stopped = TRUE WHERE name = %s", self._name)
            # The server may notice the end of the session later.
            await self._session.rows("SELECT pg_advisory_unlock_all()")
        finally:
            await self.close()

    async def close(self) -> None:
        await self._session.close()


def _upgraded(url: Secret, name: str) -> None:
    server = Server(url)
    session = server.connect(f"sosbridge {name}")
    try:
        upgrade(session, None, server.name)
    except psycopg.Error as error:
        raise server.fault(error) from None
    finally:
        session.close()
