"""Commands to a panel, independent of the way they are sent (PROTOCOL.md, Commands)."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

from bridge.g90.wire.commands import (
    GET_HOST_INFO,
    GET_SENSORS,
    GET_STATUS,
    PAGE,
    SET_STATUS,
    CommandRefused,
    CommandTimeout,
    HostInfo,
    HostStatus,
    SensorRecord,
    expand,
    host_info,
    host_status,
    sensor_page,
)
from bridge.g90.wire.constants import ArmCode

_MAX_SENSORS = 1000


class PanelControl(ABC):
    """Commands to one panel, one at a time. Each may raise any error of `ask`."""

    def __init__(self, who: str, timeout: float, retries: int) -> None:
        """`who` names the panel in errors; `timeout` is in seconds for each of the 1 + `retries` attempts."""
        self._who = who
        self._timeout = timeout
        self._retries = retries
        self._one_at_a_time = asyncio.Lock()

    async def ask(self, code: int, data: list[object] | None = None) -> list[object]:
        """Send one command and return the data of its response.

        Raises `CommandTimeout` if no attempt is answered, `CommandRefused` if the panel reports a failure or sends
        another response, `PanelCommandError` if the panel cannot be reached.
        """
        async with self._one_at_a_time:
            for _ in range(1 + self._retries):
                try:
                    async with asyncio.timeout(self._timeout):
                        return await self._attempt(code, data)
                except TimeoutError:
                    continue
        attempts = f"{1 + self._retries} attempts of {self._timeout:g} s"
        raise CommandTimeout(f"{self._who} did not answer command {code} in {attempts}")

    @abstractmethod
    async def _attempt(self, code: int, data: list[object] | None) -> list[object]:
        """Send the command once; may wait for the response indefinitely."""

    async def status(self) -> HostStatus:
        return host_status(await self.ask(GET_STATUS))

    async def host_info(self) -> HostInfo:
        return host_info(await self.ask(GET_HOST_INFO))

    async def arm_away(self) -> None:
        await self.ask(SET_STATUS, [int(ArmCode.ARMED_AWAY)])

    async def arm_home(self) -> None:
        await self.ask(SET_STATUS, [int(ArmCode.ARMED_HOME)])

    async def disarm(self) -> None:
        await self.ask(SET_STATUS, [int(ArmCode.DISARMED)])

    async def records(self) -> tuple[SensorRecord, ...]:
        """Return the panel's sensor list, read page by page (PROTOCOL.md, Pagination)."""
        found: list[SensorRecord] = []
        while len(found) < _MAX_SENSORS:
            first = len(found) + 1
            page = sensor_page(await self.ask(GET_SENSORS, [first, first + PAGE - 1]))
            if page.first != first and page.count:
                raise CommandRefused(f"{self._who} sent sensors from {page.first} on, not from {first} on")
            found += page.sensors
            if not page.count or len(found) >= page.total:
                break
        return tuple(found)

    async def sensors(self) -> tuple[SensorRecord, ...]:
        """Return the panel's sensors, one with several nodes as `name#1`, `name#2`..."""
        return tuple(node for record in await self.records() for node in expand(record))
