"""A house with Home Assistant in it: broker, receivers, a panel, the bridge, all real or as real as can be."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

from ecosystem.hass import HomeAssistant
from support.brokers import Mosquitto
from support.house import GUID, House, Simulated
from support.recorder import WAIT_S, connect

CODE = "4711471"
PANEL = f"sosbridge_panel_{GUID.lower()}"
TRANSMITTER = "sosbridge_transmitter_home"
ALARM = f"alarm_control_panel.{PANEL}_alarm"
_ENDS_WITHIN_S = 600.0


class Home(House):
    """With the default base topic: entity ids are as users see them."""

    def __init__(self, folder: Path, extra: str = "") -> None:
        self.mosquitto = Mosquitto(folder)
        super().__init__(self.mosquitto, folder, "sosbridge")
        self.hass = HomeAssistant(self.mosquitto.port, extra)
        self.codes.add(CODE)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.stack.enter_context(self.mosquitto)
        self.home.update({"heartbeat": "5h", "test_event_code": "TST"})
        return self

    async def inhabited(self, **options: Any) -> Simulated:  # noqa: ANN401 - the simulator's
        """Start everything: a panel with local control and a code, the bridge, Home Assistant."""
        local = self.controlled(code=CODE, name="House")
        await self.start()
        panel = await self.panel(local=local, **options)
        await self.stack.enter_async_context(self.hass)
        await self.there()
        return panel

    async def broker_holds(self, topic: str, words: str = "") -> str:
        """Return the payload of a retained message with `words` in it; wait for it."""
        async with asyncio.timeout(WAIT_S), connect(self.broker.port) as client:
            await client.subscribe(topic, qos=1)
            async for message in client.messages:
                if words in (text := bytes(message.payload).decode()):
                    return text
        raise AssertionError("the broker has hung up")

    async def there(self) -> None:
        """Wait until Home Assistant has all that the bridge declares, and it is available."""
        await self.hass.until(self._available, "all is available")

    def _available(self) -> bool:
        states = self.hass.ours
        return ALARM in states and f"sensor.{TRANSMITTER}_waiting" in states and "unavailable" not in states.values()


def in_home(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an `async def` test within its `home`."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - pytest's fixtures
        async def whole() -> None:
            async with asyncio.timeout(_ENDS_WITHIN_S), kwargs["home"]:
                await test(*args, **kwargs)

        asyncio.run(whole())

    return run
