"""PostgreSQL with a synchronous streaming standby, which can be promoted."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, Self

import psycopg
from support.postgres import PostgresServer, _user, programs

_REPLICATED = {"wal_level": "replica", "max_wal_senders": "5", "hot_standby": "on"}
_WITHIN_S = 60.0


class Standby(PostgresServer):
    """A server that follows another from within the block on, until it is promoted."""

    def __init__(self, primary: PostgresServer, settings: Mapping[str, str] = {}) -> None:
        super().__init__({**_REPLICATED, **settings})
        self._primary = primary

    def __enter__(self) -> Self:
        if (user := _user()) is not None:
            shutil.chown(self._folder, user)
        copying = [str(programs() / "pg_basebackup"), "-h", "127.0.0.1", "-p", str(self._primary.port), "-U", "tests"]
        self._run([*copying, "-D", str(self.data), "--write-recovery-conf", "--checkpoint=fast", "--no-sync"])
        self.start()
        return self


class Pair:
    """Two servers, one of them the primary, whose commits wait for the other."""

    def __init__(self, settings: Mapping[str, str] = {}) -> None:
        self._settings = settings
        self.primary = 0
        """Which of `servers` is the primary."""
        self.servers: list[PostgresServer] = []
        self._stacks = ExitStack(), ExitStack()

    def __enter__(self) -> Self:
        self.servers.append(self._stacks[0].enter_context(PostgresServer({**_REPLICATED, **self._settings})))
        self.servers.append(self._stacks[1].enter_context(Standby(self.servers[0], self._settings)))
        self.set_synchronous("*")
        return self

    def __exit__(self, *_: object) -> None:
        for stack in self._stacks:
            stack.close()

    @property
    def current(self) -> PostgresServer:
        return self.servers[self.primary]

    def set_synchronous(self, names: str, *, wait: bool = True) -> None:
        """Let commits wait for standbys of these names, once one is there (`wait`) or from now on; empty: for none."""
        wait = wait and bool(names)
        with self.current.connect() as admin:
            if wait:
                _wait(admin, "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'")
            admin.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'".encode())
            admin.execute("SELECT pg_reload_conf()")
            if wait:
                _wait(admin, "SELECT 1 FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')")

    def promote(self) -> None:
        """Make the standby the primary; what the other one does is up to the caller."""
        self.primary = 1 - self.primary
        with self.current.connect() as admin:
            admin.execute("SELECT pg_promote()")

    def replace(self) -> None:
        """Make the server that is not the primary its synchronous standby, from a copy."""
        other = 1 - self.primary
        self._stacks[other].close()
        self.servers[other] = self._stacks[other].enter_context(Standby(self.current, self._settings))
        self.set_synchronous("*")


def _wait(admin: psycopg.Connection[dict[str, Any]], sql: str) -> None:
    end = time.monotonic() + _WITHIN_S
    while admin.execute(sql.encode()).fetchone() is None:
        assert time.monotonic() < end, f"never came: {sql}"
        time.sleep(0.05)
