"""Waiting with a bound."""

from __future__ import annotations

import asyncio

import pytest

from bridge.common.loop import now, within


def test_it_waits_until_the_event_or_the_bound() -> None:
    async def scenario() -> None:
        event = asyncio.Event()
        began = now()
        assert not await within(0.05, event.wait())
        assert now() - began >= 0.05
        asyncio.get_running_loop().call_soon(event.set)
        assert await within(None, event.wait())
        assert await within(0, event.wait())

    asyncio.run(scenario())


def test_a_cancellation_is_not_taken_for_the_bound() -> None:
    async def scenario() -> None:
        task = asyncio.create_task(within(10, asyncio.Event().wait()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
