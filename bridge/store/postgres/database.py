"""A PostgreSQL database over one session, which owns a shard by an advisory lock.

A store that lost its session is lost for good: another may own the shard by then. Whoever wants to go on opens a new
one.
"""

from __future__ import annotations

import asyncio
import time
from typing import Self

import psycopg

from bridge.common.errors import BusyError, StoreError
from bridge.common.models import Secret
from bridge.store.database import Db, Store
from bridge.store.postgres.connection import DatabaseSession, Server
from bridge.store.postgres.owner import LOCK_CLASS, session_name
from bridge.store.postgres.schema import check, upgrade
from bridge.store.postgres.statements import STATEMENTS


class PostgresStore(Store):
    """The open session."""

    statements = STATEMENTS

    def __init__(
        self,
        url: Secret,
        shard: int = 0,
        *,
        lease_s: float = 0.0,
        node: str = "",
        owned: bool = True,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        server = Server(url)
        super().__init__(server.name, loop)
        self._server = server
        self.last_commit = 0.0
        """When the last certain commit was asked for, by the clock since boot."""
        self._loss: StoreError | None = None
        self._session = server.connect(session_name(node, shard))
        try:
            self._prepare(shard, lease_s, owned=owned)
        except psycopg.Error as error:
            self._session.close()
            raise server.fault(error) from None
        except (StoreError, BusyError):
            self._session.close()
            raise
        self._thread.start()

    @classmethod
    async def open(
        cls, url: Secret, shard: int = 0, *, lease_s: float = 0.0, node: str = "", owned: bool = True
    ) -> Self:
        """Own a shard and bring its schema up to date.

        The server ends a session that does nothing for `lease_s` (0: never). Unless it is `owned`, the store can only
        be read. Raises ConfigError for the URL, BusyError if another session owns the shard, StoreError.
        """
        loop = asyncio.get_running_loop()
        return await asyncio.to_thread(cls, url, shard, lease_s=lease_s, node=node, owned=owned, loop=loop)

    def _prepare(self, shard: int, lease_s: float, *, owned: bool) -> None:
        session = self._session
        if owned:
            row = session.execute("SELECT pg_try_advisory_lock(?, ?) AS ours", (LOCK_CLASS, shard)).fetchone()
            if not row or not row["ours"]:
                raise BusyError(f"{self.name}: another sosbridge owns shard {shard}")
            session.set(idle_session_timeout=int(lease_s * 1000))
            upgrade(session, shard, self.name)
        else:
            session.set(default_transaction_read_only="on")
            check(session, shard, self.name)

    @property
    def _db(self) -> DatabaseSession:
        return self._session

    def _disconnect(self) -> None:
        self._session.close()

    def _commit(self, _: Db) -> None:
        begun = time.clock_gettime(time.CLOCK_BOOTTIME)
        self._session.commit()
        self.last_commit = begun

    def _translated(self, error: Exception) -> Exception:
        if isinstance(error, psycopg.Error):
            error = self._loss or self._server.fault(error)
        if self._session.is_lost and isinstance(error, StoreError):
            self._lose(error)
        return error

    def _lose(self, error: StoreError) -> None:
        if self._loss is None:
            self._loss = StoreError(str(error))
            self._failed(self._loss)
            self._in_loop(self.lost.set)
