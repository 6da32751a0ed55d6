"""A new transmitter comes to one node after the other: no command for it is lost, none is sent twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.brokers import Mosquitto
from support.harness import live
from support.nodes import Nodes
from support.postgres import PostgresServer

from bridge.config.shards import shard_of

HOME, SHED, CABIN = "home", "shed", "cabin"
OLD, NEW = "old", "new"
"""The nodes: the first does not know the cabin."""


@pytest.fixture
def site(shared_broker: Mosquitto, postgres: PostgresServer, tmp_path: Path, base: str) -> Iterator[Nodes]:
    assert [shard_of(name, 2) for name in (HOME, SHED, CABIN)] == [0, 1, 1]
    postgres.create(base)
    yield _Rollout(shared_broker, postgres, base, tmp_path, base)
    postgres.drop(base)


class _Rollout(Nodes):
    def node_settings(self, name: str) -> dict[str, object]:
        found = super().node_settings(name)
        transmitters = [*found["transmitters"], self.transmitter(SHED, "IK00002")]
        if name == NEW:
            smoke = [{"key": "smoke", "name": "Smoke", "event_code": "FA"}]
            transmitters.append(self.transmitter(CABIN, "IK00003") | {"alarms": smoke})
        return found | {
            "store": found["store"] | {"shards": 2}, "node": {"name": name, "shards": 2}, "transmitters": transmitters
        }  # fmt: skip

    async def both(self, *, first: str, second: str) -> None:
        """Start two nodes, of which the first owns both shards."""
        self.accounts.accept_unknown = True
        await self.listen()
        self.launch_node(first)
        for topic in ("bridge/state", "shard/1/state"):
            await self.mqtt.wait(topic, lambda value: value == "online")
        self.launch_node(second)
        await self.reaches_broker(second)

    async def move(self, shard: int, to: str) -> None:
        topic, mark = ("shard/1/state" if shard else "bridge/state"), self.mqtt.mark
        moved = await self.nodes[to].command("cluster", "move", str(shard), to)
        assert moved.returncode == 0, moved.stderr
        await self.mqtt.wait(topic, lambda value: value == "online", after=mark)

    async def raised(self, reference: str) -> None:
        await self.mqtt.publish(
            f"transmitter/{CABIN}/alarm/raise", json.dumps({"event_code": "BA", "reference": reference})
        )

    async def delivered(self, reference: str) -> None:
        def is_ours(value: dict[str, object]) -> bool:
            return (value.get("reference"), value["outcome"]) == (reference, "accepted")

        await self.mqtt.wait(f"transmitter/{CABIN}/alarm/response", is_ours)

    async def waits(self, commands: int) -> None:
        sql = "SELECT 1 FROM sosbridge_1.command WHERE transmitter = %s"
        await self.until(lambda: len(self.sql(sql, CABIN)) == commands)

    async def nothing_was_rejected(self) -> None:
        await self.mqtt.publish("transmitter/nobody/alarm/raise", "BA")
        event = await self.event("command_rejected")
        assert "nobody" in event.value["topic"]
        assert len([each for each in self.mqtt.of("bridge/event") if each.value["type"] == "command_rejected"]) == 1


@live
async def test_shard_0_keeps_a_command_for_the_owner_that_will_know_the_transmitter(site: _Rollout) -> None:
    await site.both(first=OLD, second=NEW)
    await site.move(0, NEW)
    await site.raised("r1")
    await site.mqtt.publish(f"transmitter/{CABIN}/alarm/smoke/set", "ON")
    await site.waits(2)
    assert site.received() == []
    await site.move(1, NEW)
    await site.delivered("r1")
    await site.mqtt.wait(f"transmitter/{CABIN}/alarm/smoke/state", lambda value: value == "ON")
    await site.raised("r2")  # its owner gets this one itself; the nodes still differ
    await site.delivered("r2")
    await site.nothing_was_rejected()
    assert [(each.event_code, each.reference) for each in site.received() if each.event_code == "BA"] == [
        ("BA", "r1"), ("BA", "r2"),
    ]  # fmt: skip
    assert len(site.received()) == 3


@live
async def test_the_owner_that_knows_the_transmitter_takes_its_commands_alone(site: _Rollout) -> None:
    await site.both(first=NEW, second=OLD)
    await site.raised("r1")
    await site.delivered("r1")
    await site.move(0, OLD)
    await site.raised("r2")
    await site.delivered("r2")
    await site.move(1, OLD)  # the broker still sends it the commands that the node before subscribed to
    await site.raised("r3")
    await site.waits(1)
    await site.move(1, NEW)
    await site.delivered("r3")
    await site.nothing_was_rejected()
    assert [each.reference for each in site.received()] == ["r1", "r2", "r3"]
