"""What needs a person is on retained topics while it lasts, also right after a restart, and goes by itself."""

from __future__ import annotations

import json
from typing import Any

from support.harness import PASSWORD, Site, live

from bridge.sos_access.simulator.receiver import Fault

HOME = "transmitter/home"
RECEIVER = f"{HOME}/receiver"
PROBLEM = f"{HOME}/problem"
INFO = f"{HOME}/problem/info"


def _kinds(problems: list[dict[str, Any]]) -> set[tuple[str, str | None]]:
    return {(problem["kind"], problem.get("receiver")) for problem in problems}


def _answer(status: int, info: str) -> bytes:
    return (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n'
        f"<alarmresponse><status>{status}</status><info>{info}</info></alarmresponse>"
    ).encode("iso-8859-1")


@live
async def test_a_dead_secondary_is_noticed_and_remembered_over_a_restart(site: Site) -> None:
    await site.start()
    await site.mqtt.holds(f"{RECEIVER}/primary/state", "ON")
    await site.mqtt.holds(f"{RECEIVER}/secondary/state", "ON")
    await site.mqtt.holds(PROBLEM, "OFF")
    await site.mqtt.holds(INFO, [])
    site.primary.faults.add(Fault(status=98), 1)
    await site.secondary.stop()
    await site.do("ping")
    site.primary.faults.add(Fault(drop=True), 1)
    assert (await site.do("alarm/raise", "BA"))[
        "receiver"
    ] == "primary"  # the other one was down as well: a round later
    await site.mqtt.holds(f"{RECEIVER}/secondary/state", "OFF")
    await site.mqtt.holds(INFO, lambda found: ("receiver_down", "secondary") in _kinds(found))
    await site.mqtt.holds(PROBLEM, "ON")
    [event] = [seen.value for seen in site.mqtt.of(f"{HOME}/event") if seen.value.get("receiver") == "secondary"]
    assert event["type"] == "receiver_down"
    before = json.loads((await site.retained())[INFO])
    mark = site.mqtt.mark
    await site.restart()
    held = await site.retained()
    assert (held[f"{RECEIVER}/secondary/state"], held[PROBLEM]) == ("OFF", "ON")
    [kept] = [each for each in json.loads(held[INFO]) if each.get("receiver") == "secondary"]
    [first] = [each for each in before if each.get("receiver") == "secondary"]
    assert kept["since"][:16] == first["since"][:16]
    info = json.loads(held[f"{RECEIVER}/secondary/info"])
    assert info["address"] == site.home["secondary_receiver"]
    assert "connection refused" in info["last_error"]
    assert not [seen for seen in site.mqtt.of(f"{HOME}/event", after=mark) if seen.value["type"] == "receiver_down"]
    await site.secondary.start()
    site.primary.faults.add(Fault(drop=True), 1)
    assert (await site.do("alarm/raise", "FA"))["receiver"] == "secondary"
    await site.mqtt.holds(f"{RECEIVER}/secondary/state", "ON")
    await site.mqtt.wait(f"{HOME}/event", lambda value: value["type"] == "receiver_up", after=mark)


@live
async def test_a_rejected_alarm_is_undelivered_and_a_problem_until_it_is_dropped(site: Site) -> None:
    await site.start()
    for station in (site.primary, site.secondary):
        station.faults.add(Fault(status=2), 1)
    result = await site.do("alarm/raise", {"event_code": "BA", "reference": "r1"})
    assert result["outcome"] == "rejected"
    undelivered = await site.mqtt.wait(f"{HOME}/undelivered")
    assert undelivered.value["reference"] == "r1"
    await site.mqtt.holds(INFO, lambda found: ("rejected", None) in _kinds(found))
    number = (await site.bridge.command("outbox", "list")).stdout.split("\t")[0]
    await site.bridge.command("outbox", "drop", number)
    await site.mqtt.holds(INFO, lambda found: ("rejected", None) not in _kinds(found))
    assert len(site.mqtt.of(f"{HOME}/undelivered")) == 1


@live
async def test_an_error_that_echoes_the_password_is_masked_on_every_topic(site: Site) -> None:
    """The end of each test looks for passwords in all topics and the log."""
    await site.start()
    for station in (site.primary, site.secondary):
        decide = station._decide

        def echo(raw: bytes, fault: Fault, peer: str, decide: Any = decide) -> Any:  # noqa: ANN401
            arrival, answer = decide(raw, fault, peer)
            return arrival, _answer(98, f"no luck with {PASSWORD}") if b"<alarmrequest" in raw else answer

        station._decide = echo  # type: ignore[method-assign]
    await site.send("alarm/raise", "BA")
    assert "no luck with ***" in (await site.mqtt.wait(f"{HOME}/undelivered")).value["error"]
    await site.mqtt.holds(INFO, lambda found: ("receiver_down", "primary") in _kinds(found))
    assert "answered 98" in (await site.retained())[f"{RECEIVER}/primary/info"]
    listed = (await site.bridge.command("outbox", "list")).stdout
    assert "no luck with ***" in listed
    assert PASSWORD not in listed
