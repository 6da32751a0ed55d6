"""The database of the nodes as their chaos sees it: a network that loses a COMMIT, and an account of who wrote."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

import psycopg
from chaos.network import Change, Wire
from support.postgres import PostgresServer

from bridge.store.postgres.owner import LOCK_CLASS, node_of

Lost = Literal["request", "answer"]
_COMMIT = b"COMMIT\0"
_PREPARED = re.compile(rb"P.{4}(\w+)\0COMMIT\0", re.DOTALL)
"""The message that gives it a name, by which it is executed from then on."""
_OWNERS = f"""
    SELECT l.objid::int8 AS shard, a.application_name AS session, a.pid
    FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.classid = {LOCK_CLASS} AND l.granted
"""
_ABLE = """
    SELECT name FROM sosbridge.node
    WHERE broker AND NOT stopped AND seen_at > clock_timestamp() - interval '2 seconds'
"""
_AUDIT = f"""
    CREATE TABLE public.written (
        id bigserial, xid xid8, shard integer, session text, holds boolean, PRIMARY KEY (xid, shard)
    );
    CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE number integer; BEGIN
        IF TG_TABLE_SCHEMA = 'sosbridge' THEN number := NEW.shard;
        ELSE number := substring(TG_TABLE_SCHEMA FROM '[0-9]+$'); END IF;
        INSERT INTO public.written (xid, shard, session, holds)
        SELECT pg_current_xact_id(), number, pid || ' ' || backend_start,
            EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid = {LOCK_CLASS}
                    AND objid = number::oid AND granted AND pid = pg_backend_pid())
        FROM pg_stat_activity WHERE pid = pg_backend_pid() ON CONFLICT DO NOTHING;
        RETURN NULL;
    END $$;
    DO $$ DECLARE each regclass; BEGIN
        FOR each IN SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind = 'r' AND c.relname <> 'version'
            AND (n.nspname ~ '^sosbridge_[0-9]+$' OR c.oid = 'sosbridge.shard'::regclass)
        LOOP EXECUTE 'CREATE CONSTRAINT TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON ' || each
            || ' DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.note()';
        END LOOP;
    END $$;
"""
"""Notes each transaction that writes what only the owner of a shard may write, at its commit."""


class DatabaseWire(Wire):
    """A network to a server of PostgreSQL, without TLS, which can lose one COMMIT or the answer to it."""

    def __init__(self, name: str, target: Callable[[], int]) -> None:
        super().__init__(name, target)
        self.loses: Lost | None = None
        """What is lost of the next COMMIT, with its connection."""

    def _changes(self) -> tuple[Change, Change]:
        answered, prepared = False, _COMMIT

        def to_server(data: bytes) -> bytes:
            nonlocal answered, prepared
            if found := _PREPARED.search(data):
                prepared = b"\0" + found[1] + b"\0"
            if self.loses and (_COMMIT in data or prepared in data):
                answered, lost, self.loses = self.loses == "answer", self.loses, None
                if lost == "request":
                    raise ConnectionResetError
            return data

        def to_client(data: bytes) -> bytes:
            if answered:
                raise ConnectionResetError
            return data

        return to_server, to_client


class Account:
    """What the database knows of owners. A server that does not answer knows of none."""

    def __init__(self, server: Callable[[], PostgresServer], database: str) -> None:
        self._server = server
        self._database = database

    def begin(self) -> None:
        """Note from here on who writes; the tables are there."""
        with self._server().connect(self._database) as admin:
            admin.execute(_AUDIT.encode())

    def owners(self) -> dict[int, tuple[str, int]]:
        """Return the node that owns each shard, and which session of its does."""
        return {row["shard"]: (node_of(row["session"]), row["pid"]) for row in self._rows(_OWNERS)}

    def able(self) -> set[str]:
        """Return the nodes that live and reach the broker."""
        return {row["name"] for row in self._rows(_ABLE)}

    def nodes(self) -> list[dict[str, Any]]:
        return self._rows("SELECT * FROM sosbridge.node")

    def writes(self) -> Counter[int]:
        """Return how many transactions wrote to each shard."""
        return Counter(row["shard"] for row in self._rows("SELECT shard FROM public.written"))

    def foreign(self) -> list[tuple[int, str]]:
        """Return by shard who wrote without its lock, or after another session had written."""
        rows = self._rows("SELECT shard, session, holds FROM public.written ORDER BY id")
        found = [(row["shard"], f"{row['session']} wrote without the lock") for row in rows if not row["holds"]]
        for shard in sorted({row["shard"] for row in rows}):
            of_shard = (row["session"] for row in rows if row["shard"] == shard)
            turns = [session for session, _ in itertools.groupby(of_shard)]
            again = sorted({each for each in turns if turns.count(each) > 1})
            found += [(shard, f"{session} wrote after its loss") for session in again]
        return found

    def _rows(self, sql: str) -> list[dict[str, Any]]:
        with suppress(psycopg.Error), self._server().connect(self._database) as session:
            return session.execute(sql.encode()).fetchall()
        return []
