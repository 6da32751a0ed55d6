"""`sosbridge cluster` and `sosbridge check` beside the database of a cluster whose nodes are simulated."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from support.commands import Output
from support.config import HOME
from support.outbox import command
from support.postgres import PostgresServer

from bridge.cli import call
from bridge.common.models import Secret
from bridge.config.shards import shard_of
from bridge.store.outbox import Outbox
from bridge.store.postgres.database import PostgresStore
from bridge.store.postgres.nodes import Membership
from bridge.store.postgres.requests import OtherShards
from bridge.store.records import LineStatus

SHARDS = 3
NAMES = ["cabin", "home", "hut", "shed"]


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[Secret]:
    yield Secret(postgres.create("cluster"))
    postgres.drop("cluster")


@pytest.fixture(autouse=True)
def _config(tmp_path: Path, url: Secret, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sosbridge.toml"
    head = '[mqtt]\nhost = "127.0.0.1"\nport = 9\n[node]\nname = "a"\n'
    store = f'[store]\npath = "{tmp_path}/store.db"\nurl = "{url.reveal()}"\nshards = {SHARDS}\n'
    homes = (HOME.replace('"home"', f'"{name}"').replace("IK1", f"IK-{name}") for name in NAMES)
    path.write_text("".join([head, store, *homes]), "utf-8")
    monkeypatch.setenv("SOSBRIDGE_CONFIG", str(path))


@asynccontextmanager
async def running(url: Secret) -> AsyncIterator[None]:
    """Node a owns the shards 0 and 1, b none; c is full, d has no broker, e has stopped."""
    async with AsyncExitStack() as stack:
        nodes = {}
        for name, most in (("a", SHARDS), ("b", SHARDS), ("c", 0), ("d", SHARDS), ("e", SHARDS)):
            nodes[name] = node = await Membership.join(url, name, "1", "digest", SHARDS, most)
            stack.push_async_callback(node.close)
            await node.look(broker=name != "d")
        await nodes["e"].leave()
        for shard in (0, 1):
            await stack.enter_async_context(await PostgresStore.open(url, shard, node="a"))
        yield


@pytest.mark.parametrize(
    ("shard", "node", "status", "reason"),
    [
        ("99", "b", 2, "SHARD: 99: there are shards 0 to 2"),
        ("1", "x", 1, "shard 1 was not moved: unknown node x; known: a, b, c, d, e"),
        ("1", "a", 1, "shard 1 was not moved: node a owns it already"),
        ("2", "b", 1, "shard 2 was not moved: no node owns it; start a node"),
        ("1", "c", 1, "shard 1 was not moved: node c takes no more than 0 shards; raise its node.shards, or move one"),
        ("1", "d", 1, "shard 1 was not moved: node d does not reach the broker"),
        ("1", "e", 1, "shard 1 was not moved: node e does not run; start it"),
    ],
)
def test_why_a_shard_cannot_be_moved_is_said_at_once(
    url: Secret, capsys: Output, shard: str, node: str, status: int, reason: str
) -> None:
    async def scenario() -> None:
        async with running(url), asyncio.timeout(5):
            assert await asyncio.to_thread(call, ["cluster", "move", shard, node]) == status

    asyncio.run(scenario())
    assert capsys.readouterr().err.startswith(f"sosbridge: {reason}")


def test_a_database_without_a_node_has_no_shards(url: Secret, capsys: Output) -> None:
    async def scenario() -> None:
        await (await PostgresStore.open(url)).close()

    asyncio.run(scenario())
    assert call(["cluster", "move", "0", "a"]) == 2
    assert "SHARD: 0: no node has used this database yet" in capsys.readouterr().err


def test_alarms_of_panels_that_wait_for_an_owner_are_counted(url: Secret, capsys: Output) -> None:
    """Those of an owned shard are about to be sent; nobody sends those of shard 2."""
    alarms = [("shed", 2), ("shed", 2), ("home", 1)]

    async def scenario() -> None:
        async with running(url), await PostgresStore.open(url, 7) as store:
            others = OtherShards(dict(alarms))
            for name, _ in alarms:
                await store.write(lambda db, name=name: others.put(db, command(transmitter=name)))  # type: ignore[misc]
            for words in (["cluster", "status", "--json"], ["check", "--json"]):
                await asyncio.to_thread(call, words)
                found.append(json.loads(capsys.readouterr().out))

    found: list[list[dict[str, str]]] = []
    asyncio.run(scenario())
    status, check = found
    shards = [(row["works"], row["details"].partition("; alarms")[2]) for row in status if row["what"] == "shard"]
    words = " of panels that wait for its owner: "
    assert shards == [("ok", ""), ("ok", f"{words}1"), ("failed", f"{words}2")]
    assert [(row["works"], row["details"]) for row in check if "of panels that wait" in row["details"]] == [
        ("warning", f"shard 1: alarms{words}1"), ("failed", f"shard 2: alarms{words}2"),
    ]  # fmt: skip


def test_check_asks_each_shard_for_its_own_transmitters(url: Secret, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of each would be thousands of reads."""
    asked: list[tuple[str, str]] = []
    status = Outbox.status

    async def noted(self: Outbox, transmitter: str) -> LineStatus:
        [row] = await self._store.read(lambda db: db.execute("SELECT current_schema() AS shard").fetchall())
        asked.append((row["shard"], transmitter))
        return await status(self, transmitter)

    async def scenario() -> None:
        for shard in range(SHARDS):
            await (await PostgresStore.open(url, shard)).close()

    asyncio.run(scenario())
    monkeypatch.setattr(Outbox, "status", noted)
    call(["check"])
    assert sorted(name for _, name in asked) == NAMES
    assert {(f"sosbridge_{shard_of(name, SHARDS)}", name) for name in NAMES} == set(asked)
