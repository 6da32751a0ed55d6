"""The passwords of the accounts, in a table: whoever owns the shard after this node has them."""

from __future__ import annotations

import asyncio
from functools import partial

from bridge.store.database import Db, Store
from bridge.store.postgres.database import PostgresStore


class PasswordTable:
    """The row of one account. Its methods block: call them from another thread than the loop's."""

    remedy = "Restore the database from a backup, or delete the row"

    def __init__(
        self, store: PostgresStore, account: str, content: str | None, loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        """`content` is what `read_passwords` found: the loop itself cannot wait for `load`.

        `loop` is that of the store; None: the running one.
        """
        self.name = f"{store.name}: the row {account} of the table password"
        self._store, self._account = store, account
        self._loop = loop or asyncio.get_running_loop()
        self._first = [content]

    def load(self) -> str | None:
        if self._first:
            return self._first.pop()
        return asyncio.run_coroutine_threadsafe(read_passwords(self._store), self._loop).result().get(self._account)

    def save(self, content: str) -> None:
        work = partial(_save, account=self._account, content=content)
        asyncio.run_coroutine_threadsafe(self._store.write_surely(work), self._loop).result()


async def read_passwords(store: Store) -> dict[str, str]:
    """Return what is stored, by account. Raises StoreError."""
    sql = "SELECT account, content FROM password"
    return await store.read(lambda db: {row["account"]: row["content"] for row in db.execute(sql)})


def _save(db: Db, account: str, content: str) -> None:
    db.execute(
        "INSERT INTO password (account, content) VALUES (?, ?)"
        " ON CONFLICT (account) DO UPDATE SET content = excluded.content",
        (account, content),
    )
