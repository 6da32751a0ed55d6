"""One owner, one node that stands by: whatever becomes of the owner, the other goes on with what was acknowledged."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from typing import Any

from support.brokers import Proxy
from support.harness import live
from support.nodes import Nodes
from support.processes import Bridge

from bridge.sos_access.simulator.receiver import Fault


async def _pair(site: Nodes) -> tuple[Bridge, Bridge]:
    """Start an owner and a node that stands by, and wait until nothing is left to check."""
    first = await site.owner("a")
    second = await site.standby("b")
    await site.checked()
    return first, second


async def _pending(site: Nodes, reference: str) -> None:
    """Raise an alarm that no receiver takes, and wait until it is stored."""
    for station in (site.primary, site.secondary):
        station.faults.add(Fault(drop=True))
    await site.send("alarm/raise", {"event_code": "BA", "reference": reference})
    await site.mqtt.holds("transmitter/home/outbox", lambda outbox: outbox["pending"] == 1)


async def _delivered(site: Nodes, *references: str) -> None:
    """Let the receivers answer, and wait for one accepted result of each."""
    for station in (site.primary, site.secondary):
        station.faults.clear()
    for reference in references:
        found = await site.result(_of(reference))
        assert found["outcome"] in ("accepted", "duplicate")
    assert sorted(each.reference for each in site.received()) == sorted(references)


def _of(reference: str) -> Callable[[Any], bool]:
    return lambda value: bool(value.get("reference") == reference)


def _states(site: Nodes, mark: int) -> list[str]:
    return [each.payload for each in site.mqtt.of("bridge/state", mark)]


@live
async def test_a_killed_owner(site: Nodes) -> None:
    """What was pending goes out, what is published meanwhile as well; nothing turns unavailable."""
    first, _ = await _pair(site)
    await _pending(site, "before")
    mark = site.mqtt.mark
    first.kill()
    await site.send("alarm/raise", {"event_code": "FA", "reference": "meanwhile"})
    await _delivered(site, "before", "meanwhile")
    await site.mqtt.wait("bridge/state", after=mark)
    assert _states(site, mark) == ["online"]
    assert (await site.do("alarm/raise", "CA"))["outcome"] == "accepted"


@live
async def test_the_owner_of_another_machine(site: Nodes) -> None:
    """Its boot is not an earlier one of ours: what it took just now is not as old as our machine runs."""
    site.home["max_age"] = "1m"
    first, _ = await _pair(site)
    await _pending(site, "before")
    site.sql("UPDATE sosbridge_0.command SET boot = 'of another machine', steady = 5 RETURNING id")
    first.kill()
    await _delivered(site, "before")


@live
async def test_a_paused_owner(site: Nodes) -> None:
    """The database ends its session. Resumed, it writes and sends nothing, and stands by."""
    first, second = await _pair(site)
    await _pending(site, "before")
    assert first.process is not None
    mark, log = site.mqtt.mark, len(second.log)
    first.process.send_signal(signal.SIGSTOP)
    await site.send("alarm/raise", {"event_code": "FA", "reference": "meanwhile"})
    await second.logs("node b owns shard 0", after=log)
    await _delivered(site, "before", "meanwhile")
    await site.mqtt.wait("bridge/state", after=mark)
    before = site.sql("SELECT id, command_id, result FROM sosbridge_0.history ORDER BY id")
    resumed, log = site.mqtt.mark, len(first.log)
    first.process.send_signal(signal.SIGCONT)
    await first.logs("node a stands by: shard 0 is lost", after=log)
    assert (await site.do("alarm/raise", {"event_code": "CA", "reference": "after"}))["outcome"] == "accepted"
    *earlier, last = [each.reference for each in site.received()]
    assert (sorted(earlier), last) == (["before", "meanwhile"], "after"), "one that failed already may be overtaken"
    after = site.sql("SELECT id, command_id, result FROM sosbridge_0.history ORDER BY id")
    assert (after[:-1], len(after)) == (before, len(before) + 1), "the old owner wrote"
    assert site.sessions("a") == []
    assert _states(site, resumed) == []
    assert (await first.command("healthcheck")).stdout.splitlines()[-1] == "healthy, standby"


@live
async def test_an_owner_that_is_stopped_hands_over(site: Nodes) -> None:
    """SIGTERM: the other node goes on within a second or two, and nothing says `offline`."""
    first, second = await _pair(site)
    await _pending(site, "before")
    mark, began = site.mqtt.mark, time.monotonic()
    assert await first.stop(5) == 0
    await site.send("alarm/raise", {"event_code": "FA", "reference": "meanwhile"})
    await site.mqtt.wait("bridge/state", lambda value: value == "online", after=mark)
    assert time.monotonic() - began < 5 + 2
    await _delivered(site, "before", "meanwhile")
    assert _states(site, mark) == ["online"]
    mark = site.mqtt.mark
    assert await second.stop(5) == 0  # the last one
    await site.mqtt.wait("bridge/state", lambda value: value == "offline", after=mark)
    assert (await site.retained())["bridge/state"] == "offline"


@live
async def test_a_stream_of_alarms_over_three_take_overs(site: Nodes) -> None:
    """Every alarm that the broker took arrives, once."""
    await _pair(site)
    sent: list[str] = []
    enough = False

    async def stream() -> None:
        while not enough:
            sent.append(f"r{len(sent)}")
            await site.send("alarm/raise", {"event_code": "BA", "reference": sent[-1]})
            await asyncio.sleep(0.02)

    streaming = asyncio.create_task(stream())
    for name in ("a", "b", "a"):
        await asyncio.sleep(1)
        mark = site.mqtt.mark
        site.nodes[name].kill()
        await site.mqtt.wait("bridge/state", lambda value: value == "online", after=mark)
        site.launch_node(name)
        await site.reaches_broker(name)
    enough = True
    await streaming
    for reference in sent:
        await site.result(_of(reference))
    assert {each.reference for each in site.received()} == set(sent)


@live
async def test_an_owner_without_broker_gives_the_shard_up(site: Nodes) -> None:
    """It keeps away from it while another node reaches the broker."""
    proxy = await site.stack.enter_async_context(Proxy(site.broker.port))
    site.ports["a"] = proxy.port
    first, second = await _pair(site)
    await _pending(site, "before")
    log = len(second.log)
    await proxy.cut()
    await second.logs("node b owns shard 0", after=log)
    assert "is given up: the broker does not answer this node, but b" in first.log
    await _delivered(site, "before")
    assert site.sessions("a") == []


@live
async def test_the_database_restarts(site: Nodes) -> None:
    """One of the nodes owns the shard again, and nothing is lost."""
    first, second = await _pair(site)
    await _pending(site, "before")
    mark = site.mqtt.mark
    site.server.stop("QUIT")
    await site.send("alarm/raise", {"event_code": "FA", "reference": "meanwhile"})
    await first.logs("node a stands by")
    await second.logs("nothing listens there; start it")
    assert "store_failed" in (await second.command("healthcheck")).stdout
    site.server.start()
    await _delivered(site, "before", "meanwhile")
    await site.mqtt.wait("bridge/state", after=mark)
    assert _states(site, mark) == ["online"]


@live
async def test_two_processes_are_not_one_node(site: Nodes) -> None:
    await site.owner("a")
    again = Bridge(site.folder / "again.toml", site.folder / "again.log")
    again.config.write_text(site.nodes["a"].config.read_text().replace("a.db", "again.db"))
    done = await again.command("run")
    assert done.returncode == 3
    assert "another process is the node a; give each its own node.name" in done.stderr


@live
async def test_another_number_of_shards_is_refused(site: Nodes) -> None:
    await site.owner("a")
    site.settings["store"]["shards"] = 2
    other = site.launch_node("b")
    assert await other.ends() == 2
    assert "store.shards is 2, but this database has 1 shards" in other.log
