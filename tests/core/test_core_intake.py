"""From MQTT into the outbox: what is told of what was stored."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from core.core_kit import HOME

from bridge.broker import Incoming
from bridge.clock import Clock
from bridge.intake import Intake
from bridge.topics import Topics


class _Slow:
    """An outbox that is still writing when the connection to the broker ends."""

    def __init__(self) -> None:
        self.writing = asyncio.Event()

    async def add(self, entries: object, confirmed: object) -> None:
        self.writing.set()
        await asyncio.Event().wait()


def test_a_line_looks_for_what_was_being_stored_when_the_broker_went_away() -> None:
    """Else it takes itself for empty, and sends a restore that comes next before the alarm that was written."""

    async def body() -> list[dict[str, Any]]:
        outbox, told = _Slow(), list[dict[str, Any]]()
        topics = Topics("b", {HOME: {}})
        intake = Intake(topics, outbox, None, lambda touched: told.append(dict(touched)), Clock())  # type: ignore[arg-type]
        message = Incoming(
            f"b/transmitter/{HOME}/alarm/raise", b"BA", retained=False, duplicate=False, mid=1, reply=None
        )
        task = asyncio.create_task(intake.commands([message]))
        await outbox.writing.wait()
        assert not told
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return told

    assert asyncio.run(body()) == [{HOME: None}]
