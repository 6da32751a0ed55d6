"""When a node may send, and when it gives its shard up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from support import virtual

from bridge.app.ownership import Ownership
from bridge.common.errors import LostError
from bridge.common.loop import now
from bridge.mqtt.session import SessionEnd
from bridge.store.postgres.nodes import Cluster, Member
from bridge.store.postgres.owner import boot_clock, permits

SEEN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
B = Member("b", "1", "d", SEEN, SEEN, age_s=0.2, stopped=False, broker=True, shards=1)


class _Store(SimpleNamespace):
    """A store that commits whenever it is asked."""

    def __init__(self) -> None:
        super().__init__(lost=asyncio.Event(), failure=None, writes=0)

    @property
    def last_commit(self) -> float:
        return boot_clock()

    async def write(self, _: Any) -> None:  # noqa: ANN401 - any job
        self.writes += 1


def _owned(successors: Sequence[Member], store: _Store | None = None) -> Ownership:
    cluster = Cluster(tuple(successors), {})
    return Ownership(store or _Store(), "a", 0, 5.0, lambda: cluster, lambda: True)  # type: ignore[arg-type]


@pytest.mark.parametrize(("age_s", "permitted"), [(0.0, True), (3.9, True), (4.0, False), (20.0, False)])
def test_only_a_young_commit_permits_an_exchange(age_s: float, permitted: bool) -> None:  # noqa: FBT001
    assert permits(100.0, 5.0, 100.0 + age_s) is permitted


@pytest.mark.parametrize(("successors", "apart_s", "given_up"), [([B], 5, True), ([B], 31, False), ([], 5, False)])
def test_a_client_id_that_two_use(successors: list[Member], apart_s: float, given_up: bool) -> None:  # noqa: FBT001
    """Where another node could take over, it is given up; else both go on in turns, as two bridges do."""

    async def scenario() -> None:
        ownership = _owned(successors)
        ownership.thrown_out()
        assert not ownership.stop.is_set()
        await asyncio.sleep(apart_s)
        ownership.thrown_out()
        assert ownership.stop.is_set() is given_up
        assert ownership.released is given_up

    virtual.run(scenario())


@pytest.mark.parametrize("broker", [True, False, None])
def test_a_broker_that_is_away_for_all_is_waited_for(broker: bool | None) -> None:  # noqa: FBT001
    async def scenario() -> None:
        successor = Member("b", "1", "d", SEEN, SEEN, age_s=0.2, stopped=False, broker=broker, shards=1)
        ownership = _owned([successor])
        begun = now()
        task = asyncio.create_task(ownership.run(lambda: now() - begun))
        await asyncio.sleep(4)
        assert not ownership.stop.is_set()
        await asyncio.sleep(26)
        assert ownership.stop.is_set() is (broker is True)
        task.cancel()
        await asyncio.wait([task])

    virtual.run(scenario())


def test_a_shard_is_released_once_the_broker_has_been_silent_for_five_seconds() -> None:
    """Not with the next look after that."""

    async def scenario() -> None:
        ownership = _owned([B])
        begun = now()
        task = asyncio.create_task(ownership.run(lambda: max(0.0, now() - begun - 10.3)))
        async with asyncio.timeout(20):
            await ownership.stop.wait()
        assert now() - begun == pytest.approx(15.3, abs=0.05)
        task.cancel()
        await asyncio.wait([task])

    virtual.run(scenario())


def test_a_lost_session_ends_it_at_once() -> None:
    async def scenario() -> None:
        store = _Store()
        ownership = _owned([B], store)
        task = asyncio.create_task(ownership.run(lambda: 0.0))
        proving = asyncio.create_task(ownership.prove_regularly())
        await asyncio.sleep(3.5)
        assert store.writes == 4, "each second proves it"
        endings = [ownership.ending]
        store.lost.set()
        endings.append(ownership.ending)
        assert endings == [SessionEnd.HAND_OVER, SessionEnd.LOST]
        assert not ownership.permit()
        with pytest.raises(ExceptionGroup) as raised:
            await task
        assert isinstance(raised.value.exceptions[0], LostError)
        await proving
        assert store.writes == 4, "there is nothing to prove"

    virtual.run(scenario())


def test_a_node_alone_says_offline() -> None:
    async def scenario() -> None:
        assert _owned([]).ending is SessionEnd.OFFLINE

    asyncio.run(scenario())
