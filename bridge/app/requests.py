"""Carries out what others ask the owner of a shard: `sosbridge outbox`, `sosbridge test`."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from bridge.common.clock import Clock
from bridge.common.lasting import LASTS, tolerated
from bridge.common.loop import within
from bridge.store.database import Store
from bridge.store.outbox import Outbox
from bridge.store.postgres.requests import SEND, Asked, Requests
from bridge.store.records import CommandEntry, insert_command, read_command
from bridge.transmitters.scheduled_tests import new_test

log = logging.getLogger(__name__)

_LOOK_S = 2.0
"""How soon a request is seen whose notification was lost."""


class RequestHandler:
    def __init__(
        self, store: Store, shard: int, outbox: Outbox, clock: Clock, move: Callable[[str], Awaitable[bool]]
    ) -> None:
        """`move` gives the shard to a node by its name; it returns False where that cannot take it."""
        self.news = asyncio.Event()
        """Set when there may be requests."""
        self._store = store
        self._requests = Requests(store, shard)
        self._outbox = outbox
        self._give = move
        self._clock = clock
        self._kinds: dict[str, Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]] = {
            "drop": self._drop,
            "retry": self._retry,
            "test": self._test,
            "move": self._move,
        }

    async def run(self) -> None:
        while True:
            self.news.clear()
            with tolerated(log):
                await self._handle_open()
            await within(_LOOK_S, self.news.wait())

    async def _handle_open(self) -> None:
        last = 0
        while found := await self._requests.open(after=last):
            for asked in found:
                if asked.kind == SEND:
                    await self._send(asked)
                else:
                    await self._requests.answer(asked, await self._done(asked))
            last = found[-1].id

    async def _send(self, asked: Asked) -> None:
        """Queue a command that another owner accepted, once.

        One that cannot be read stays, for a node that can: another version of this program wrote it.
        """
        try:
            command = read_command(asked.content)
        except (ValueError, LookupError, TypeError, OverflowError, OSError) as error:
            why = "this version cannot read it, and it is not sent; do all nodes run the same version?"
            log.critical("request %d: %s (%s)", asked.id, why, type(error).__name__, extra=LASTS)
            return
        await self._outbox.add([CommandEntry(command)], self._requests.claim(asked))

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

    async def _move(self, content: Mapping[str, Any]) -> dict[str, Any]:
        return {"done": await self._give(content["node"])}
