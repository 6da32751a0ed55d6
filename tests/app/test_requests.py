"""What the owner of a shard does with the requests of others: all of them, in order, once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.outbox import HOME, clock, command
from support.postgres import PostgresServer

from bridge.app.requests import RequestHandler
from bridge.common.models import Secret
from bridge.store.outbox import Outbox
from bridge.store.postgres.database import PostgresStore
from bridge.store.postgres.requests import OtherShards

LEASE_S = 4.0


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[Secret]:
    yield Secret(postgres.create("requests"))
    postgres.drop("requests")


async def _no_move(_: str) -> bool:
    return False


class Shard:
    """An open shard and what is in its tables."""

    def __init__(self, store: PostgresStore) -> None:
        self.store = store
        self.outbox = Outbox(store)
        self.handler = RequestHandler(store, 0, self.outbox, clock(), _no_move)

    async def put(self, *codes: str) -> None:
        """Leave commands to it, as the owner of another shard does."""
        other = OtherShards({HOME: 0})

        def work(db: Any) -> None:  # noqa: ANN401 - a Db
            for code in codes:
                other.put(db, command(code=code))

        await self.store.write(work)

    async def sql(self, sql: str, *values: object) -> list[Any]:
        def work(db: Any) -> list[Any]:  # noqa: ANN401 - a Db
            found = db.execute(sql, values)
            return [tuple(row.values()) for row in found.fetchall()] if found.description else []

        return await self.store.write(work)

    async def codes(self) -> list[str]:
        return [each.command.identity.event_code for each in await self.outbox.pending(HOME)]

    @asynccontextmanager
    async def handling(self) -> AsyncIterator[None]:
        """Handle requests, for ten seconds at most."""
        task = asyncio.create_task(self.handler.run())
        try:
            async with asyncio.timeout(10):
                yield
        finally:
            task.cancel()
            await asyncio.wait([task])


@asynccontextmanager
async def _shard(url: Secret) -> AsyncIterator[Shard]:
    async with await PostgresStore.open(url, lease_s=LEASE_S, node="a") as store:
        yield Shard(store)


def test_all_requests_that_wait_are_handled_at_once(url: Secret, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a burst of alarms that came while the shard had no owner: each page had waited for two seconds."""
    monkeypatch.setattr("bridge.app.requests._LOOK_S", 60.0)
    codes = [f"{number:03}" for number in range(250)]

    async def scenario() -> None:
        async with _shard(url) as shard:
            await shard.put(*codes)
            async with shard.handling():
                while await shard.codes() != codes:  # noqa: ASYNC110 - the database is asked anew
                    await asyncio.sleep(0.05)
            assert await shard.sql("SELECT id FROM request") == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "content",
    [{}, [], "text", {"transmitter": HOME, "request": "new"}, {"body": json.dumps({"alarm": {"new_field": 1}})}],
)
def test_a_command_that_cannot_be_read_is_kept_for_a_version_that_can(
    url: Secret, caplog: pytest.LogCaptureFixture, content: object
) -> None:
    """An alarm of a panel, accepted by a node of another version; what came after it goes on."""
    put = "INSERT INTO request (shard, kind, content, at) VALUES (0, 'send', ?, now() - interval '1 day') RETURNING id"

    async def scenario() -> None:
        async with _shard(url) as shard:
            [[number]] = await shard.sql(put, json.dumps(content))
            await shard.put("FA")
            await shard.sql("INSERT INTO request (shard, kind, content) VALUES (0, 'move', '{\"node\": \"b\"}')")
            async with shard.handling():
                while not await shard.sql("SELECT id FROM request WHERE answer IS NOT NULL"):  # noqa: ASYNC110 - the database is asked anew
                    await asyncio.sleep(0.02)
            assert await shard.codes() == ["FA"]
            assert await shard.sql("SELECT id FROM request WHERE answer IS NULL") == [(number,)]
            assert f"request {number}: this version cannot read it, and it is not sent" in caplog.text

    asyncio.run(scenario())


@pytest.mark.parametrize("withdrawn", [False, True])
def test_a_test_alarm_is_queued_and_answered_at_once_or_not_at_all(url: Secret, *, withdrawn: bool) -> None:
    """A shard that is lost in between would send it twice; a withdrawn request must do nothing."""
    ask = "INSERT INTO request (shard, kind, content) VALUES (0, 'test', ?) RETURNING id"
    content = json.dumps({"transmitter": HOME, "event_code": "BA"})

    async def scenario() -> None:
        async with _shard(url) as shard:
            [[number]] = await shard.sql(ask, content)
            [asked] = await shard.handler._requests.open()
            if withdrawn:
                await shard.sql("DELETE FROM request WHERE id = ?", number)
            for _ in range(2):
                await shard.handler._test(asked)
            found = [each.id for each in await shard.outbox.pending(HOME)]
            assert len(found) == (0 if withdrawn else 1)
            answers = await shard.sql("SELECT answer FROM request")
            assert [json.loads(answer) for [answer] in answers] == [{"number": each} for each in found]

    asyncio.run(scenario())


def test_a_test_alarm_that_cannot_be_sent_is_answered_and_ends_nothing(url: Secret) -> None:
    """The request would end each node that takes the shard."""
    content = json.dumps({"transmitter": HOME, "event_code": "B\nA"})

    async def scenario() -> None:
        async with _shard(url) as shard:
            await shard.sql("INSERT INTO request (shard, kind, content) VALUES (0, 'test', ?)", content)
            async with shard.handling():
                while not (answers := await shard.sql("SELECT answer FROM request WHERE answer IS NOT NULL")):  # noqa: ASYNC110 - asked anew
                    await asyncio.sleep(0.02)
            assert json.loads(answers[0][0])["error"].startswith("event_code: ")

    asyncio.run(scenario())
