"""Receivers that note every request in the ledger, and show faults that the simulated receiver does not have."""

from __future__ import annotations

import asyncio
import socket
import struct

from chaos.ledger import RESTORED, Arrived, Attempt, Ledger, now

from bridge.sos_access.messages import AlarmRequest
from bridge.sos_access.simulator.receiver import Accounts, Arrival, Fault, Receiver
from bridge.sos_access.status import Status

RESPONSE_TIMEOUT_S = 3.0
"""How long the bridge waits for an answer, as it is configured here."""
_SILENT_S = 60.0
"""Longer than any transmitter waits."""
_SURELY_READ_S = 2.0
"""An answer that went out within this time was read in time, also on a busy machine."""


class Station(Receiver):
    """One receiver, by its name in the configuration."""

    def __init__(self, accounts: Accounts, ledger: Ledger, name: str, host: str = "127.0.0.1") -> None:
        super().__init__(accounts, host, ping_interval_min=0)
        self.name = name
        self.reset = False
        """It ends connections with a reset, before it treats anything."""
        self.silent = False
        """It accepts connections and what comes on them, and says nothing."""
        self.refuses = ""
        """The event code that it does not take: an operator has not set it up."""
        self._ledger = ledger
        self._begun: dict[asyncio.Task[object] | None, float] = {}
        self._attempts: dict[asyncio.Task[object] | None, tuple[Attempt, bool]] = {}

    async def _process(self, raw: bytes, writer: asyncio.StreamWriter) -> None:
        if self.reset:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return
        if self.silent:
            await asyncio.sleep(_SILENT_S)
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
            if not sent:  # such as an answer that was too slow, and the receiver ended before
                self._ledger.troubles[self.name].append((begun, now()))

    def _fault_of(self, raw: bytes) -> Fault:
        fault = super()._fault_of(raw)
        refused = self.refuses and f"<eventcode>{self.refuses}</eventcode>".encode() in raw
        return Fault(status=Status.OTHER_ERROR) if refused else fault

    async def _note(self, arrival: Arrival) -> None:
        task = asyncio.current_task()
        if isinstance(arrival.request, AlarmRequest):
            request = arrival.request
            kind = f"{request.alarm_type} {request.event_code}"
            arrived = Arrived(_name(request), request.transmitter_code, self.name, arrival.status, kind)
            attempt = self._ledger.arrived(arrived, self._begun[task])
            self._attempts[task] = attempt, arrival.answered
        if arrival.request is not None and arrival.answered and now() - self._begun[task] < _SURELY_READ_S:
            self._ledger.logged_in(arrival.request.transmitter_code, self.name, arrival.status)
        await super()._note(arrival)
        self.arrivals.clear()  # the ledger has it; an hour of them would fill the memory


def _name(request: AlarmRequest) -> str | None:
    """Return under which reference the ledger has it; panels name a sensor after the number of its event."""
    if request.detector_text is None:
        return request.reference
    return request.detector_text + (RESTORED if request.alarm_type == "RE" else "")
