"""One SOS Access line: its client and its passwords, and an exchange that tries the other password where need be."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from bridge.common.errors import StoreError
from bridge.common.models import Command, Request, Secret
from bridge.sos_access.client import AnyRequest, Exchange, SOSAccessClient
from bridge.sos_access.messages import AlarmResponse, NewAuthResponse, PingResponse
from bridge.sos_access.status import PingTooOften, ServiceUnavailable, Unauthorized
from bridge.store.credentials import TRIED_PER_EXCHANGE, Credentials

log = logging.getLogger(__name__)

_RECOGNISED = (PingTooOften, ServiceUnavailable)
"""Rejections that a receiver gives only to a transmitter whose password it has accepted."""

AnyExchange = Exchange[AlarmResponse] | Exchange[PingResponse] | Exchange[NewAuthResponse]


@dataclass(frozen=True, slots=True)
class Line:
    """One transmitter's way to its receivers."""

    name: str
    client: SOSAccessClient
    credentials: Credentials
    heartbeat: float | None = None
    """The level agreed with the operator, in seconds."""
    max_age: timedelta = timedelta(hours=24)
    owns_passwords: bool = True
    """Whether what an exchange teaches of the passwords is stored: by one program at a time."""

    @property
    def longest_exchange_s(self) -> float:
        """What an exchange takes at most: a round with each password that is tried."""
        return TRIED_PER_EXCHANGE * self.client.longest_round_s

    def message(self, command: Command) -> AnyRequest:
        """Return the message that `command` asks for, with the password to use. Raises FieldError."""
        if command.alarm is not None:
            return self.client.prepared_request(command.alarm, "AL" if command.request is Request.ALARM else "RE")
        if command.request is Request.AUTH:
            return self.client.new_auth_request(command.reference)
        return self.client.ping_request(command.reference)

    async def exchange(self, message: Callable[[], AnyRequest]) -> AnyExchange:
        """Exchange one message, with the other password too where a rotation is open. Raises SOSAccessError.

        `message` makes it with the client's password of the moment.
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
                await self._treated(password, refused)
                raise
            else:
                await self._treated(password, refused)
                return exchange
        raise last

    async def _treated(self, password: Secret, refused: list[Secret]) -> None:
        if not (self.owns_passwords and self.credentials.rotation_open):
            return
        try:
            await asyncio.to_thread(self.credentials.treated, password, tuple(refused))
        except StoreError as error:  # both passwords stay on disk, as before: no reason to send the message again
            log.error("%s: %s", self.name, error)
