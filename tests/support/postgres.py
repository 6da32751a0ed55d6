"""A real PostgreSQL in a temporary directory on loopback."""
from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from support.brokers import free_port

_BIN = Path("/usr/lib/postgresql/15/bin")


class Postgres:
    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sosbridge-pg-"))
        self.port = free_port()
        self._count = 0

    def __enter__(self) -> Self:
        shutil.chown(self.folder, "nobody")
        self._run("initdb", "-D", f"{self.folder}/data", "-U", "sosbridge", "-A", "trust", "--no-sync", "-E", "UTF8")
        with (self.folder / "data" / "postgresql.conf").open("a") as conf:
            conf.write(f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\nmax_connections = 60\n")
        self.start()
        return self

    def start(self) -> None:
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-l", f"{self.folder}/log", "-w", "start")

    def stop(self, how: str = "immediate") -> None:
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-m", how, "-w", "stop")

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def database(self) -> str:
        self._count += 1
        name = f"t{self._count}"
        self.sql(f"CREATE DATABASE {name}", "postgres")
        return f"postgresql://sosbridge@127.0.0.1:{self.port}/{name}"

    def sql(self, sql: str, database: str) -> str:
        done = self._run("psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "sosbridge", "-d", database, "-Atc", sql)
        return done.stdout

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([str(_BIN / program), *arguments], user="nobody", cwd="/tmp", text=True, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if program == "psql" else subprocess.DEVNULL, stderr=subprocess.STDOUT)
        assert done.returncode == 0, done.stdout
        return done
