"""`sosbridge backup` and `sosbridge restore-backup`: the store and the passwords in one file."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from bridge.common.errors import ConfigError
from bridge.store.sqlite import backup
from bridge.store.sqlite.lock import hold


async def save(args: argparse.Namespace) -> int:
    found = await asyncio.to_thread(backup.save, _file(args), Path(args.file))
    print(f"{args.file}: {_contents(found.pending, len(found.passwords))}")
    return 0


def _file(args: argparse.Namespace) -> Path:
    store = args.load_settings().store
    if store.url is not None:
        raise ConfigError("store.url is set: the database has the passwords as well; back it up with pg_dump")
    path: Path = store.path
    return path


def _contents(pending: int, passwords: int) -> str:
    commands = f"{pending} pending command{'' if pending == 1 else 's'}"
    return f"contains {commands} and the passwords of {passwords} transmitter{'' if passwords == 1 else 's'}"


async def restore(args: argparse.Namespace) -> int:
    path = _file(args)
    with hold(path):
        found = await asyncio.to_thread(backup.restore, Path(args.file), path, pending=args.pending)
    print(f"{path}: {_contents(found.pending, len(found.passwords))}")
    if found.pending and not args.pending:
        print("what was pending is not sent: see `sosbridge outbox list`, then retry or drop each alarm")
    if found.replaced:
        print(f"the previous store is kept as {found.replaced}")
    for name in found.kept:
        print(f"passwords/{name} exists and was not replaced; move it away to restore that of the backup")
    return 0
