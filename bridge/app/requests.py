"""Carries out what others ask the owner of a shard: `sosbridge outbox`, `sosbridge test`."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable

from bridge.common.clock import Clock
from bridge.common.errors import FieldError
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
        self._requests = Requests(store, shard)
        self._outbox = outbox
        self._give = move
        self._clock = clock
        self._kinds: dict[str, Callable[[Asked], Awaitable[None]]] = {
            SEND: self._send,
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
                await self._kinds.get(asked.kind, self._refuse)(asked)
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

    async def _refuse(self, asked: Asked) -> None:
        log.error("request %d: unknown kind %s; do all nodes run the same version?", asked.id, asked.kind)
        error = "the node that owns the shard is older than this program; upgrade it"
        await self._requests.answer(asked, {"error": error})

    async def _drop(self, asked: Asked) -> None:
        done = await self._outbox.drop(asked.content["number"], self._clock.now())
        await self._outbox.follow_others()
        await self._requests.answer(asked, {"done": done})

    async def _retry(self, asked: Asked) -> None:
        done = await self._outbox.retry(asked.content["number"], self._clock.now(), self._clock.moment())
        await self._outbox.follow_others()
        await self._requests.answer(asked, {"done": done})

    async def _test(self, asked: Asked) -> None:
        try:
            command = new_test(asked.content["transmitter"], asked.content["event_code"], self._clock)
        except FieldError as error:
            await self._requests.answer(asked, {"error": str(error)})
            return
        token = secrets.token_bytes(16)
        await self._requests.do(asked, lambda db: {"number": insert_command(db, command, None, token).id})
        await self._outbox.follow_others()

    async def _move(self, asked: Asked) -> None:
        await self._requests.answer(asked, {"done": await self._give(asked.content["node"])})
