"""Waiting with a bound."""

from __future__ import annotations

import asyncio
import time

import pytest

from bridge.common.loop import awake, now, within


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


def test_time_in_which_the_loop_stood_still_does_not_count() -> None:
    async def scenario() -> None:
        began = now()
        asyncio.get_running_loop().call_soon(time.sleep, 0.5)
        with pytest.raises(TimeoutError):
            async with awake(0.2):
                await asyncio.Event().wait()
        assert now() - began >= 0.8

    asyncio.run(scenario())


def test_it_ends_at_its_time_and_passes_on_what_happens_in_it() -> None:
    async def scenario() -> None:
        began = now()
        with pytest.raises(TimeoutError):
            async with awake(0.05):
                await asyncio.Event().wait()
        assert now() - began >= 0.05
        with pytest.raises(ConnectionError):
            async with awake(10):
                raise ConnectionError
        task = asyncio.create_task(_waits())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())


async def _waits() -> None:
    async with awake(10):
        await asyncio.Event().wait()
