"""A transmitter whose receivers answer what a test tells them, driven step by step in a time of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from support.outbox import HOME, NOW, clock, opened

from bridge.common.errors import StoreError
from bridge.common.models import Result, Secret
from bridge.sos_access.client import Exchange, SOSAccessClient
from bridge.sos_access.messages import RESPONSE_TO, NewAuthResponse
from bridge.sos_access.status import Failover, ReceiversUnavailable, TransportError, error_for
from bridge.store.credentials import Credentials
from bridge.store.outbox import Outbox
from bridge.store.records import Queued
from bridge.transmitters.heartbeat import Heartbeat
from bridge.transmitters.line import Line
from bridge.transmitters.transmitter import Transmitter

OLD, NEW = Secret("1" * 15), Secret("2" * 15)
DEAD = "dead"
"""In place of a status: no receiver can be reached."""
BUSY = (5, 98, 99, 77)
"""What is answered without being taken: the round fails."""


class FakeClient(SOSAccessClient):
    """Answers statuses in turn, 0 when told none; notes what was sent with which password."""

    answers: deque[int | str]
    sent: list[tuple[str, str]]

    async def exchange(self, request: Any) -> Any:  # noqa: ANN401 - stands for three overloads
        what = getattr(request, "event_code", None) or type(request).__name__
        self.sent.append((what, self.authentication.reveal()[0]))
        status = self.answers.popleft() if self.answers else 0
        if isinstance(status, str):
            raise ReceiversUnavailable((("primary", TransportError("refused")),))
        kind = RESPONSE_TO[type(request)]
        more: dict[str, Any] = {"new_authentication": NEW} if kind is NewAuthResponse and status == 0 else {}
        response = kind(status, "said", **more)
        error = error_for(response.status, response.info, response.arrival_time)
        if isinstance(error, Failover):
            raise ReceiversUnavailable((("primary", error),))
        if error is not None:
            error.attempts, error.receiver = 1, "primary"
            raise error
        return Exchange(response, "primary", 1, NOW, NOW)


class Recorder:
    """Notes what is told."""

    def __init__(self) -> None:
        self.links: list[bool] = []
        self.heartbeats: list[str] = []
        self.events: list[str] = []
        self.changes = 0

    def changed(self, transmitter: str) -> None:
        self.changes += 1

    def link(self, transmitter: str, up: bool) -> None:  # noqa: FBT001 - the protocol
        self.links.append(up)

    def heartbeat(self, transmitter: str, result: Result) -> None:
        self.heartbeats.append(result.outcome)

    def emit(self, kind: str, **details: object) -> None:
        self.events.append(kind)


class FailingOutbox(Outbox):
    """An outbox that cannot end a command so many times."""

    failures = 0

    async def complete(self, queued: Queued, result: Result) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreError("the disk is full")
        await super().complete(queued, result)


class Stepped(Transmitter):
    """Steps until it would sleep; time goes on when the test says so."""

    time = 1000.0
    idle = False

    def _now(self) -> float:
        return self.time

    async def _sleep(self) -> None:
        self.idle = True

    def begin(self) -> None:
        self._heartbeat = Heartbeat(self._line.heartbeat, self.time)
        self._last_success = self.time

    async def settle(self, after: float = 0.0) -> None:
        """Let `after` seconds pass, then do all that is due."""
        self.time += after
        self.idle = False
        while not self.idle:
            await self._step()


class Bench:
    """A transmitter with everything around it."""

    def __init__(self, folder: Path, outbox: Outbox, heartbeat: float | None) -> None:
        self.client = FakeClient("IK1", "SV301", OLD, "OPER", ("localhost", 1), use_single_receiver=True)
        self.client.answers, self.client.sent = deque(), []
        self.credentials = Credentials(folder / "passwords" / HOME, OLD)
        self.outbox = FailingOutbox(outbox._store)
        self.recorder = Recorder()
        self.wall = NOW
        self.clock = clock(lambda: self.wall)
        line = Line(HOME, self.client, self.credentials, heartbeat, timedelta(hours=1))
        self.transmitter = Stepped(line, self.outbox, self.recorder, self.clock)
        self.transmitter.begin()

    def answer(self, *statuses: int | str) -> None:
        self.client.answers.extend(statuses)

    @property
    def sent(self) -> list[str]:
        return [what for what, _ in self.client.sent]

    async def settle(self, after: float = 0.0) -> Sequence[str]:
        """Return what is sent once `after` seconds have passed."""
        before = len(self.client.sent)
        await self.transmitter.settle(after)
        return self.sent[before:]

    async def outcomes(self) -> list[str]:
        """Return the outcomes of all results so far."""
        return [result.fields["outcome"] for result in await self.outbox.owed_results()]


@asynccontextmanager
async def bench(folder: Path, heartbeat: float | None = None) -> AsyncIterator[Bench]:
    async with opened(folder) as outbox:
        yield Bench(folder, outbox, heartbeat)


__all__ = ["BUSY", "DEAD", "NEW", "OLD", "Bench", "bench"]
