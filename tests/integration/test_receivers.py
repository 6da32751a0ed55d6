"""Receivers that are away, refuse or hang: nothing is lost, order is kept, and it is told once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.harness import CODE, PASSWORD, Site, live
from support.recorder import Seen

from bridge.sos_access.simulator.receiver import Fault

UNDELIVERED = "transmitter/home/undelivered"
OUTBOX = "transmitter/home/outbox"
LINK = "transmitter/home/link"
PROBLEM = "transmitter/home/problem"
EVENT = "transmitter/home/event"
RECEIVER = "transmitter/home/receiver"


def _numbered(number: int, code: str = "BA") -> dict[str, Any]:
    return {"event_code": code, "reference": f"r{number}"}


async def _references(site: Site, count: int) -> list[str | None]:
    await site.mqtt.wait_all(
        "transmitter/home/alarm/response", count, lambda result: result["outcome"] in ("accepted", "duplicate")
    )
    return [each.request.reference for each in site.arrivals if each.status == 0 and each.request is not None]


@live
async def test_receivers_down_then_up(site: Site) -> None:
    await site.start()
    assert (await site.do("ping"))["outcome"] == "accepted"
    await site.mqtt.holds(LINK, "ON")
    await site.primary.stop()
    await site.secondary.stop()
    for number in range(5):
        await site.send("alarm/raise", _numbered(number))
    await site.mqtt.holds(OUTBOX, lambda outbox: outbox["pending"] == 5 and outbox["oldest_at"] is not None)
    await site.mqtt.holds(LINK, "OFF")
    await site.mqtt.holds(PROBLEM, "ON")
    told = await site.mqtt.wait(UNDELIVERED)
    assert not told.retain
    assert (told.value["event_code"], told.value["reference"], told.value["request"]) == ("BA", "r0", "alarm")
    assert told.value["attempts"] == 2
    listed = (await site.bridge.command("outbox", "list")).stdout.splitlines()
    assert [line.split("\t")[1:4] for line in listed] == [["home", "alarm", "BA"]] * 5
    await site.mqtt.wait_all(UNDELIVERED, 5)
    await asyncio.sleep(1)  # until it is noted on disk that these are published
    await site.restart()  # it does not forget either
    await site.primary.start()
    assert sorted(map(str, await _references(site, 5))) == ["None", "r0", "r1", "r2", "r3", "r4"]
    await site.mqtt.holds(LINK, "ON")
    await site.mqtt.holds(f"{RECEIVER}/primary/state", "ON")
    await site.mqtt.holds(f"{RECEIVER}/secondary/state", "OFF")
    await site.mqtt.holds(OUTBOX, lambda outbox: outbox == {**outbox, "pending": 0, "oldest_at": None})
    events = [(seen.retain, seen.value["type"], seen.value["reference"]) for seen in _alarm_events(site)]
    assert sorted(events) == [(False, kind, f"r{n}") for kind in ("accepted", "undelivered") for n in range(5)]
    # Whoever has another way out is to know of each, and once.
    assert sorted(seen.value["reference"] for seen in site.mqtt.of(UNDELIVERED)) == [f"r{n}" for n in range(5)]


def _alarm_events(site: Site) -> list[Seen]:
    return [seen for seen in site.mqtt.of(EVENT) if "reference" in seen.value]


@live
async def test_failover_from_a_receiver_that_is_not_there(site: Site) -> None:
    await site.primary.stop()
    await site.start()
    result = await site.do("alarm/raise", "BA")
    assert (result["outcome"], result["receiver"]) == ("accepted", "secondary")
    assert result["attempts"] <= 2
    assert site.mqtt.of(UNDELIVERED) == []


@pytest.mark.parametrize(
    "fault", [Fault(status=5), Fault(status=98), Fault(status=77), Fault(status=4), Fault(status=2), Fault(drop=True)]
)
@live
async def test_failover(site: Site, fault: Fault) -> None:
    await site.start()
    site.primary.faults.add(fault, 1)
    result = await site.do("alarm/raise", "BA")
    assert (result["outcome"], result["receiver"], result["attempts"]) == ("accepted", "secondary", 2)
    assert site.mqtt.of(UNDELIVERED) == []


@pytest.mark.parametrize("fault", [Fault(garbage="random"), Fault(lose=True)])
@live
async def test_failover_after_the_alarm_was_taken(site: Site, fault: Fault) -> None:
    """The other receiver has it already."""
    await site.start()
    site.primary.faults.add(fault, 1)
    result = await site.do("alarm/raise", "BA")
    assert (result["outcome"], result["status"], result["attempts"]) == ("duplicate", 10, 2)


@live
async def test_an_answer_in_single_bytes_is_an_answer(site: Site) -> None:
    await site.start()
    site.primary.faults.add(Fault(segment=0.001), 1)
    result = await site.do("alarm/raise", "BA")
    assert (result["outcome"], result["receiver"]) == ("accepted", "primary")


@live
async def test_a_receiver_that_hangs_is_left(site: Site) -> None:
    site.home["response_timeout"] = 0.5
    await site.start()
    site.primary.faults.add(Fault(delay=30), 1)
    result = await site.do("alarm/raise", "BA")
    assert (result["outcome"], result["receiver"], result["attempts"]) == ("accepted", "secondary", 2)


@live
async def test_an_alarm_refused_for_a_whole_round_lets_others_go_on(site: Site) -> None:
    await site.start()
    for station in (site.primary, site.secondary):
        station.faults.add(Fault(status=5), 1)
    await site.send("alarm/raise", _numbered(0))
    await site.send("alarm/raise", _numbered(1, "FA"))
    await site.send("alarm/restore", _numbered(2))  # does not overtake its alarm
    await site.send("alarm/restore", _numbered(3, "FA"))
    taken = await _references(site, 4)
    assert taken[0] == "r1"
    assert taken.index("r0") < taken.index("r2")
    assert [seen.value["reference"] for seen in site.mqtt.of(UNDELIVERED)] == ["r0"]
    await site.mqtt.holds("transmitter/home/alarm/active", [])
    results = [seen.value for seen in site.mqtt.of("transmitter/home/alarm/response")]
    assert {result["reference"]: result["attempts"] for result in results} == {"r0": 3, "r1": 1, "r2": 1, "r3": 1}


@live
async def test_a_rejected_alarm_is_set_aside_and_can_be_sent_again(site: Site) -> None:
    await site.start()
    for station in (site.primary, site.secondary):
        station.faults.add(Fault(status=3), 2)  # once more with its mandatory elements only
    await site.send("alarm/raise", _numbered(0))
    await site.send("alarm/raise", _numbered(1))
    results = await site.mqtt.wait_all("transmitter/home/alarm/response", 2)
    assert [(each.value["outcome"], each.value["reference"]) for each in results] == [
        ("rejected", "r0"),
        ("accepted", "r1"),
    ]
    assert results[0].value["status"] == 3
    assert results[0].value["error"]
    await site.mqtt.holds(OUTBOX, lambda outbox: (outbox["pending"], outbox["rejected"]) == (0, 1))
    [line] = (await site.bridge.command("outbox", "list")).stdout.splitlines()
    number, *columns = line.split("\t")
    assert "rejected" in columns
    shown = await site.bridge.command("outbox", "show", number)
    assert '"reference": "r0"' in shown.stdout
    assert PASSWORD not in shown.stdout
    mark = site.mqtt.mark
    assert (await site.bridge.command("outbox", "retry", number)).returncode == 0
    result = await site.result(after=mark)
    assert (result["outcome"], result["reference"]) == ("accepted", "r0")
    await site.mqtt.holds(OUTBOX, lambda outbox: (outbox["pending"], outbox["rejected"]) == (0, 0))
    assert (await site.bridge.command("outbox", "list")).stdout == ""


@live
async def test_a_rejected_alarm_can_be_dropped(site: Site) -> None:
    await site.start()
    for station in (site.primary, site.secondary):
        station.faults.add(Fault(status=100), 1)
    assert (await site.do("alarm/raise", "BA"))["outcome"] == "rejected"
    number = (await site.bridge.command("outbox", "list")).stdout.split("\t")[0]
    assert (await site.bridge.command("outbox", "drop", number)).returncode == 0
    await site.mqtt.holds(OUTBOX, lambda outbox: outbox["rejected"] == 0)
    assert site.received() == []


@live
async def test_a_wrong_password_mended_at_the_receiver(site: Site) -> None:
    site.set_password("another12345678")
    await site.start()
    await site.send("alarm/raise", _numbered(0))
    await site.send("alarm/raise", _numbered(1))
    result = await site.result()
    assert (result["outcome"], result["reference"]) == ("unauthorized", "r0")
    assert result["status"] in (4, 6)
    await site.event("unauthorized")
    # Usually the second alarm waits for the first; it is tried, too, where a receiver had refused a ping before.
    await site.mqtt.holds(OUTBOX, lambda outbox: outbox["pending"] == 2 and outbox["unauthorized"] >= 1)
    assert (await site.do("ping"))["outcome"] == "unauthorized"
    site.set_password(PASSWORD)
    assert (await site.do("ping"))["outcome"] == "accepted"  # and so the alarms go, without waiting out the minute
    assert sorted(filter(None, await _references(site, 2))) == ["r0", "r1"], "beside pings"
    await site.mqtt.holds(OUTBOX, lambda outbox: (outbox["pending"], outbox["unauthorized"]) == (0, 0))
    assert len([seen for seen in site.mqtt.of("bridge/event") if seen.value["type"] == "unauthorized"]) == 1


@live
async def test_an_expired_alarm(site: Site) -> None:
    site.home["max_age"] = "1s"
    await site.start()
    await site.primary.stop()
    await site.secondary.stop()
    await site.send("alarm/raise", _numbered(0))
    await site.mqtt.wait(UNDELIVERED)
    result = await site.result()
    assert (result["outcome"], result["reference"]) == ("expired", "r0")
    assert "error" in result
    await site.mqtt.holds(OUTBOX, lambda outbox: outbox["pending"] == 0)
    await site.mqtt.holds("transmitter/home/alarm/active", [])
    await site.primary.start()
    site.home["max_age"] = "24h"
    await site.restart()
    assert (await site.do("alarm/raise", _numbered(1)))["outcome"] == "accepted"
    assert [each.reference for each in site.received()] == ["r1"]


@live
async def test_a_ping_is_not_kept(site: Site) -> None:
    await site.start()
    await site.primary.stop()
    await site.secondary.stop()
    result = await site.do("ping", "r1")
    assert (result["outcome"], result["attempts"], result["reference"]) == ("unreachable", 2, "r1")
    assert result["error"]
    assert (await site.do("auth/rotate"))["outcome"] == "unreachable"


@live
async def test_heartbeats(site: Site) -> None:
    site.home["heartbeat"] = "90s"
    await site.start()
    await site.primary.wait_for(lambda arrival: arrival.kind == "ping", 30)  # the first at start
    await site.mqtt.holds(LINK, "ON")
    result = await site.result(kind="ping")
    assert (result["request"], result["outcome"], result["receiver"]) == ("ping", "accepted", "primary")


@live
async def test_heartbeats_that_are_not_enabled(site: Site) -> None:
    site.home["heartbeat"] = "90s"
    site.primary.faults.add(Fault(status=9), 1)
    await site.start()
    event = (await site.event("heartbeat_disabled")).value
    assert event["transmitter"] == "home"
    await site.mqtt.holds(LINK, "ON")
    assert (await site.do("alarm/raise", "BA"))["outcome"] == "accepted"
    site.primary.faults.add(Fault(status=9), 1)
    result = await site.do("ping")
    assert (result["outcome"], result["status"]) == ("rejected", 9)


@live
async def test_too_many_heartbeats_are_no_failure(site: Site) -> None:
    site.home["heartbeat"] = "180s"
    site.primary.faults.add(Fault(status=101), 1)
    await site.start()
    await site.mqtt.holds(LINK, "ON")
    await site.bridge.logs("pings come too often")
    assert site.mqtt.of("bridge/event") == []
    assert (await site.do("alarm/raise", "BA"))["outcome"] == "accepted"


@live
async def test_lines_do_not_wait_for_each_other(site: Site) -> None:
    other = site.transmitter("other", "IK00002")
    site.accounts.accept_unknown = True
    site.settings["transmitters"].append(other)
    await site.start()
    site.primary.on_request = lambda raw: CODE.encode() in raw
    site.secondary.on_request = lambda raw: CODE.encode() in raw
    await site.send("alarm/raise", "BA")
    await site.mqtt.wait(UNDELIVERED)
    await site.mqtt.publish("transmitter/other/alarm/raise", "FA")
    result = await site.mqtt.wait("transmitter/other/alarm/response")
    assert result.value["outcome"] == "accepted"
    site.primary.on_request = None
    assert (await site.result())["outcome"] == "accepted"


@live
async def test_a_full_outbox_takes_nothing_more(site: Site) -> None:
    bound = 3
    site.settings["store"]["max_commands"] = bound
    await site.start()
    await site.primary.stop()
    await site.secondary.stop()
    for number in range(bound + 1):
        await site.send("alarm/raise", _numbered(number))
    result = await site.result()
    assert (result["outcome"], result["reference"]) == ("invalid", f"r{bound}")
    assert "full" in result["error"]
    await site.primary.start()
    assert sorted(await _references(site, bound), key=str) == ["r0", "r1", "r2"]
