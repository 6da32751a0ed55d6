"""One owner, one node that stands by: whatever becomes of the owner, the other goes on with what was acknowledged."""

from __future__ import annotations

import asyncio
import signal
import time

from support.harness import live
from support.nodes import LEASE_S, Nodes

from bridge.sos_access.simulator.receiver import Fault


@live
async def test_a_killed_owner(site: Nodes) -> None:
    """What was pending goes out, what is published meanwhile as well; nothing turns unavailable."""
    first = await site.owner("a")
    await site.standby("b")
    await site.checked()
    for station in (site.primary, site.secondary):
        station.faults.add(Fault(drop=True))
    await site.send("alarm/raise", {"event_code": "BA", "reference": "before"})
    await site.mqtt.holds("transmitter/home/outbox", lambda outbox: outbox["pending"] == 1)
    mark, began = site.mqtt.mark, time.monotonic()
    first.kill()
    for station in (site.primary, site.secondary):
        station.faults.clear()
    await site.send("alarm/raise", {"event_code": "FA", "reference": "meanwhile"})
    assert (await site.result(lambda value: value.get("reference") == "before"))["outcome"] == "accepted"
    assert (await site.result(lambda value: value.get("reference") == "meanwhile"))["outcome"] == "accepted"
    print(f"taken over within {time.monotonic() - began:.2f} s")
    assert [each.event_code for each in site.received()] == ["BA", "FA"]
    assert [each.payload for each in site.mqtt.of("bridge/state", mark)] == ["online"]
