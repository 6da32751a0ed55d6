"""The nodes of a cluster, as their database knows them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from support.postgres import PostgresServer

from bridge.common.errors import BridgeError, BusyError, ConfigError, StoreError
from bridge.common.models import Secret
from bridge.store.postgres.asking import ask, forget, look
from bridge.store.postgres.database import PostgresStore
from bridge.store.postgres.nodes import Membership
from bridge.store.postgres.owner import PROOF
from bridge.store.postgres.requests import Requests
from bridge.store.postgres.status import survey

LEASE_S = 4.0


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[Secret]:
    yield Secret(postgres.create("nodes"))
    postgres.drop("nodes")


def _join(url: Secret, name: str, shards: int = 1) -> Awaitable[Membership]:
    return Membership.join(url, name, "1", "digest", shards, shards)


def _run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await scenario()

    asyncio.run(bounded())


def test_nodes_see_each_other_and_who_owns_what(url: Secret) -> None:
    async def scenario() -> None:
        a, b = await _join(url, "a"), await _join(url, "b")
        async with await PostgresStore.open(url, lease_s=LEASE_S, node="a") as store:
            await store.write(lambda db: db.execute(PROOF, (0, "a")))
            await a.look(broker=True)
            found = await b.look(broker=False)
            assert [(each.name, each.alive, each.broker) for each in found.nodes] == [
                ("a", True, True), ("b", True, False),
            ]  # fmt: skip
            assert {shard: owner.node for shard, owner in found.owners.items()} == {0: "a"}
            assert found.stuck_s == 0
        assert (await b.look(broker=True)).owners == {}
        await a.leave()
        assert [each.name for each in (await b.look(broker=True)).nodes if each.alive] == ["b"]
        await b.close()

    _run(scenario)


def test_a_name_is_one_process_until_that_ends(url: Secret) -> None:
    async def scenario() -> None:
        first = await _join(url, "a")
        with pytest.raises(BusyError, match="give each its own"):
            await _join(url, "a")
        await first.leave()
        await (await _join(url, "a")).leave()

    _run(scenario)


def test_the_number_of_shards_stays(url: Secret) -> None:
    async def scenario() -> None:
        await (await _join(url, "a", 3)).close()
        with pytest.raises(ConfigError, match=r"store\.shards is 1, but this database has 3 shards; use that number"):
            await _join(url, "b", 1)
        assert (await look(url))[0] == 3

    _run(scenario)


def test_a_node_is_notified(url: Secret) -> None:
    async def scenario() -> None:
        a, b = await _join(url, "a"), await _join(url, "b")
        waiting = asyncio.create_task(b.news(20))
        await a.notify("released 0")
        assert await waiting == ["released 0"]
        assert await b.news(0.05) == []
        for each in (a, b):
            await each.close()

    _run(scenario)


def test_only_a_node_that_does_not_run_is_forgotten(url: Secret) -> None:
    async def scenario() -> None:
        a = await _join(url, "a")
        assert not await forget(url, "a")
        await a.leave()
        assert await forget(url, "a")
        assert not await forget(url, "a")

    _run(scenario)


def test_a_request_is_answered_by_the_owner(url: Secret) -> None:
    async def scenario() -> None:
        async with await PostgresStore.open(url, lease_s=LEASE_S, node="a") as store:
            requests = Requests(store, 0)

            async def serve() -> None:
                while True:
                    for each in await requests.open():
                        answer: dict[str, Any] = {"error": "too old"} if each.kind == "new" else {"got": each.content}
                        await requests.answer(each, answer)
                    await asyncio.sleep(0.02)

            serving = asyncio.create_task(serve())
            assert await ask(url, 0, "drop", {"number": 7}) == {"got": {"number": 7}}
            with pytest.raises(StoreError, match="too old"):
                await ask(url, 0, "new", {})
            serving.cancel()
            await asyncio.wait([serving])
            assert await requests.open() == []

    _run(scenario)


@pytest.mark.parametrize("action", [look, lambda url: asyncio.to_thread(survey, url), lambda url: _join(url, "a")])
def test_an_error_has_no_password(action: Callable[[Secret], Awaitable[object]]) -> None:
    async def scenario() -> None:
        for text in ("postgresql://me:secretword@127.0.0.1:1/x", "postgresql://me:secretword@[/x"):
            with pytest.raises(BridgeError) as raised:
                await action(Secret(text))
            assert "secretword" not in str(raised.value)

    _run(scenario)


def test_survey(url: Secret) -> None:
    found = survey(url)
    assert (found.is_used, found.faults) == (False, [])
    assert found.warnings == [
        "synchronous_standby_names is empty: what was acknowledged last is lost with the server's machine"
    ]
