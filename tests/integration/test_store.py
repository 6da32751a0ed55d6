"""A disk that is full, a database that is damaged: said clearly, nothing acknowledged that is not stored."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from typing import Any

from support.brokers import PUBACK
from support.harness import Site, live

from bridge.sos_access.simulator.faults import Fault

ROOM = 32 * 1024
"""What is left for the store's log before it is full."""


def _fill(site: Site) -> None:
    """Let no file of the bridge grow past what its store has, which its log must be below."""
    assert site.bridge.process is not None
    size = max(path.stat().st_size for path in site.folder.glob("bridge.db*"))
    _, hard = resource.prlimit(site.bridge.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(site.bridge.process.pid, resource.RLIMIT_FSIZE, (size + ROOM, hard))


def _make_room(site: Site) -> None:
    assert site.bridge.process is not None
    _, hard = resource.prlimit(site.bridge.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(site.bridge.process.pid, resource.RLIMIT_FSIZE, (hard, hard))


def _large(number: int) -> dict[str, Any]:
    return {"event_code": "BA", "reference": f"r{number}", "additional_info": "x" * 2000}


async def _send_until_full(site: Site) -> int:
    """Publish alarms until one cannot be stored; return how many were published."""
    for number in range(200):
        await site.send("alarm/raise", _large(number))
        told = [seen for seen in site.mqtt.of("bridge/event") if seen.value["type"] == "store_failed"]
        if told:
            return number + 1
        await asyncio.sleep(0)
    await site.event("store_failed")
    return 200


@live
async def test_the_disk_fills_and_has_room_again(site: Site) -> None:
    site.settings["log"]["level"] = "error"  # the log's file meets the same limit
    await site.start()
    await site.primary.stop()
    await site.secondary.stop()
    _fill(site)
    count = await _send_until_full(site)
    event = (await site.event("store_failed")).value
    assert str(site.store) in event["error"]
    _make_room(site)
    await site.event("store_recovered")
    await site.primary.start()
    await site.mqtt.wait_all("transmitter/home/alarm/response", count)
    assert sorted(each.reference for each in site.received()) == sorted(f"r{number}" for number in range(count))


@live
async def test_alarms_go_out_while_the_disk_is_full(site: Site) -> None:
    site.settings["log"]["level"] = "error"
    await site.start()
    _fill(site)
    count = await _send_until_full(site) + 60
    for number in range(count - 60, count):
        await site.send("alarm/raise", _large(number))
    await site.mqtt.wait_all("transmitter/home/alarm/response", count)
    assert await site.mqtt.wait("bridge/problem", lambda value: value == "ON")
    assert sorted(each.reference for each in site.received()) == sorted(f"r{number}" for number in range(count))
    _make_room(site)
    await site.event("store_recovered")
    assert await site.mqtt.wait("bridge/problem", lambda value: value == "OFF")
    assert await site.bridge.stop() == 0
    await site.start()
    assert (await site.do("alarm/raise", "FA"))["outcome"] == "accepted"
    assert len(site.received()) == count + 1, "nothing is sent again"


@live
async def test_what_is_not_stored_is_not_acknowledged(site: Site) -> None:
    site.settings["log"]["level"] = "error"
    proxy = await site.behind_proxy()
    acknowledged: list[bytes] = []

    def count(kind: int, packet: bytes) -> bool:
        if kind == PUBACK:
            acknowledged.append(packet)
        return False

    proxy.swallows = count
    await site.start()
    await site.primary.stop()
    await site.secondary.stop()
    _fill(site)
    sent = await _send_until_full(site)
    await site.bridge.logs("alarms are sent from memory")
    with sqlite3.connect(site.store) as db:
        stored = db.execute("SELECT count(*) FROM command").fetchone()[0]
    db.close()
    assert len(acknowledged) <= stored < sent
    site.bridge.kill()  # what was not acknowledged is with the broker, still
    await site.primary.start()
    await site.start()
    await site.mqtt.wait_all("transmitter/home/alarm/response", sent)
    assert sorted(each.reference for each in site.received()) == sorted(f"r{number}" for number in range(sent))


@live
async def test_started_on_a_full_disk(site: Site) -> None:
    site.settings["log"]["level"] = "error"  # the log's file meets the same limit
    await site.start()
    await site.primary.stop()
    await site.secondary.stop()
    await site.send("alarm/raise", "BA")
    await site.mqtt.wait("transmitter/home/outbox", lambda value: value["pending"] == 1)
    assert await site.bridge.stop() == 0
    await site.primary.start()
    site.launch()
    assert site.bridge.process is not None
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.prlimit(site.bridge.process.pid, resource.RLIMIT_FSIZE, (100, hard))  # long before it opens the store
    await site.mqtt.wait_all("transmitter/home/alarm/response", 1)
    assert [each.event_code for each in site.received()] == ["BA"]
    await site.mqtt.wait("bridge/problem", lambda value: value == "ON")
    assert (await site.do("alarm/raise", "FA"))["outcome"] == "accepted"
    _make_room(site)
    await site.event("store_recovered")
    assert await site.bridge.stop() == 0
    with sqlite3.connect(site.store) as db:
        assert db.execute("SELECT count(*) FROM command").fetchone() == (0,)
    db.close()


@live
async def test_started_on_a_damaged_store(site: Site) -> None:
    await site.start()
    await site.primary.stop()
    await site.secondary.stop()
    for number in range(40):
        await site.send("alarm/raise", _large(number))
    await site.mqtt.wait("transmitter/home/outbox", lambda value: value["pending"] == 40)
    assert await site.bridge.stop() == 0
    whole = site.store.read_bytes()
    damaged = whole[:-8192] + b"\xa5" * 8192
    site.store.write_bytes(damaged)
    await site.primary.start()
    await site.start()
    event = (await site.event("store_damaged")).value
    assert (site.folder / event["file"]).read_bytes()[4096:] == damaged[4096:]
    assert 30 < event["waiting"] < 40
    assert event["whole"] is False
    assert "is damaged" in await site.bridge.logs("recovered: ")
    await site.mqtt.wait_all("transmitter/home/alarm/response", event["waiting"])
    site.bridge.kill()
    mark = len(site.bridge.log)
    await site.start()
    assert (await site.do("alarm/raise", "FA"))["outcome"] == "accepted"
    assert "is damaged" not in site.bridge.log[mark:], "it is told once"


@live
async def test_damage_that_is_met_while_running(site: Site) -> None:
    site.home["max_age"] = "1m"  # this machine has run for longer: what is recovered is as old as its recovery
    await site.start()
    assert (await site.do("auth/rotate"))["outcome"] == "accepted"
    for station in (site.primary, site.secondary):
        station.faults.add(Fault(delay=2, drop=True))  # the rows are read again after the first round
    for code in ("BA", "FA"):
        await site.send("alarm/raise", code)
    await site.mqtt.wait("transmitter/home/outbox", lambda value: value["pending"] == 2)
    with sqlite3.connect(site.store) as db:
        db.execute("UPDATE command SET body = x'a5a5' WHERE event_code = 'BA'")
    db.close()
    event = (await site.event("store_damaged")).value
    assert event["waiting"] == 2
    for station in (site.primary, site.secondary):
        station.faults.clear()
    results = await site.mqtt.wait_all("transmitter/home/alarm/response", 2)
    [damaged] = [each.value for each in results if each.value["event_code"] == "BA"]
    assert "texts of this alarm are lost" in damaged["warnings"][0]
    assert sorted(each.event_code for each in site.received()) == ["BA", "FA"]
    assert await site.bridge.stop() == 0


@live
async def test_what_waits_for_a_transmitter_that_is_not_configured_is_a_problem(site: Site) -> None:
    await site.start()
    await site.primary.stop()
    await site.secondary.stop()
    await site.send("alarm/raise", "BA")
    await site.mqtt.wait("transmitter/home/outbox", lambda value: value["pending"] == 1)
    assert await site.bridge.stop() == 0
    site.home["name"] = "cottage"
    await site.start()
    told = await site.mqtt.wait("bridge/problem/info", lambda value: value)
    assert told.value[0]["kind"] == "unconfigured_waiting"
    assert "1 for home" in told.value[0]["text"]
    assert await site.bridge.stop() == 0


@live
async def test_started_on_a_store_of_a_newer_version(site: Site) -> None:
    await site.start()
    assert await site.bridge.stop() == 0
    db = sqlite3.connect(site.store)
    db.execute("PRAGMA user_version = 999")
    db.close()
    done = await site.bridge.command("run")
    assert done.returncode == 1
    _is_one_line(done.stderr, "newer sosbridge")


@live
async def test_started_without_the_stores_directory(site: Site) -> None:
    site.settings["store"]["path"] = str(site.folder / "nowhere" / "bridge.db")
    site.launch()
    assert await site.bridge.ends() == 1
    _is_one_line(site.bridge.log, "directory")


@live
async def test_started_on_damaged_passwords(site: Site) -> None:
    await site.start()
    assert (await site.do("auth/rotate"))["outcome"] == "accepted"
    assert await site.bridge.stop() == 0
    [file] = (site.folder / "bridge.passwords").glob("*.json")
    whole = file.read_text()
    file.write_text(whole[:-20])
    await site.start()
    await site.mqtt.wait("transmitter/home/problem", lambda value: value == "ON")
    mark = site.mqtt.mark
    await site.send("alarm/raise", "FA")
    assert str(file) in await site.bridge.logs("the configured password is tried")
    assert await site.bridge.stop() == 0
    for password in site.passwords:
        assert password not in site.bridge.log
    file.write_text(whole)
    await site.start()
    result = await site.result(lambda value: value["event_code"] == "FA", after=mark)
    assert result["outcome"] == "accepted"


def _is_one_line(text: str, word: str) -> None:
    lines = [line for line in text.splitlines() if line.startswith("sosbridge: ")]
    assert len(lines) == 1, text
    assert word in lines[0]
    assert "Traceback" not in text
