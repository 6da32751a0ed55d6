"""A transmitter over receivers that behave as a test says, in virtual time (`support.virtual`)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

from support import virtual
from support.outbox import HOME, NOW, clock, opened

from bridge.common.clock import Clock
from bridge.common.models import Result, Secret
from bridge.common.problems import Kind
from bridge.sos_access.client import AsyncSOSAccessClient
from bridge.sos_access.connection import Connection, Dialer
from bridge.sos_access.messages import RESPONSE_TO, AnyRequest, NewAuthResponse, Response, parse_request
from bridge.sos_access.peer import Peer
from bridge.sos_access.status import Failure, TransportError
from bridge.store.outbox import Outbox
from bridge.store.passwords import PasswordFile, Passwords
from bridge.transmitters.line import Line
from bridge.transmitters.network import Network
from bridge.transmitters.routes import Route, Routes
from bridge.transmitters.supervision import Supervision
from bridge.transmitters.transmitter import Transmitter

OLD, NEW = Secret("1" * 15), Secret("2" * 15)
DEAD = "dead"
"""In place of a status: the connection is refused."""
SILENT = "silent"
"""In place of a status: the message is taken and nothing comes back."""
LOST = "lost"
"""In place of a status: the connection breaks before the answer."""
DROPS = "drops"
"""In place of a status: no connection comes about."""
BUSY = (5, 98, 99, 77)
"""What is answered without being taken: the round fails."""

Answer = int | str | bytes | Response
Behaves = Callable[[str, AnyRequest | None], Answer]
"""What a receiver does: asked without a request, whether it connects."""


@dataclass(frozen=True)
class Document:
    """One message that was sent."""

    at: float
    receiver: str
    request: AnyRequest

    @property
    def what(self) -> str:
        return getattr(self.request, "event_code", None) or type(self.request).__name__

    @property
    def password(self) -> str:
        return self.request.authentication.reveal()[0]


class FakeDialer(Dialer):
    """Connects to receivers that `behaves` describes, each after `answer_s`."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: deque[Answer] = deque()
        """Answered in turn by whichever is asked, then 0."""
        self.behaves: Behaves | None = None
        self.answer_s = 0.0
        self.sent: list[Document] = []
        self.connects: list[tuple[float, str]] = []

    def behaviour(self, receiver: str, request: AnyRequest | None) -> Answer:
        if self.behaves is not None:
            return self.behaves(receiver, request)
        if request is None:
            return self.answers.popleft() if self.answers and isinstance(self.answers[0], str) else 0
        return self.answers.popleft() if self.answers else 0

    async def connect(self, peer: Peer) -> Connection:
        receiver, now = _named(peer), asyncio.get_running_loop().time()
        self.connects.append((now, receiver))
        how = self.behaviour(receiver, None)
        if how == DEAD:
            raise TransportError(f"connection refused by {receiver}", Failure.REFUSED)
        if how == DROPS:
            await asyncio.sleep(peer.connect_timeout)
            raise TransportError(f"no connection to {receiver}", Failure.NO_CONNECTION)
        return FakeConnection(self, peer)


class FakeConnection(Connection):
    def __init__(self, dialer: FakeDialer, peer: Peer) -> None:
        self.peer = peer
        self._fake = dialer

    async def exchange(self, data: bytes) -> bytes:
        request, receiver = parse_request(data), _named(self.peer)
        self._fake.sent.append(Document(asyncio.get_running_loop().time(), receiver, request))
        status = self._fake.behaviour(receiver, request)
        if isinstance(status, str):
            await asyncio.sleep(self.peer.response_timeout if status == SILENT else 0)
            raise TransportError(f"no complete response from {receiver}", Failure.NO_RESPONSE)
        await asyncio.sleep(self._fake.answer_s)
        if isinstance(status, bytes):
            return status
        if isinstance(status, Response):
            return status.to_xml()
        kind = RESPONSE_TO[type(request)]
        more: dict[str, Any] = {"new_authentication": NEW} if kind is NewAuthResponse and status == 0 else {}
        return kind(status, "answer", **more).to_xml()

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass


def _named(peer: Peer) -> str:
    return f"{peer.address[0]} over {peer.interface}" if peer.interface else peer.address[0]


class Recorder:
    """Notes what is reported."""

    def __init__(self) -> None:
        self.links: list[bool] = []
        self.heartbeats: list[str] = []
        self.events: list[str] = []
        self.problems: dict[tuple[str, str | None], str] = {}
        self.began: dict[tuple[str, str | None], datetime] = {}
        self.receivers: list[tuple[str, bool | None]] = []
        self.level: float | None = None
        self.started: Callable[[], float] = lambda: 0.0

    def changed(self, transmitter: str) -> None:
        pass

    def routes(self, transmitter: str, routes: Routes, supervision: Supervision) -> None:
        for receiver in routes.receivers:
            up = routes.up(("receiver", receiver))
            if dict(self.receivers).get(receiver) is not up:
                self.receivers.append((receiver, up))
        link = routes.link_up(self.level, self.started(), asyncio.get_running_loop().time())
        if link is not None and self.links[-1:] != [link]:
            self.links.append(link)

    def problem(
        self,
        transmitter: str,
        kind: Kind,
        text: str | None,
        *,
        receiver: str | None = None,
        since: datetime | None = None,
    ) -> None:
        if since is not None:
            self.began[kind, receiver] = since
        if text is None:
            self.problems.pop((kind, receiver), None)
        else:
            self.problems[kind, receiver] = text

    def heartbeat(self, transmitter: str, result: Result) -> None:
        self.heartbeats.append(result.outcome)

    def emit(self, kind: str, **details: object) -> None:
        self.events.append(kind)


class Bench:
    """A transmitter with everything around it, running."""

    def __init__(
        self,
        folder: Path,
        outbox: Outbox,
        heartbeat: float | None = None,
        receivers: Sequence[str] = ("primary",),
        dialer: FakeDialer | None = None,
        network: Network | None = None,
        own_clock: Clock | None = None,
        paths: Sequence[str] = ("",),
        configured: Secret = OLD,
        port: int = 1,
    ) -> None:
        self.dialer = dialer or FakeDialer()
        self.outbox = outbox
        self.recorder = Recorder()
        self._wall, self._set_at = NOW, 1000.0  # when virtual time begins
        self.clock = own_clock or clock(lambda: self.wall)
        client = AsyncSOSAccessClient("IK1", "SV301", configured, "OPER", ("localhost", 1), use_single_receiver=True)
        self.passwords = Passwords(PasswordFile(folder / "passwords" / HOME), configured, receivers)
        self.line = Line(
            HOME, client, self.passwords,
            {Route(name, path): Peer((name, port), interface=path or None) for path in paths for name in receivers},
            network or Network(self.dialer), self.clock, heartbeat, max_age=timedelta(hours=1),
        )  # fmt: skip
        self.transmitter = Transmitter(self.line, outbox, self.recorder, self.clock)
        self.recorder.level, self.recorder.started = heartbeat, lambda: self.transmitter._state.started
        self.transmitter._state.jitter = lambda: 0.5
        self.running = asyncio.create_task(self.transmitter.run())

    @property
    def wall(self) -> datetime:
        return self._wall + timedelta(seconds=asyncio.get_running_loop().time() - self._set_at)

    @wall.setter
    def wall(self, value: datetime) -> None:
        self._wall, self._set_at = value, asyncio.get_running_loop().time()

    def answer(self, *statuses: Answer) -> None:
        self.dialer.answers.extend(statuses)

    @property
    def sent(self) -> list[str]:
        return [document.what for document in self.dialer.sent]

    async def settle(self, after: float = 0.0) -> Sequence[str]:
        """Return what is sent in the next `after` seconds."""
        before = len(self.dialer.sent)
        await asyncio.sleep(after + 0.001)
        if self.running.done():
            self.running.result()
        return self.sent[before:]

    async def outcomes(self) -> list[str]:
        """Return the outcomes of all results so far."""
        return [result.fields["outcome"] for result in (await self.outbox.to_publish()).results]

    async def crash(self) -> None:
        """End without waiting for what is on its way."""
        self.running.cancel()
        await asyncio.sleep(0)
        await self.stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        self.running.cancel()
        await asyncio.wait([self.running])
        if not self.running.cancelled():
            self.running.result()


@asynccontextmanager
async def bench(folder: Path, heartbeat: float | None = None, **more: Any) -> AsyncIterator[Bench]:  # noqa: ANN401
    async with opened(folder) as outbox, Bench(folder, outbox, heartbeat, **more) as found:
        yield found


def on_bench(
    path: Path,
    body: Callable[[Bench], Awaitable[None]],
    heartbeat: float | None = None,
    **more: Any,  # noqa: ANN401
) -> None:
    """Run `body` with a running transmitter, in virtual time; the checks at its start are over, without heartbeats."""

    async def main() -> None:
        async with bench(path, heartbeat, **more) as each:
            if heartbeat is None:
                await each.settle(5)
                each.dialer.sent.clear()
                each.dialer.connects.clear()
            await body(each)

    virtual.run(main())
