"""A session of a PostgreSQL server as the store needs it: settings, text with NUL, errors in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Dumper, Loader
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, dict_row

from bridge.common.errors import ConfigError, InDoubtError, StoreError
from bridge.common.models import Secret

_OLDEST = 14
"""Older servers do not end a session that is idle (`idle_session_timeout`)."""
_CONNECT_S = 5
"""How long one host of the URL may take to answer."""
_NETWORK_S = 3
"""A server that acknowledges nothing for so long is gone; so is a client, for the server."""
_STATEMENT_MS = 5000
"""How long a statement may take, waiting for locks included. The server exempts COMMIT, which is never cancelled."""
_IN_TRANSACTION_MS = 2000
"""The server ends a session that was paused within a transaction."""
_NO_WRITES = "it takes no writes: it is a standby, or read-only; name the primary in the URL"
_STATES = {
    "28P01": "the password is wrong, or the user {user} does not exist",
    "28000": "it does not let the user {user} in from here; see its pg_hba.conf",
    "3D000": "there is no database {dbname}; create it: CREATE DATABASE {dbname} OWNER {user}",
    "42501": "the user {user} may not do this; make it the owner: ALTER DATABASE {dbname} OWNER TO {user}",
    "25006": _NO_WRITES,
    "53100": "the disk of the server is full",
    "53300": "it has no connection left; raise max_connections",
    "55P03": "another program holds a lock",
    "57014": "a statement took too long",
    "57P01": "it was shut down, or an administrator ended the session",
    "57P02": "it crashed",
    "57P03": "it is starting or shutting down",
    "57P05": "it ended the session, which had been idle for longer than the lease",
    "25P03": "it ended the session, which had paused within a transaction",
}
"""Reasons by SQLSTATE."""
_WORDS = (
    # part of a message, and its SQLSTATE: while connecting, libpq passes on the message only
    ("password authentication failed", "28P01"),
    ("no pg_hba.conf entry", "28000"),
    ("is read-only", "25006"),
    ("not in hot standby mode", "57P03"),
    ("the database system is", "57P03"),
    ("too many c", "53300"),
)
_UNREACHED = (
    # part of a message, the reason given instead
    ("no password supplied", "it asks for a password; give it in the URL, in PGPASSWORD or in a password file"),
    ("Connection refused", "nothing listens there; start it, or correct the host and port"),
    ("failed to resolve host", "the name of the host cannot be resolved"),
    ("timeout expired", "no answer; check the host, the port and the firewall"),
)


class Server:
    """Where the database is, and its name in errors: without the password."""

    def __init__(self, url: Secret) -> None:
        """Raises ConfigError."""
        self._url = url
        try:
            parts = conninfo_to_dict(url.reveal())
        except psycopg.Error:  # its message quotes the URL
            raise ConfigError("the PostgreSQL URL is not valid; write postgresql://USER@HOST/DATABASE") from None
        self._password = Secret(str(parts.get("password") or ""))
        self._user = str(parts.get("user") or "USER")
        self._dbname = str(parts.get("dbname") or self._user)
        self.name = f"the store postgresql://{parts.get('host') or 'localhost'}/{self._dbname}"

    def connect(self, application: str) -> DatabaseSession:
        """Return a new session. Raises StoreError."""
        try:
            raw = psycopg.connect(
                self._url.reveal(),
                autocommit=True,
                row_factory=dict_row,
                application_name=application,
                client_encoding="utf8",
                connect_timeout=_CONNECT_S,
                keepalives_idle=1,
                keepalives_interval=1,
                keepalives_count=_NETWORK_S - 1,
                tcp_user_timeout=_NETWORK_S * 1000,
            )
        except psycopg.Error as error:
            raise self.fault(error) from None
        session = DatabaseSession(raw, self)
        try:
            session.prepare()
        except psycopg.Error as error:
            session.close()
            raise self.fault(error) from None
        except StoreError:
            session.close()
            raise
        return session

    def fault(self, error: psycopg.Error) -> StoreError:
        """Return the error to raise for psycopg's `error`."""
        return StoreError(f"{self.name}: {self._reason(error)}")

    def _reason(self, error: psycopg.Error) -> str:
        text = " ".join((error.diag.message_primary or str(error)).split())
        state = error.sqlstate or next((state for words, state in _WORDS if words in text), None)
        if f'database "{self._dbname}" does not exist' in text:
            state = "3D000"
        if state in _STATES:
            return _STATES[state].format(dbname=self._dbname, user=self._user)
        reasons = [reason for words, reason in _UNREACHED if words in text]
        # Several hosts may have failed, each for a reason of its own.
        return reasons[0] if reasons and "Multiple connection attempts" not in text else self._password.mask(text)


class DatabaseSession:
    """A Db over one connection; with its end the server ends its locks, so it is never reconnected."""

    def __init__(self, raw: psycopg.Connection[DictRow], server: Server) -> None:
        self.raw, self._server = raw, server
        self._in_doubt = False
        self._adapt()
        raw.add_notice_handler(self._noticed)

    def _adapt(self) -> None:
        self.raw.adapters.register_dumper(str, _TextDumper)
        self.raw.adapters.register_loader("text", _TextLoader)

    def _noticed(self, notice: psycopg.errors.Diagnostic) -> None:
        # 01000: "committed locally, might not have been replicated"
        self._in_doubt = self._in_doubt or notice.sqlstate == "01000"

    def prepare(self) -> None:
        """Check the server, and bound what may take long. Raises StoreError, psycopg.Error."""
        name, info = self._server.name, self.raw.info
        if info.server_version < _OLDEST * 10000:
            raise StoreError(f"{name}: PostgreSQL {info.server_version // 10000} is too old; {_OLDEST} is the oldest")
        found: Any = self.execute(
            "SELECT pg_backend_pid() AS pid, current_setting('server_encoding') AS encoding,"
            " current_setting('transaction_read_only') AS read_only, current_setting('synchronous_commit') AS commits"
        ).fetchone()
        if found["pid"] != info.backend_pid:
            raise StoreError(f"{name}: a pooler such as pgbouncer is in between; connect to the server itself")
        if found["encoding"] != "UTF8":
            raise StoreError(f"{name}: its encoding is {found['encoding']}; create the database with ENCODING 'UTF8'")
        if found["read_only"] == "on":
            raise StoreError(f"{name}: {_NO_WRITES}")
        if found["commits"] == "off":  # the server would answer before a commit is on disk
            self.execute("SET synchronous_commit = on")
        self.set(
            statement_timeout=_STATEMENT_MS,
            lock_timeout=_STATEMENT_MS,
            idle_in_transaction_session_timeout=_IN_TRANSACTION_MS,
            tcp_keepalives_idle=1,
            tcp_keepalives_interval=1,
            tcp_keepalives_count=_NETWORK_S - 1,
            tcp_user_timeout=_NETWORK_S * 1000,
        )

    def set(self, **settings: object) -> None:
        for name, value in settings.items():
            self.execute("SELECT set_config(?, ?, false)", (name, str(value)))

    @property
    def in_transaction(self) -> bool:
        return self.raw.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR)

    @property
    def is_lost(self) -> bool:
        return self.raw.closed

    def close(self) -> None:
        """End the session; it owns nothing any more."""
        with suppress(psycopg.Error):
            if not self.is_lost:  # the server may notice the end later than the next owner begins
                self.execute("SELECT pg_advisory_unlock_all()")
        self.raw.close()

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> psycopg.Cursor[DictRow]:
        if not values:
            return self.raw.execute(sql.encode())
        return self.raw.execute(_translated(sql), values)

    def executemany(self, sql: str, values: Iterable[Sequence[Any]], /) -> None:
        """Execute each by itself: psycopg would send one Sync for all, and the server bounds no wait for that."""
        for each in values:
            self.execute(sql, each)

    def commit(self) -> None:
        """Commit, however long that takes. Raises InDoubtError where it is not certain that it was."""
        self._in_doubt = False
        try:
            answer = self.execute("COMMIT").statusmessage
        except psycopg.Error as error:
            if not self.is_lost:  # the server answered: it was rolled back
                raise
            raise InDoubtError(f"{self._server.fault(error)}; whether the last commit was done is not known") from None
        if answer != "COMMIT":  # a statement had failed, and its job did not say so
            raise StoreError(f"{self._server.name}: nothing was written, as a statement had failed")
        if self._in_doubt:
            raise InDoubtError(f"{self._server.name}: the wait for a standby was cancelled; the commit may be lost")


@lru_cache(maxsize=500)
def _translated(sql: str) -> bytes:
    """Return `sql` with psycopg's marks of parameters."""
    return sql.replace("%", "%%").replace("?", "%s").encode()


# PostgreSQL refuses NUL in a text. U+0001 begins an escape: "\1" + "0" is NUL, "\1" + "1" is U+0001.


class _TextDumper(Dumper):
    def dump(self, obj: str) -> bytes:
        if "\0" in obj or "\1" in obj:
            obj = obj.replace("\1", "\x011").replace("\0", "\x010")
        return obj.encode()


class _TextLoader(Loader):
    def load(self, data: Buffer) -> str:
        text = bytes(data).decode()
        return text.replace("\x010", "\0").replace("\x011", "\1") if "\1" in text else text
