"""Carries out what others ask the owner of a shard: `sosbridge outbox`, `sosbridge test`."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from bridge.common.clock import Clock
from bridge.common.lasting import tolerated
from bridge.store.database import Store
from bridge.store.outbox import Outbox
from bridge.store.postgres.requests import Asked, Requests
from bridge.store.records import insert_command
from bridge.transmitters.scheduled_tests import new_test

log = logging.getLogger(__name__)

_LOOK_S = 2.0
"""How soon a request is seen whose notification was lost."""


class RequestHandler:
    def __init__(self, store: Store, shard: int, outbox: Outbox, clock: Clock) -> None:
        self.news = asyncio.Event()
        """Set when there may be requests."""
        self._store = store
        self._requests = Requests(store, shard)
        self._outbox = outbox
        self._clock = clock
        self._kinds: dict[str, Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]] = {
            "drop": self._drop,
            "retry": self._retry,
            "test": self._test,
        }

    async def run(self) -> None:
        while True:
            self.news.clear()
            with tolerated(log):
                for asked in await self._requests.open():
                    await self._requests.answer(asked, await self._done(asked))
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self.news.wait()
            except TimeoutError:
                pass

    async def _done(self, asked: Asked) -> dict[str, Any]:
        if (do := self._kinds.get(asked.kind)) is None:
            log.error("request %d: unknown kind %s; do all nodes run the same version?", asked.id, asked.kind)
            return {"error": "the node that owns the shard is older than this program; upgrade it"}
        return await do(asked.content)

    async def _drop(self, content: Mapping[str, Any]) -> dict[str, Any]:
        done = await self._outbox.drop(content["number"], self._clock.now())
        await self._outbox.follow_others()
        return {"done": done}

    async def _retry(self, content: Mapping[str, Any]) -> dict[str, Any]:
        done = await self._outbox.retry(content["number"], self._clock.now(), self._clock.moment())
        await self._outbox.follow_others()
        return {"done": done}

    async def _test(self, content: Mapping[str, Any]) -> dict[str, Any]:
        command = new_test(content["transmitter"], content["event_code"], self._clock)
        queued = await self._store.write(lambda db: insert_command(db, command, None, secrets.token_bytes(16)))
        await self._outbox.follow_others()
        return {"number": queued.id}
