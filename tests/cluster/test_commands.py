"""The command line beside a cluster: it reads the database, and asks the owner for changes."""

from __future__ import annotations

import pytest
from support.harness import live
from support.nodes import Nodes
from support.processes import Bridge

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
