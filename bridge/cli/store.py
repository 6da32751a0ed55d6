"""`sosbridge store copy`: a SQLite store into a PostgreSQL database."""

from __future__ import annotations

import argparse
from pathlib import Path

from bridge.common.errors import ConfigError
from bridge.common.extras import require
from bridge.common.models import Secret


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
