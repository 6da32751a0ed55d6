"""The time of the event loop, and waiting for something with a bound."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

_STOOD_STILL_S = 0.1
"""A timer that is called so much too late shows that the loop stood still."""


def now() -> float:
    """Return the time of the running loop in seconds."""
    return asyncio.get_running_loop().time()


async def within(seconds: float | None, waiting: Coroutine[None, None, object]) -> bool:
    """Return whether `waiting` ended in so many seconds, after which it is cancelled; None: no bound."""
    try:
        async with asyncio.timeout(seconds):
            await waiting
    except TimeoutError:
        return False
    return True


class Awake:
    """As `asyncio.timeout_at`, for answers of others: time in which the loop stood still does not count.

    What arrived meanwhile, on a machine that was suspended or had no processor time for us, is not read yet when the
    loop goes on and the timer is due. Without this, a peer that answered at once would be taken for a silent one.
    """

    __slots__ = ("_cancelled", "_cancelling", "_task", "_timer", "_until")

    def __init__(self, until: float) -> None:
        self._until = until
        self._cancelled = False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        self._task, self._cancelling = task, task.cancelling()
        self._timer = asyncio.get_running_loop().call_at(self._until, self._due)

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._timer.cancel()
        ours = self._cancelled and self._task.uncancel() <= self._cancelling
        if ours and kind is asyncio.CancelledError:
            raise TimeoutError

    def _due(self) -> None:
        loop = asyncio.get_running_loop()
        late = loop.time() - self._timer.when()
        if late > _STOOD_STILL_S:
            self._timer = loop.call_later(late, self._due)
        else:
            self._cancelled = self._task.cancel()


def awake(seconds: float) -> Awake:
    """Return an `Awake` of so many seconds from now."""
    return Awake(now() + seconds)
