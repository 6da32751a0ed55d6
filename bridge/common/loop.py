"""The time of the event loop, and waiting for something with a bound."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


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
