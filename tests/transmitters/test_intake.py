"""From MQTT into the outbox: what is told of what was stored."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.outbox import HOME, opened

from bridge.common.clock import Clock
from bridge.mqtt.client import Incoming
from bridge.transmitters.intake import Intake
from bridge.transmitters.topics import Topics


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


def test_messages_of_which_nothing_is_stored_are_not_remembered_for_ever() -> None:
    """Such as commands for a transmitter that there is not, a million of them."""

    class Outbox:
        async def add(self, entries: object, confirmed: object) -> dict[str, None]:
            return {}

    async def body() -> int:
        topics, most = Topics("b", {HOME: {}}), 0
        intake = Intake(topics, Outbox(), _Deaf(), lambda _: None, Clock())  # type: ignore[arg-type]
        for number in range(5000):
            message = Incoming(
                "b/transmitter/nobody/ping", b"%d" % number, retained=False, duplicate=False, mid=number + 1, reply=None
            )
            await intake.commands([message])
            intake.acknowledged([message])
            most = max(most, len(intake._confirmed))
        return most

    assert asyncio.run(body()) <= 1000


def test_what_is_for_others_is_passed_on_once_until_its_number_is_another_messages(tmp_path: Path) -> None:
    passed: list[bytes] = []

    async def body() -> None:
        async with opened(tmp_path) as outbox:
            for again in (False, True):  # a restart
                intake = Intake(
                    Topics("b", {HOME: {}}),
                    outbox,
                    _Deaf(),  # type: ignore[arg-type]
                    lambda _: None,
                    Clock(),
                    is_elsewheres=lambda _: True,
                    elsewhere=lambda message: passed.append(message.payload),
                )
                message = Incoming("b/panel/P/set", b"ARM_AWAY", retained=False, duplicate=again, mid=7, reply=None)
                await intake.commands([message])
            assert passed == [b"ARM_AWAY"]
            intake.acknowledged([message])
            await intake.commands([replace(message, payload=b"DISARM")])
            assert passed == [b"ARM_AWAY", b"DISARM"]

    asyncio.run(body())


class _Deaf:
    """Stands for what publishes."""

    def event(self, *_: object, **__: object) -> None: ...
