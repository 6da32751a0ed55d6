"""`sosbridge backup` and `sosbridge restore-backup`: all that must not be lost, in one file."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from bridge.store import backup
from bridge.store.lock import hold


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    saving = commands.add_parser(
        "backup",
        help="write store and passwords into one file, beside the running service",
        description="Write the store and the passwords of rotations into one file of mode 0600. It holds passwords: "
        "keep it where only you can read it. Works beside the running service.",
    )
    saving.set_defaults(run=save)
    restoring = commands.add_parser(
        "restore-backup",
        help="put a backup back; the service must be stopped",
        description="Put a backup in place of the store, which is set aside. Passwords that are there stay: they are "
        "newer. What waits in the backup is sent again when the service starts.",
    )
    restoring.set_defaults(run=restore)
    for parser in (saving, restoring):
        parser.add_argument("file", type=Path, metavar="FILE", help="the backup, a tar file")


async def save(args: argparse.Namespace) -> int:
    found = await asyncio.to_thread(backup.save, args.load_settings().store.path, args.file)
    print(f"{args.file}: {found.waiting} commands wait in it, {len(found.passwords)} transmitters' passwords")
    return 0


async def restore(args: argparse.Namespace) -> int:
    path = args.load_settings().store.path
    with hold(path):
        found = await asyncio.to_thread(backup.put_back, args.file, path)
    print(f"{path}: {found.waiting} commands wait in it, {len(found.passwords)} transmitters' passwords")
    if found.set_aside:
        print(f"the store that was there is kept as {found.set_aside}")
    for name in found.kept:
        print(f"passwords/{name} was there already and stays; move it away to take the backup's")
    return 0
