"""Receivers that note every request in the ledger, and reset connections where a fault asks for it."""

from __future__ import annotations

import asyncio
import socket
import struct

from chaos.ledger import RESTORED, Attempt, Ledger, now

from bridge.sos_access.messages import AlarmRequest
from bridge.sos_access.simulator.receiver import Accounts, Arrival, Receiver

RESPONSE_TIMEOUT_S = 3.0
"""How long the bridge waits for an answer, as it is configured here."""
_SURELY_READ_S = 2.0
"""An answer that went out within this time was read in time, also on a busy machine."""


class Station(Receiver):
    """One receiver; `reset` makes it end connections with a reset, before it treats anything."""

    def __init__(self, accounts: Accounts, ledger: Ledger, port: int = 0) -> None:
        super().__init__(accounts, port=port, ping_interval_min=0)
        self.reset = False
        self._ledger = ledger
        self._begun: dict[asyncio.Task[object] | None, float] = {}
        self._attempts: dict[asyncio.Task[object] | None, tuple[Attempt, bool]] = {}

    async def _process(self, raw: bytes, writer: asyncio.StreamWriter) -> None:
        if self.reset:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return
        task = asyncio.current_task()
        self._begun[task] = now()
        sent = False
        try:
            await super()._process(raw, writer)
            sent = True
        finally:
            begun = self._begun.pop(task)
            if task in self._attempts:
                attempt, answered = self._attempts.pop(task)
                attempt.ended = now()
                attempt.answered = answered and sent and attempt.ended - begun < _SURELY_READ_S

    async def _note(self, arrival: Arrival) -> None:
        task = asyncio.current_task()
        if isinstance(arrival.request, AlarmRequest):
            attempt = self._ledger.arrived(_name(arrival.request), arrival.status, self._begun[task])
            self._attempts[task] = attempt, arrival.answered
        await super()._note(arrival)
        self.arrivals.clear()  # the ledger has it; an hour of them would fill the memory


def _name(request: AlarmRequest) -> str | None:
    """Return under which reference the ledger has it; panels name a sensor after the number of its event."""
    if request.detector_text is None:
        return request.reference
    return request.detector_text + (RESTORED if request.alarm_type == "RE" else "")
