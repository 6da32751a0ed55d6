"""One transmitter's client and passwords, and an exchange that tries the other password if one is refused."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from bridge.common.errors import StoreError
from bridge.common.models import Command, Request, Secret
from bridge.sos_access.client import Exchange, SOSAccessClient
from bridge.sos_access.messages import AlarmResponse, AnyRequest, NewAuthResponse, PingResponse
from bridge.sos_access.status import PingTooOften, ServiceUnavailable, Unauthorized
from bridge.store.credentials import TRIED_PER_EXCHANGE, Credentials

log = logging.getLogger(__name__)

_RECOGNISED = (PingTooOften, ServiceUnavailable)
"""Rejections that a receiver gives only after it has accepted the password."""

AnyExchange = Exchange[AlarmResponse] | Exchange[PingResponse] | Exchange[NewAuthResponse]


@dataclass(frozen=True, slots=True)
class Line:
    """One transmitter's connection to its receivers."""

    name: str
    client: SOSAccessClient
    credentials: Credentials
    heartbeat: float | None = None
    """The heartbeat level agreed with the operator, in seconds; None for off."""
    max_age: timedelta = timedelta(hours=24)
    owns_passwords: bool = True
    """Whether this program stores which password worked; only one program may."""

    @property
    def longest_exchange_s(self) -> float:
        """The longest duration of an exchange: a round with each password that is tried."""
        return TRIED_PER_EXCHANGE * self.client.longest_round_s

    def message(self, command: Command) -> AnyRequest:
        """Return the message for `command`, with the client's current password. Raises FieldError."""
        if command.alarm is not None:
            return self.client.prepared_request(command.alarm, "AL" if command.request is Request.ALARM else "RE")
        if command.request is Request.AUTH:
            return self.client.new_auth_request(command.reference)
        return self.client.ping_request(command.reference)

    async def exchange(self, message: Callable[[], AnyRequest]) -> AnyExchange:
        """Exchange one message, with another password if one is refused (sos_access/PROTOCOL.md, Choosing a password).

        `message` returns it with the client's current password. Raises SOSAccessError.
        """
        refused: list[Secret] = []
        self.client.other_passwords = self.credentials.passwords
        for password in self.credentials.candidates():
            self.client.authentication = password
            try:
                exchange = await self.client.exchange(message())
            except Unauthorized as error:
                refused.append(password)
                last = error
            except _RECOGNISED:
                await self._confirm(password, refused)
                raise
            else:
                await self._confirm(password, refused)
                return exchange
        raise last

    async def _confirm(self, password: Secret, refused: list[Secret]) -> None:
        if not (self.owns_passwords and self.credentials.rotation_open):
            return
        try:
            await asyncio.to_thread(self.credentials.confirm, password, tuple(refused))
        except StoreError as error:  # both passwords stay on disk; the message was delivered
            log.error("%s: %s", self.name, error)
