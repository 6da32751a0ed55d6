"""A message that the broker sends again because it never got the acknowledgement is one command, not two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.brokers import PUBACK, Mosquitto
from support.harness import Site, live

from bridge.sos_access.messages import AlarmRequest


@pytest.fixture
def site(tmp_path: Path, base: str) -> Iterator[Site]:
    folder = tmp_path / "broker"
    folder.mkdir()
    with Mosquitto(folder, general=["allow_anonymous true", "log_type all"]) as broker:
        yield Site(broker, tmp_path, base)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@live
async def test_killed_between_commit_and_acknowledgement(site: Site, protocol: str) -> None:
    site.settings["mqtt"]["protocol"] = protocol
    proxy = await site.behind_proxy()
    proxy.swallows = lambda kind, _: kind == PUBACK
    await site.start()
    for _ in range(2):
        await site.send("alarm/raise", "BA")  # each of the two identical ones counts once
    await site.send("alarm/raise", "", reply="reply")
    await proxy.wait_lost(3)
    await site.primary.wait_for(2, 30)
    site.bridge.kill()
    proxy.heal()
    await site.start()
    assert (await site.do("alarm/raise", "FA"))["event_code"] == "FA"
    assert site.broker.log.count("Sending PUBLISH to " + site.base + " (d1, q1,") == 3
    assert [each.event_code for each in site.received()] == ["BA", "BA", "FA"]
    assert len(site.mqtt.of("bridge/event")) <= 1
    # A response topic is MQTT 5's.
    assert [seen.value["outcome"] for seen in site.mqtt.of("reply")] == (["invalid"] if protocol == "5" else [])


@live
async def test_killed_while_it_waits_in_the_outbox(site: Site) -> None:
    proxy = await site.behind_proxy()
    proxy.swallows = lambda kind, _: kind == PUBACK
    await site.primary.stop()
    await site.secondary.stop()
    await site.start()
    await site.send("alarm/raise", "BA")
    await proxy.wait_lost(1)
    for count in (2, 3):  # and it is not acknowledged again, and again
        site.bridge.kill()
        site.launch()
        await proxy.wait_lost(count)
    proxy.heal()
    site.bridge.kill()
    await site.primary.start()
    await site.start()
    assert (await site.do("alarm/raise", "FA"))["outcome"] == "accepted"
    await site.mqtt.wait_all("transmitter/home/alarm/response", 2)
    assert "(d1, q1," in site.broker.log
    assert [each.request.event_code for each in site.arrivals if isinstance(each.request, AlarmRequest)] == ["BA", "FA"]


@live
async def test_the_connection_breaks_before_the_acknowledgement(site: Site) -> None:
    proxy = await site.behind_proxy()
    proxy.swallows = lambda kind, _: kind == PUBACK
    await site.start()
    await site.send("alarm/raise", "BA")
    await proxy.wait_lost(1)
    await site.primary.wait_for(1, 30)
    mark = site.mqtt.mark
    await proxy.cut()
    proxy.heal()
    await proxy.open()
    await site.mqtt.wait("bridge/state", lambda value: value == "online", after=mark)
    assert (await site.do("alarm/raise", "BA"))["outcome"] == "accepted"
    await site.mqtt.wait_all("transmitter/home/alarm/response", 2)
    assert "(d1, q1," in site.broker.log
    assert len(site.arrivals) == 2
