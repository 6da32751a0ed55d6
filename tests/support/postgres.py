"""A PostgreSQL server of Debian's package, in a temporary directory on loopback."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import psycopg
from support.brokers import free_port

_NOT_FOR_LASTING = {"fsync": "off", "full_page_writes": "off"}
"""What only tests of durability need."""
_SMALL = {
    "shared_buffers": "16MB",
    "max_connections": "100",
    "max_wal_senders": "2",
    "autovacuum": "off",
    "timezone": "UTC",
}


def programs() -> Path:
    """Return the directory of `initdb` and `postgres`; without them the tests fail."""
    if found := list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        return max(found, key=lambda each: float(each.parts[-3])).parent
    found_in_path = shutil.which("initdb")
    assert found_in_path, "PostgreSQL is not installed: apt-get install postgresql"
    return Path(found_in_path).resolve().parent


def _user() -> str | None:
    """Return whom the server runs as: it refuses root. None: whoever runs the tests."""
    if os.getuid():
        return None
    names = {each.pw_name for each in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


class PostgresServer:
    """Runs within the block; ends with the process of the tests, however that ends."""

    def __init__(self, settings: Mapping[str, str] = {}) -> None:
        self.port = free_port()
        self._settings = {**_SMALL, **_NOT_FOR_LASTING, **settings}
        self._folder = Path(tempfile.mkdtemp(prefix="sosbridge-postgres-"))
        self.data = self._folder / "data"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if (user := _user()) is not None:
            shutil.chown(self._folder, user)
        self._run([str(programs() / "initdb"), "-D", str(self.data), "-U", "tests", "-A", "trust", "-E", "UTF8", "-N"])
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start the server, and wait until it takes connections."""
        given = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            **self._settings,
        }
        options = [part for name, value in given.items() for part in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            server = ["setpriv", "--pdeathsig", "QUIT", *self._as_user(), str(programs() / "postgres")]
            self._process = subprocess.Popen([*server, "-D", str(self.data), *options], stdout=log, stderr=log)
        end = time.monotonic() + 30
        while True:
            try:
                self.connect("postgres").close()
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self._folder / "log").read_text("utf-8")
                assert time.monotonic() < end, (self._folder / "log").read_text("utf-8")
                time.sleep(0.02)
            else:
                return

    def stop(self, how: str = "INT") -> None:
        """Stop the server: INT ends its sessions, QUIT leaves all as a crash does."""
        if self._process is not None:
            self._process.send_signal({"INT": 2, "QUIT": 3}[how])
            self._process.wait(30)
            self._process = None

    @property
    def pid(self) -> int:
        """That of the process whose children are the sessions."""
        assert self._process is not None
        return self._process.pid

    def _as_user(self) -> Sequence[str]:
        user = _user()
        return [] if user is None else [f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--clear-groups"]

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(
            ["setpriv", *self._as_user(), *command] if _user() else command,
            capture_output=True, text=True, check=False, cwd=self._folder,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def url(self, database: str) -> str:
        return f"postgresql://tests@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[dict[str, Any]]:
        """Return a session of an administrator."""
        return psycopg.connect(self.url(database), autocommit=True, row_factory=psycopg.rows.dict_row)

    def create(self, database: str) -> str:
        """Create a database and return its URL."""
        with self.connect() as admin:
            admin.execute(f'CREATE DATABASE "{database}" TEMPLATE template0'.encode())
        return self.url(database)

    def drop(self, database: str) -> None:
        with self.connect() as admin:
            admin.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)'.encode())
