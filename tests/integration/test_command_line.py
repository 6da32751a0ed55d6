"""Commands beside the running service: what it says of itself, and what is left when it is removed."""

from __future__ import annotations

import json

from support.commands import documented
from support.harness import PASSWORD, Site, live
from support.recorder import connect, retained


@live
async def test_a_dump_has_the_counters_and_the_log_of_the_service(site: Site) -> None:
    await site.start()
    assert (await site.do("alarm/raise", "BA"))["outcome"] == "accepted"
    done = await site.bridge.command("dump", "dump.txt")
    assert (done.returncode, done.stderr) == (0, "")
    file = site.folder / "dump.txt"
    assert file.stat().st_mode & 0o777 == 0o600
    text = file.read_text()
    assert "\nalarms_delivered: 1\n" in text
    assert "\nhome: 0 pending, 0 rejected\n" in text
    log = text.partition("== log ==\n")[2].splitlines()
    assert len(log) > 5
    assert [line for line in log if line not in site.bridge.log.splitlines()] == []
    assert PASSWORD not in text


@live
async def test_each_json_is_one_document_with_the_documented_fields(site: Site) -> None:
    await site.start()
    await site.checked()
    check = await site.bridge.command("check", "--json")
    rows = json.loads(check.stdout)
    assert list(rows[0]) == documented("check")
    assert {row["works"] for row in rows} == {"ok", "warning"}
    await site.primary.stop()
    assert (await site.do("alarm/raise", "BA"))["receiver"] == "secondary"
    await site.mqtt.holds("transmitter/home/receiver/primary/state", lambda value: value == "OFF")
    health = await site.bridge.command("healthcheck", "--json", "--strict")
    found = json.loads(health.stdout)
    assert (list(found), health.returncode, health.stderr) == (documented("healthcheck"), 4, "")
    [problem] = found["problems"]
    assert (problem["kind"], problem["owner"], found["healthy"]) == ("receiver_down", "home", False)
    assert "failed" in {row["works"] for row in json.loads((await site.bridge.command("check", "--json")).stdout)}


@live
async def test_clear_removes_what_the_bridge_left(site: Site) -> None:
    others = f"homeassistant/device/of-another-program-{site.base.replace('/', '-')}/config"
    await site.start()
    refused = await site.bridge.command("mqtt", "clear", "--yes")
    assert (refused.returncode, refused.stdout) == (3, "")
    assert await site.bridge.stop(5) == 0
    async with connect(site.broker.port) as client:
        await client.publish(others, "{}", qos=1, retain=True)
        await client.publish(f"{site.base}-of-a-neighbour/bridge/state", "online", qos=1, retain=True)
    before = await site.retained()
    listed = await site.bridge.command("mqtt", "clear", "--dry-run")
    topics = listed.stdout.splitlines()
    assert {f"{site.base}/{topic}" for topic in before} < set(topics)
    assert {topic.split("/")[0] for topic in topics} == {site.base.split("/")[0], "homeassistant"}
    unasked = await site.bridge.command("mqtt", "clear")
    assert (unasked.returncode, "add --yes" in unasked.stderr) == (2, True)
    assert await site.retained() == before
    done = await site.bridge.command("mqtt", "clear", "--yes")
    assert (done.returncode, done.stdout) == (0, listed.stdout)
    assert f"removed {len(topics)} retained topics" in done.stderr
    again = await site.bridge.command("mqtt", "clear")
    assert (again.returncode, again.stdout) == (0, "")
    assert await site.retained() == {}
    assert "config" in str(await retained(site.broker.port, others.removesuffix("/config")))
    assert "online" in str(await retained(site.broker.port, f"{site.base}-of-a-neighbour"))
    async with connect(site.broker.port) as client:
        for topic in (others, f"{site.base}-of-a-neighbour/bridge/state"):
            await client.publish(topic, None, qos=1, retain=True)
