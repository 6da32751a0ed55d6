"""From MQTT into the outbox: what is woken, remembered and handed on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.outbox import HOME, opened

from bridge.common.clock import Clock
from bridge.mqtt.client import Incoming
from bridge.mqtt.outgoing import Outgoing
from bridge.panels.commands import PanelCommands
from bridge.panels.known import KnownPanels
from bridge.panels.topics import PanelTopics
from bridge.store.deliveries import Deliveries
from bridge.store.outbox import Outbox
from bridge.transmitters.intake import CommandHandler
from bridge.transmitters.topics import Topics

TOPICS = Topics("b", {HOME: {}})


def test_a_transmitter_looks_for_what_was_being_stored_when_the_broker_went_away() -> None:
    """Else it takes itself for empty, and sends a restore that comes next before the alarm that was written."""

    class Slow:
        """A store that is still writing when the connection to the broker ends."""

        def __init__(self) -> None:
            self.writing = asyncio.Event()

        async def write(self, work: object) -> None:
            self.writing.set()
            await asyncio.Event().wait()

    async def body() -> None:
        store = Slow()
        outbox = Outbox(store)  # type: ignore[arg-type]
        woken = outbox.wakes.of(HOME)
        handler = CommandHandler(TOPICS, outbox, Deliveries(outbox), _Deaf(), Clock())  # type: ignore[arg-type]
        message = Incoming(
            f"b/transmitter/{HOME}/alarm/raise", b"BA", retained=False, duplicate=False, mid=1, reply=None
        )
        task = asyncio.create_task(handler.handle([message]))
        await store.writing.wait()
        assert not woken.is_set()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert woken.is_set()
        assert outbox.wakes.take() == {HOME}

    asyncio.run(body())


def test_messages_of_which_nothing_is_stored_are_forgotten(tmp_path: Path) -> None:
    """Such as commands for a transmitter that there is not, a million of them."""

    class Counting:
        async def add(self, entries: object, confirmed: object) -> dict[str, None]:
            return {}

    async def body() -> int:
        most = 0
        deliveries = Deliveries(Counting())  # type: ignore[arg-type]
        handler = CommandHandler(TOPICS, Counting(), deliveries, _Deaf(), Clock())  # type: ignore[arg-type]
        for number in range(5000):
            message = Incoming(
                "b/transmitter/nobody/ping", b"%d" % number, retained=False, duplicate=False, mid=number + 1, reply=None
            )
            await handler.handle([message])
            deliveries.acknowledged([message])
            most = max(most, len(deliveries.confirmed))
        return most

    assert asyncio.run(body()) <= 1000


def test_commands_of_panels_are_forgotten_too(tmp_path: Path) -> None:
    async def body() -> int:
        most = 0
        async with opened(tmp_path) as outbox:
            deliveries = Deliveries(outbox)
            commands = _panel_commands(deliveries, [])
            for number in range(1200):
                message = Incoming("b/panel/P/set", b"", retained=False, duplicate=False, mid=number + 1, reply=None)
                if number % 400 == 0:
                    await commands.handle([message])
                deliveries.acknowledged([message])
                most = max(most, len(deliveries.confirmed))
            await commands.handle([message])
            assert deliveries.confirmed == []
        return most

    assert asyncio.run(body()) == 1200


def test_a_command_of_a_panel_is_taken_once_until_its_number_is_another_messages(tmp_path: Path) -> None:
    async def body() -> None:
        events: list[str] = []
        async with opened(tmp_path) as outbox:
            for again in (False, True):  # a restart
                deliveries = Deliveries(outbox, PanelTopics("b").matches)
                commands = _panel_commands(deliveries, events)
                message = Incoming("b/panel/P/set", b"ARM_AWAY", retained=False, duplicate=again, mid=7, reply=None)
                await commands.handle([message])
            assert events == ["command_rejected"]
            deliveries.acknowledged([message])
            await commands.handle([replace(message, payload=b"DISARM")])
            assert events == ["command_rejected"] * 2

    asyncio.run(body())


def _panel_commands(deliveries: Deliveries, events: list[str]) -> PanelCommands:
    """Return those of a bridge without panels, which rejects each; its events go to `events`."""

    def emit(kind: str, **_: Any) -> None:  # noqa: ANN401 - whatever an event tells
        events.append(kind)

    outgoing = Outgoing(asyncio.Event())
    return PanelCommands(PanelTopics("b"), outgoing, KnownPanels({}), deliveries, clock=Clock(), emit=emit)


class _Deaf:
    """Stands for what publishes."""

    def emit(self, *_: object, **__: object) -> None: ...
