"""A message that the broker sends again because it never got the acknowledgement.

It is one command as long as that waits. Once a receiver has the alarm, the packet id may be that of a new one, which
looks the same: it is sent, so there is at least one.
"""

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
async def test_killed_between_delivery_and_acknowledgement(site: Site, protocol: str) -> None:
    """Each arrives at least once."""
    site.settings["mqtt"]["protocol"] = protocol
    proxy = await site.behind_proxy()
    proxy.swallows = lambda kind, _: kind == PUBACK
    await site.start()
    for _ in range(2):
        await site.send("alarm/raise", "BA")
    await site.send("alarm/raise", "", reply="reply")
    await proxy.wait_lost(3)
    await site.primary.wait_for(2, 30)
    site.bridge.kill()
    proxy.heal()
    await site.start()
    assert (await site.do("alarm/raise", "FA"))["event_code"] == "FA"
    assert site.broker.log.count("Sending PUBLISH to " + site.base + " (d1, q1,") == 3
    codes = [each.event_code for each in site.received()]
    assert 2 <= codes.count("BA") <= 4
    assert codes.count("FA") == 1
    # A response topic is MQTT 5's.
    assert {seen.value["outcome"] for seen in site.mqtt.of("reply")} == ({"invalid"} if protocol == "5" else set())


@live
async def test_killed_while_it_waits_in_the_outbox(site: Site) -> None:
    """It arrives once: no receiver has it yet when the broker sends it again."""
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
    await site.start()
    await site.primary.start()
    assert (await site.do("alarm/raise", "FA"))["outcome"] == "accepted"
    await site.mqtt.wait_all("transmitter/home/alarm/response", 2)
    assert "(d1, q1," in site.broker.log
    codes = [each.request.event_code for each in site.arrivals if isinstance(each.request, AlarmRequest)]
    assert sorted(codes) == ["BA", "FA"]


@pytest.mark.parametrize("delivered", [False, True])
@live
async def test_the_connection_breaks_before_the_acknowledgement(site: Site, *, delivered: bool) -> None:
    """It arrives once if no receiver has it when the broker sends it again, else at least once."""
    proxy = await site.behind_proxy()
    proxy.swallows = lambda kind, _: kind == PUBACK
    await site.start()
    if not delivered:
        await site.primary.stop()
        await site.secondary.stop()
    await site.send("alarm/raise", "BA")
    await proxy.wait_lost(1)
    if delivered:
        await site.primary.wait_for(1, 30)
    mark = site.mqtt.mark
    await proxy.cut()
    proxy.heal()
    await proxy.open()
    await site.mqtt.wait("bridge/state", lambda value: value == "online", after=mark)
    if not delivered:
        await site.primary.start()
        await site.mqtt.wait_all("transmitter/home/alarm/response", 1)
    assert (await site.do("alarm/raise", "BA"))["outcome"] == "accepted"
    assert "(d1, q1," in site.broker.log
    assert 2 <= len(site.received()) <= 2 + delivered
