"""The command line beside a cluster: it reads the database, and asks the owner for changes."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request

import pytest
from support.brokers import free_port
from support.harness import PASSWORD, live
from support.nodes import Nodes
from support.processes import Bridge, environment
from support.service_manager import Listener

from bridge.sos_access.simulator.receiver import Fault


@live
async def test_outbox(site: Nodes) -> None:
    """What is dropped is not sent; what is retried is."""
    await site.owner("a")
    standby = await site.standby("b")
    await site.checked()
    for station in (site.primary, site.secondary):
        station.faults.add(Fault(status=2), 2)
    for reference in ("first", "second"):
        await site.send("alarm/raise", {"event_code": "BA", "reference": reference, "section": reference[0]})
        await site.result(lambda value, wanted=reference: value.get("reference") == wanted)  # type: ignore[misc]
    listed = [line.split("\t") for line in (await standby.command("outbox", "list")).stdout.splitlines()]
    assert [row[5] for row in listed] == ["rejected", "rejected"]
    first, second = (row[0] for row in listed)
    done = await standby.command("outbox", "drop", first)
    assert (done.returncode, done.stdout) == (0, f"number {first} was dropped\n"), done.stderr
    done = await standby.command("outbox", "retry", second)
    assert (done.returncode, done.stdout) == (0, f"number {second} is queued again\n"), done.stderr
    mark = site.mqtt.mark
    await site.result(lambda value: value["outcome"] == "accepted", after=0 * mark)
    assert [each.reference for each in site.received()] == ["second"]
    for action in ("drop", "retry"):
        gone = await standby.command("outbox", action, first)
        assert (gone.returncode, f"no number {first} in the outbox" in gone.stderr) == (1, True)
    ended = [line.split("\t") for line in (await standby.command("history")).stdout.splitlines()]
    assert [row[5] for row in ended] == ["rejected", "rejected", "accepted"], ended


@live
async def test_a_test_alarm(site: Nodes) -> None:
    site.home["test_event_code"] = "TST"
    node = await site.owner("a")
    await site.checked()
    done = await node.command("test")
    assert (done.returncode, done.stdout.split(" after ")[0]) == (0, "accepted by the primary receiver"), done.stderr


@live
async def test_without_an_owner_nothing_is_changed(site: Nodes) -> None:
    node = await site.owner("a")
    site.home["test_event_code"] = "TST"
    await node.stop()
    done = await node.command("outbox", "drop", "1")
    assert done.returncode == 3
    assert "no node answers, and nothing was changed; see sosbridge cluster status" in done.stderr
    assert site.sql("SELECT id FROM sosbridge.request") == []


def _rows(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


@live
async def test_status(site: Nodes) -> None:
    first = await site.owner("a")
    site.home["max_age"] = "12h"
    second = await site.standby("b")
    found = await first.command("cluster", "status")
    rows = _rows(found.stdout)
    assert [row[:3] for row in rows] == [["shard", "0", "ok"], ["node", "a", "ok"], ["node", "b", "warning"]]
    assert rows[0][3].startswith("a since 20")
    assert rows[1][3].startswith("owns 0, version ")
    assert rows[2][3].endswith("its configuration differs from this one")
    assert found.returncode == 0
    await second.stop()
    rows = _rows((await first.command("cluster", "status")).stdout)
    assert rows[2][2] == "warning"
    assert rows[2][3].startswith("stopped since 20")
    running = await first.command("cluster", "forget", "a")
    assert (running.returncode, "node a runs, or is not known" in running.stderr) == (1, True)
    assert (await first.command("cluster", "forget", "b")).stdout == "node b was removed\n"
    await first.stop()
    left = await first.command("cluster", "status")
    assert left.returncode == 1
    assert _rows(left.stdout)[0] == ["shard", "0", "FAILED", "no node owns it: nothing is sent; start a node"]


@pytest.mark.parametrize("words", [("cluster", "status"), ("cluster", "forget", "b")])
@live
async def test_without_a_database_there_is_no_cluster(site: Nodes, words: tuple[str, ...]) -> None:
    alone = Bridge(site.folder / "alone.toml", site.folder / "alone.log")
    alone.config.write_text('[mqtt]\nhost = "127.0.0.1"\n')
    done = await alone.command(*words)
    assert (done.returncode, "store.url is missing" in done.stderr) == (2, True)


@live
async def test_check(site: Nodes) -> None:
    """It works beside the cluster, with the same rows on each node, and names what differs."""
    site.home["use_tls"] = False
    node = await site.owner("a")
    await site.checked()
    rows = {row[0]: row[1:] for row in _rows((await node.command("check")).stdout)}
    assert rows["database"][0] == "warning"
    assert "synchronous_standby_names is empty" in rows["database"][1]
    assert (rows["store"][0], "0 alarms waiting" in rows["store"][1]) == ("ok", True)
    assert rows["service"][0] == "ok"
    assert rows["home, password"] == ["ok", "the configured password"]
    site.home["max_age"] = "12h"
    other = await site.standby("b")
    rows = {row[0]: row[1:] for row in _rows((await other.command("check")).stdout)}
    assert rows["cluster"] == ["FAILED", "node a runs with another configuration; make them the same"]
    other.config.write_text(other.config.read_text().replace(site.database, "no_such"))
    found = await other.command("check")
    assert found.returncode == 1
    assert "there is no database no_such; create it" in found.stdout


@live
async def test_rotation(site: Nodes) -> None:
    """Beside the nodes it is refused; the next owner sends with the password that the one before got."""
    first = await site.owner("a")
    await site.standby("b")
    await site.checked()
    refused = await first.command("rotate")
    assert (refused.returncode, "transmitter/home/auth/rotate" in refused.stderr) == (3, True)
    assert (await site.do("auth/rotate"))["outcome"] == "accepted"
    mark = site.mqtt.mark
    first.kill()
    await site.mqtt.wait("bridge/state", after=mark)
    assert (await site.do("alarm/raise", "BA"))["outcome"] == "accepted"
    assert site.received()[-1].authentication.reveal() != PASSWORD
    assert (await first.command("ping")).returncode == 0


@live
async def test_page_and_metrics_of_a_node_that_stands_by(site: Nodes) -> None:
    await site.owner("a")
    port = free_port()
    site.settings["web"] = {"listen": f"127.0.0.1:{port}"}
    second = await site.standby("b")
    state = json.loads(await asyncio.to_thread(_get, port, "state"))
    assert (state["state"], state["transmitters"], state["connected"]) == ("standby", {}, False)
    assert await asyncio.to_thread(_get, port, "healthz") == "ok\n"
    assert 'sosbridge_shard_owned{shard="0"} 0.0' in await asyncio.to_thread(_get, port, "metrics")
    mark = site.mqtt.mark
    site.nodes["a"].kill()
    await site.mqtt.wait("bridge/state", after=mark)
    await second.logs("home")
    await second.logs("connected to broker")  # its `online` is heard a moment before it knows that it is connected
    state = json.loads(await asyncio.to_thread(_get, port, "state?since=0"))
    assert (state["state"], list(state["transmitters"]), state["connected"]) == ("owner of shard 0", ["home"], True)
    assert 'sosbridge_shard_owned{shard="0"} 1.0' in await asyncio.to_thread(_get, port, "metrics")


@live
async def test_the_service_manager_is_notified(site: Nodes) -> None:
    """A node that stands by has started."""
    listener = Listener(str(site.folder / "notify"))
    with listener.socket:
        await site.owner("a")
        second = site.nodes["b"] = Bridge(site.folder / "b.toml", site.folder / "b.log")
        second.variables |= listener.environment
        await site.standby("b")
        assert (await listener.until("READY"))[-2]["STATUS"] == "standby"
        assert await second.stop(5) == 0
        await listener.until("STOPPING")


def _get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def test_without_a_url_nothing_of_it_is_imported() -> None:
    """Neither the library nor the modules that use it: they cost memory and start."""
    program = (
        "import sys, bridge.app.service, bridge.cli.outbox, bridge.cli.check, bridge.cli.cluster, bridge.cli.test\n"
        "print([name for name in sys.modules if name.startswith('psycopg') or name.endswith('postgres.nodes')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment(), check=True
    )
    assert done.stdout == "[]\n"
