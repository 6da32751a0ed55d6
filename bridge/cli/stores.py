"""The store of a command: a file, or in a cluster the database, which a command only reads.

In a cluster every change is asked of the owner of the shard.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from bridge.app.build import Homes, beside
from bridge.common.clock import Clock
from bridge.common.errors import StoreError
from bridge.common.extras import require
from bridge.common.models import Secret
from bridge.config.settings import Settings
from bridge.config.shards import shard_of
from bridge.store.database import Store
from bridge.store.outbox import Outbox
from bridge.store.passwords import account
from bridge.store.postgres.owner import NUMBERS_OF_A_SHARD
from bridge.store.sqlite.database import SqliteStore
from bridge.store.sqlite.lock import is_held


@asynccontextmanager
async def opened(settings: Settings, path: Path | None = None, shard: int = 0) -> AsyncIterator[Store]:
    """Open the store; `path` is that of the file if there is one. Raises StoreError, ConfigError."""
    if (url := _database(settings)) is None:
        async with await SqliteStore.open(path or settings.store.path) as file:
            yield file
        return
    from bridge.store.postgres.database import PostgresStore  # noqa: PLC0415 - an extra

    async with await PostgresStore.open(url, shard, owned=False, node="command") as store:
        yield store


def shards(settings: Settings) -> int:
    """Return the number of stores."""
    return settings.store.shards if settings.store.url is not None else 1


def shard_of_number(number: int) -> int:
    """Return the shard that has the command with this number."""
    return number // NUMBERS_OF_A_SHARD


async def is_running(settings: Settings) -> bool:
    """Whether a service owns the store now. Raises StoreError, ConfigError."""
    if (url := _database(settings)) is None:
        return await asyncio.to_thread(is_held, settings.store.path)
    from bridge.store.postgres.asking import look  # noqa: PLC0415 - an extra

    _, cluster = await look(url)
    return bool(cluster.owners)


async def drop(settings: Settings, number: int) -> bool:
    """Delete a command; return False if there is none. Raises BridgeError."""
    if (url := _database(settings)) is not None:
        return bool((await _ask(url, shard_of_number(number), "drop", number=number))["done"])
    async with opened(settings) as store:
        return await Outbox(store).drop(number, Clock().now())


async def retry(settings: Settings, number: int) -> bool:
    """Queue a rejected command again; return False if there is none. Raises BridgeError."""
    if (url := _database(settings)) is not None:
        return bool((await _ask(url, shard_of_number(number), "retry", number=number))["done"])
    clock = Clock()
    async with opened(settings) as store:
        return await Outbox(store).retry(number, clock.now(), clock.moment())


async def send_test(settings: Settings, transmitter: str, event_code: str) -> int | None:
    """Let the owner queue a test alarm; return its number, None where there is a file to write to."""
    if (url := _database(settings)) is None:
        return None
    shard = shard_of(transmitter, settings.store.shards)
    return int((await _ask(url, shard, "test", transmitter=transmitter, event_code=event_code))["number"])


async def homes(settings: Settings) -> Homes:
    """Return where the passwords of the transmitters are, to be read only. Raises StoreError, ConfigError."""
    if _database(settings) is None:
        return beside(settings.store.path)
    from bridge.store.postgres.passwords import read_passwords  # noqa: PLC0415 - an extra

    found: dict[str, str] = {}
    for shard in range(settings.store.shards):
        with suppress(StoreError):  # a new database, or one that `check` says more about
            async with opened(settings, shard=shard) as store:
                found |= await read_passwords(store)
    return lambda each: _Copy(found.get(account(each.transmitter_code, each.transmitter_type)))


class _Copy:
    """Passwords of one account as they were read from the database."""

    name = "the table of passwords"
    remedy = "Restore the database from a backup, or delete the row"

    def __init__(self, content: str | None) -> None:
        self._content = content

    def load(self) -> str | None:
        return self._content

    def save(self, _: str) -> None:
        raise StoreError("only the node that owns the transmitter stores passwords")


def _database(settings: Settings) -> Secret | None:
    if settings.store.url is not None:
        require("postgres", "store.url", "psycopg")
    return settings.store.url


async def _ask(url: Secret, shard: int, kind: str, **content: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    from bridge.store.postgres.asking import ask  # noqa: PLC0415 - an extra

    return await ask(url, shard, kind, content)
