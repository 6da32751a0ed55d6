"""`sosbridge store copy`: a SQLite store into a PostgreSQL database."""

from __future__ import annotations

import argparse
from pathlib import Path

from bridge.common.errors import ConfigError
from bridge.common.extras import require
from bridge.common.models import Secret


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    actions = commands.add_parser("store").add_subparsers(dest="action", required=True, metavar="ACTION")
    parser = actions.add_parser(
        "copy",
        description="Copy commands, results, panels and passwords of a SQLite store into an empty PostgreSQL database, "
        "in one transaction. Stop the service first; afterwards set store.url, and start no service on the old store: "
        "it would send what is pending a second time.",
    )
    parser.add_argument("--from", dest="source", required=True, metavar="sqlite:PATH", help="the store to copy")
    parser.add_argument(
        "--to",
        dest="target",
        required=True,
        metavar="URL",
        help="postgresql://USER@HOST/DATABASE; give the password in PGPASSWORD or in a password file",
    )
    parser.set_defaults(run=copy)


async def copy(args: argparse.Namespace) -> int:
    kind, _, path = args.source.partition(":")
    if kind != "sqlite" or not path:
        raise ConfigError(f"--from: {args.source!r} is not a store; write sqlite:PATH")
    require("postgres", "--to", "psycopg")
    from bridge.store.postgres.copying import copy as copy_store  # noqa: PLC0415 - an extra

    counts = await copy_store(Path(path), Secret(args.target))
    for table, count in counts.items():
        print(f"{table:10} {count:>8} rows")
    print(f"copied; set store.url and start the service. Keep {path} as a backup, and start no service on it")
    return 0
