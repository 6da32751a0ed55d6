"""What the core tests build: commands, entries, results, an open outbox."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from support.stores import open_store

from bridge.common.clock import Clock
from bridge.common.models import (
    NO_ALARM,
    AlarmIdentity,
    Command,
    Moment,
    Outcome,
    PreparedAlarm,
    Reply,
    Request,
    Result,
)
from bridge.store.deliveries import Delivery
from bridge.store.outbox import Outbox
from bridge.store.records import CommandEntry, Queued
from bridge.store.sqlite.database import SqliteStore

T = TypeVar("T")

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOME = "home"


def moment(at: datetime = NOW) -> Moment:
    """Return `at` by a steady clock that the wall clock goes along with."""
    return Moment("test", (at - NOW).total_seconds() + 1_000_000.0)


def clock(at: Callable[[], datetime] = lambda: NOW) -> Clock:
    """Return the clock of the same boot; `at` is what it shows."""
    return Clock(lambda: at().timestamp(), lambda: moment(at()).steady, "test")


def command(
    request: Request = Request.ALARM,
    code: str = "BA",
    *,
    section: str = "",
    detector: str = "",
    area: str = "",
    transmitter: str = HOME,
    at: datetime = NOW,
    reference: str | None = None,
    reply: Reply | None = None,
    urgent: bool = False,
) -> Command:
    if request in (Request.PING, Request.AUTH):
        return Command(
            transmitter=transmitter,
            request=request,
            accepted_at=at,
            moment=moment(at),
            reference=reference,
            reply=reply,
        )
    alarm = PreparedAlarm(
        code, section=section or None, detector=detector or None, transmitter_area=area or None, urgent=urgent
    )
    return Command(
        transmitter=transmitter,
        request=request,
        accepted_at=at,
        moment=moment(at),
        alarm=alarm,
        identity=AlarmIdentity.of(alarm),
        reference=reference,
        reply=reply,
    )


def entry(wanted: Command, delivery: Delivery | None = None) -> CommandEntry:
    return CommandEntry(wanted, delivery)


def result(queued: Queued, outcome: Outcome = Outcome.ACCEPTED, **more: object) -> Result:
    wanted = queued.command
    values: dict[str, object] = {
        "event_code": wanted.identity.event_code if wanted.identity != NO_ALARM else None,
        "reference": wanted.reference,
        "accepted_at": wanted.accepted_at,
        "completed_at": wanted.accepted_at + timedelta(seconds=1),
        **more,
    }
    return Result(request=wanted.request, outcome=outcome, **values)  # type: ignore[arg-type]


@asynccontextmanager
async def opened(path: Path, max_commands: int = 100_000) -> AsyncIterator[Outbox]:
    async with await open_store(path / "store.sqlite") as store:
        yield Outbox(store, max_commands)


@asynccontextmanager
async def opened_beside(path: Path, outbox: Outbox) -> AsyncIterator[Outbox]:
    """Open what another program changes the store with; on PostgreSQL the owner does that for it."""
    if isinstance(outbox._store, SqliteStore):
        async with opened(path) as other:
            yield other
    else:
        yield Outbox(outbox._store)


def with_outbox(path: Path, body: Callable[[Outbox], Awaitable[T]], max_commands: int = 100_000) -> T:
    """Run `body` with the outbox of `path`, opened for it and closed after it."""

    async def run() -> T:
        async with opened(path, max_commands) as outbox:
            return await body(outbox)

    return asyncio.run(run())


async def put(outbox: Outbox, *commands: Command) -> list[Queued]:
    """Add commands, one by one, and return them as queued."""
    await outbox.add([entry(each) for each in commands])
    return (await outbox.list())[-len(commands) :]
