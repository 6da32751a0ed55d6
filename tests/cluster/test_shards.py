"""Two shards: each has an owner, a client id, a state and topics of its own; panels raise alarms for both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.brokers import Mosquitto, free_port
from support.harness import live
from support.house import FIRE, GUID, SENSORS, SMOKE, Simulated, living
from support.nodes import Nodes
from support.postgres import PostgresServer

from bridge.config.shards import shard_of

HOME, SHED = "home", "shed"


@pytest.fixture
def site(shared_broker: Mosquitto, postgres: PostgresServer, tmp_path: Path, base: str) -> Iterator[Nodes]:
    assert (shard_of(HOME, 2), shard_of(SHED, 2)) == (0, 1)
    postgres.create(base)
    yield _Two(shared_broker, postgres, base, tmp_path, base)
    postgres.drop(base)


class _Two(Nodes):
    """`home` is in shard 0, `shed` in shard 1; each node takes one shard."""

    most = 1

    def node_settings(self, name: str) -> dict[str, object]:
        found = super().node_settings(name)
        return found | {
            "store": found["store"] | {"shards": 2}, "node": {"name": name, "shards": self.most},
            "transmitters": [*found["transmitters"], self.transmitter(SHED, "IK00002")],
        }  # fmt: skip

    async def both(self) -> None:
        """Start two nodes, of which each owns one shard."""
        self.accounts.accept_unknown = True
        await self.listen()
        self.launch_node("a")
        self.launch_node("b")
        for topic in ("bridge/state", "shard/1/state"):
            await self.mqtt.wait(topic, lambda value: value == "online")

    def owners(self) -> dict[int, str]:
        rows = self.sql("SELECT shard, node FROM sosbridge.shard ORDER BY shard")
        return {row["shard"]: row["node"] for row in rows}


@live
async def test_each_shard_has_its_owner(site: _Two) -> None:
    await site.both()
    assert sorted(site.owners().values()) == ["a", "b"]
    for name in (HOME, SHED):
        await site.mqtt.publish(f"transmitter/{name}/alarm/raise", json.dumps({"event_code": "BA", "reference": name}))
        found = await site.mqtt.wait(f"transmitter/{name}/alarm/response")
        assert (found.value["outcome"], found.value["reference"]) == ("accepted", name)
    assert sorted(each.reference for each in site.received()) == [HOME, SHED]
    await site.mqtt.publish("transmitter/nobody/alarm/raise", "BA")
    await site.event("command_rejected")
    assert len(site.mqtt.of("bridge/event")) == 1, "of two owners one answers"
    retained = await site.retained()
    assert {"transmitter/home/outbox", "transmitter/shed/outbox"} <= retained.keys(), "neither clears the other's"


@live
async def test_a_shard_is_taken_by_a_node_that_has_room(site: _Two) -> None:
    await site.both()
    site.most = 2
    site.launch_node("c")
    await site.reaches_broker("c")
    lost = site.owners()
    mark = site.mqtt.mark
    site.nodes["a"].kill()
    site.nodes["b"].kill()
    for topic in ("bridge/state", "shard/1/state"):
        await site.mqtt.wait(topic, lambda value: value == "online", after=mark)
    assert (sorted(lost.values()), set(site.owners().values())) == (["a", "b"], {"c"})
    assert "offline" not in [
        each.payload for topic in ("bridge/state", "shard/1/state") for each in site.mqtt.of(topic)
    ]


@live
async def test_a_shard_is_moved(site: _Two) -> None:
    site.most = 2
    site.accounts.accept_unknown = True
    await site.listen()
    first = site.launch_node("a")
    for topic in ("bridge/state", "shard/1/state"):
        await site.mqtt.wait(topic, lambda value: value == "online")
    site.launch_node("b")
    await site.reaches_broker("b")
    moved = await first.command("cluster", "move", "1", "b")
    assert (moved.returncode, moved.stdout) == (0, "shard 1 is given to node b\n"), moved.stderr
    await site.until(lambda: site.owners() == {0: "a", 1: "b"})
    refused = await first.command("cluster", "move", "1", "nobody")
    assert (refused.returncode, "unknown node nobody; known: a, b" in refused.stderr) == (1, True)


@live
async def test_a_shard_is_not_moved_to_a_node_that_takes_no_more(site: _Two) -> None:
    await site.both()
    owners = site.owners()
    mark = site.mqtt.mark
    refused = await site.nodes["a"].command("cluster", "move", "1", owners[0])
    assert refused.returncode == 1
    assert f"node {owners[0]} takes no more than 1 shard" in refused.stderr
    status = await site.nodes["a"].command("cluster", "status")
    assert status.stdout.count("takes no more") == 2
    assert site.owners() == owners
    assert site.mqtt.of("shard/1/state", after=mark) == [], "it was never interrupted"


@live
async def test_a_panel_raises_an_alarm_for_another_shard(site: _Two) -> None:
    """A request row, which its owner sends, once."""
    port = free_port()
    site.settings["g90"] = {"listen": f"127.0.0.1:{port}", "panels": [{"guid": GUID, "name": "House"}]}
    site.settings["forward"] = [FIRE | {"transmitter": SHED}]
    await site.both()
    panel = Simulated(GUID, cloud=("127.0.0.1", port), sensors=SENSORS)
    async with living(panel):
        await site.mqtt.wait(f"panel/{GUID}/availability", lambda value: value == "online")
        await panel.alarm(SMOKE)
        found = await site.mqtt.wait(f"transmitter/{SHED}/alarm/response")
    assert (found.value["outcome"], found.value["event_code"]) == ("accepted", "FA")
    assert len(site.received()) == 1
    assert site.sql("SELECT id FROM sosbridge.request") == []


@live
async def test_commands_find_the_shard(site: _Two) -> None:
    await site.both()
    for station in (site.primary, site.secondary):
        station.accounts.accept_unknown = True
    await site.primary.stop()
    await site.secondary.stop()
    for name in (HOME, SHED):
        await site.mqtt.publish(f"transmitter/{name}/alarm/raise", "BA")
        await site.mqtt.wait(f"transmitter/{name}/undelivered")
    node = site.nodes["a"]
    rows = [line.split("\t") for line in (await node.command("outbox", "list")).stdout.splitlines()]
    assert [row[1] for row in rows] == [HOME, SHED]
    assert int(rows[1][0]) > 10**12
    for row in rows:
        assert (await node.command("outbox", "drop", row[0])).returncode == 0
        await site.mqtt.wait(f"transmitter/{row[1]}/alarm/response", lambda value: value["outcome"] == "rejected")
    assert (await node.command("outbox", "list")).stdout == ""
