"""Commands to a panel, independent of the way they are sent (PROTOCOL.md, Commands)."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from bridge.common.text import counted
from bridge.g90.wire.answers import Page, TruncatedAnswer, alert_flags, page, page_request, switch_request
from bridge.g90.wire.commands import (
    GET_ALERT_FLAGS,
    GET_HOST_INFO,
    GET_SENSORS,
    GET_STATUS,
    PAGE,
    SET_STATUS,
    SWITCH_RELAY,
    CommandRefused,
    CommandTimeout,
    HostInfo,
    HostStatus,
    SensorRecord,
    expand,
    host_info,
    host_status,
    named,
    sensor_record,
)
from bridge.g90.wire.constants import ArmCode

ATTEMPT_S: Final = 7.5
"""Panels were seen to answer after five seconds."""
RETRIES: Final = 2
_MAX_RECORDS: Final = 1000
_PAGE_ATTEMPTS: Final = 3


class PanelExchange(Protocol):
    """One request and its response, which may answer any of its attempts."""

    answer: asyncio.Future[list[object]]

    async def send(self) -> None:
        """Send the request, again if it was sent before."""


class PanelControl(ABC):
    """Commands to one panel, one at a time. Each may raise any error of `ask`."""

    def __init__(self, who: str, timeout: float, retries: int) -> None:
        """`who`: the panel's name in errors. `timeout`: seconds between attempts; the last has twice as long."""
        self._who = who
        self._timeout = timeout
        self._retries = retries
        self._one_at_a_time = asyncio.Lock()

    @property
    def patience(self) -> float:
        """Seconds after which a command is given up."""
        return self._timeout * (self._retries + 2)

    async def ask(self, code: int, data: list[object] | None = None) -> list[object]:
        """Send one command and return the data of its response.

        Raises `CommandTimeout` if no attempt is answered, `CommandRefused` if the panel reports a failure or sends
        another response, `PanelCommandError` if the panel cannot be reached.
        """
        async with self._one_at_a_time:
            try:
                async with asyncio.timeout(self.patience), self._exchange(code, data) as exchange:
                    for _ in range(self._retries):
                        await exchange.send()
                        if (await asyncio.wait([exchange.answer], timeout=self._timeout))[0]:
                            return exchange.answer.result()
                    await exchange.send()
                    return await exchange.answer
            except TimeoutError:
                asked = counted(1 + self._retries, "time")
                raise CommandTimeout(
                    f"{self._who} did not answer the command {named(code)} within {self.patience:g} s, sent {asked}"
                ) from None

    @abstractmethod
    def _exchange(self, code: int, data: list[object] | None) -> AbstractAsyncContextManager[PanelExchange]:
        """Prepare one request."""

    async def status(self) -> HostStatus:
        return host_status(await self.ask(GET_STATUS))

    async def host_info(self) -> HostInfo:
        return host_info(await self.ask(GET_HOST_INFO))

    async def alert_flags(self) -> int:
        return int(alert_flags(await self.ask(GET_ALERT_FLAGS)))

    async def arm_away(self) -> None:
        await self.ask(SET_STATUS, [int(ArmCode.ARMED_AWAY)])

    async def arm_home(self) -> None:
        await self.ask(SET_STATUS, [int(ArmCode.ARMED_HOME)])

    async def disarm(self) -> None:
        await self.ask(SET_STATUS, [int(ArmCode.DISARMED)])

    async def switch(self, index: int, channel: int, *, on: bool) -> None:
        """Switch a relay; channels count from 1."""
        await self.ask(SWITCH_RELAY, switch_request(index, channel, on=on))

    async def records(self, code: int = GET_SENSORS) -> tuple[SensorRecord, ...]:
        found: list[object] = []
        await self.read_list(found, code)
        return tuple(map(sensor_record, found))

    async def sensors(self) -> tuple[SensorRecord, ...]:
        """Return the panel's sensors, one with several nodes as `name#1`, `name#2`..."""
        return tuple(node for record in await self.records() for node in expand(record))

    async def read_list(
        self, found: list[object], code: int, size: int = PAGE, enough: Callable[[list[object]], bool] = lambda _: False
    ) -> None:
        """Read a list into `found` page by page, until it is `enough`; a failure keeps what was read.

        Each page begins with the last record of the one before. If that is another one by now, the list has changed,
        and it is read again (PROTOCOL.md, Pagination).
        """
        again = _PAGE_ATTEMPTS
        while len(found) < _MAX_RECORDS:
            known = len(found)
            part = await self.page(code, max(known, 1), size)
            if known and part.records and part.records[0] != found[-1]:
                again -= 1
                if not again:
                    raise CommandRefused(f"{self._who}: the {named(code)} changes while it is read")
                found.clear()
                continue
            found += part.records[1:] if known else part.records
            if len(found) == known or len(found) >= part.total or enough(found):
                return

    async def page(self, code: int, first: int, size: int = PAGE) -> Page:
        """Read one page of a list. One that is cut off is asked for again; an empty one is the list's end."""
        for attempt in range(1, _PAGE_ATTEMPTS + 1):
            try:
                found = page(await self.ask(code, page_request(first, size)))
            except TruncatedAnswer:
                if attempt == _PAGE_ATTEMPTS:
                    raise
            else:
                break
        if found.records and found.first != first:
            raise CommandRefused(f"{self._who} sent records from {found.first} on, not from {first} on")
        return found
