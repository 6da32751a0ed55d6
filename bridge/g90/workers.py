"""Tasks in which connections wait; kept for the next wait, since a task costs as much as a report."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

Rest = Callable[[], Awaitable[object]]
"""What is left to do of a message."""
Proceed = Callable[[], Rest | None]
"""Goes on after that; returns what has to be waited for next."""
_MOST_IDLE: Final = 32
"""A storm of reports leaves no more behind; each takes a kilobyte."""


class Workers:
    """Has one task for each connection that waits at the moment."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._idle: list[asyncio.Future[tuple[Rest, Proceed]]] = []

    def perform(self, rest: Rest, proceed: Proceed) -> None:
        while self._idle:
            waiter = self._idle.pop()
            if not waiter.done():  # cancelled
                waiter.set_result((rest, proceed))
                return
        self.tasks.create_task(self._run(rest, proceed), name="panel server: worker")

    async def _run(self, rest: Rest | None, proceed: Proceed) -> None:
        while True:
            while rest:
                await rest()
                rest = proceed()
            if len(self._idle) >= _MOST_IDLE:
                return
            waiter = self._loop.create_future()
            self._idle.append(waiter)
            rest, proceed = await waiter
