"""Brokers that restart, forget, come late or refuse: the bridge is back by itself, and floods nobody."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.brokers import Mosquitto
from support.harness import Site, live
from support.recorder import WAIT_S, Seen

PUBLISH = 3
STATE = "transmitter/home/alarm/burglary/state"


@pytest.fixture
def site(apart: Site) -> Site:
    return apart


async def _interrupt(site: Site, meanwhile: Callable[[], object]) -> list[Seen]:
    """Take the broker away, do something `meanwhile`, bring it back; return what was published since then."""
    proxy = await site.behind_proxy()
    await site.start()
    assert (await site.do("alarm/burglary/set", "ON"))["outcome"] == "accepted"
    assert (await site.do("alarm/raise", ""))["outcome"] == "invalid"  # has an event
    await site.mqtt.holds(STATE, "ON")
    await site.mqtt.holds("transmitter/home/outbox", lambda outbox: outbox["pending"] == 0)
    await site.checked()
    await site.mqtt.holds("transmitter/home/receiver/secondary/state", "ON")
    before = await site.retained()
    mark = site.mqtt.mark
    await proxy.cut()
    await site.mqtt.wait("bridge/state", lambda value: value == "offline", after=mark)
    site.broker.stop()
    meanwhile()
    site.broker.start()
    await site.mqtt.back()
    mark = site.mqtt.mark
    await proxy.open()
    await site.mqtt.wait("bridge/state", lambda value: value == "online", after=mark)
    assert (await site.do("ping"))["outcome"] == "accepted"
    after = await site.retained()
    del after["transmitter/home/ping/response"]
    assert after == before
    return [seen for seen in site.mqtt.seen[mark:] if "/ping" not in seen.topic]


@live
async def test_a_broker_that_restarts_gets_only_what_differs(site: Site) -> None:
    published = await _interrupt(site, lambda: None)
    assert [(seen.topic, seen.payload) for seen in published] == [("bridge/state", "online")]


@live
async def test_a_broker_that_lost_its_store_gets_all_states_and_no_event(site: Site) -> None:
    published = await _interrupt(site, site.broker.forget)
    topics = [seen.topic for seen in published]
    assert len(set(topics)) == len(topics)
    assert topics[-1] == "bridge/state", "online comes when all states are out"
    expected = ["bridge/info", "bridge/health"]
    leaves = ("alarm/response", "alarm/active", "alarm/burglary/state", "alarm/fire/state", "link", "outbox", "problem")
    expected += [f"transmitter/home/{leaf}" for leaf in leaves]
    expected += ["bridge/problem", "bridge/problem/info", "transmitter/home/problem/info", "transmitter/home/record"]
    for receiver in ("primary", "secondary"):
        expected += [f"transmitter/home/receiver/{receiver}/{leaf}" for leaf in ("state", "info")]
    assert sorted(topics[:-1]) == sorted(expected)
    assert all(seen.retain for seen in published)


@live
async def test_states_that_differ_are_put_right_at_connect(site: Site) -> None:
    proxy = await site.behind_proxy()
    await site.start()
    assert (await site.do("alarm/burglary/set", "ON"))["outcome"] == "accepted"
    await site.mqtt.holds(STATE, "ON")
    await site.mqtt.holds("transmitter/home/problem", "OFF")  # both receivers were checked
    mark = site.mqtt.mark
    await proxy.cut()
    await site.mqtt.wait("bridge/state", lambda value: value == "offline", after=mark)
    await site.mqtt.publish(STATE, "OFF", retain=True)  # somebody else wrote
    await site.mqtt.publish("transmitter/home/link", "", retain=True)
    await site.mqtt.publish("transmitter/former/link", "ON", retain=True)  # configured no more
    await site.mqtt.wait("transmitter/former/link")
    mark = site.mqtt.mark
    await proxy.open()
    await site.mqtt.wait("bridge/state", lambda value: value == "online", after=mark)
    published = {seen.topic: seen.payload for seen in site.mqtt.seen[mark:]}
    assert published == {
        STATE: "ON",
        "transmitter/home/link": "ON",
        "transmitter/former/link": "",
        "bridge/state": "online",
    }


@live
async def test_will_and_birth(site: Site) -> None:
    for _ in range(2):
        await site.start()
        assert (await site.retained())["bridge/state"] == "online"
        mark = site.mqtt.mark
        site.bridge.kill()
        will = await site.mqtt.wait("bridge/state", lambda value: value == "offline", after=mark)
        assert will.retain
        assert (await site.retained())["bridge/state"] == "offline"


@live
async def test_started_before_the_broker(site: Site) -> None:
    site.broker.stop()
    site.launch()
    line = await site.bridge.logs("next try in")
    assert f"127.0.0.1:{site.broker.port}" in line
    site.broker.start()
    await site.becomes("bridge/state", "online")
    await site.listen()
    assert (await site.do("alarm/raise", "BA"))["outcome"] == "accepted"


@live
async def test_commands_wait_in_the_broker_while_the_bridge_is_away(site: Site) -> None:
    await site.start()
    mark = site.mqtt.mark
    site.bridge.kill()
    await site.mqtt.wait("bridge/state", lambda value: value == "offline", after=mark)
    for number in range(30):
        await site.send("alarm/raise", {"event_code": "BA", "reference": f"r{number}"})
    site.broker.stop()  # and over its restart
    site.broker.start()
    await site.mqtt.back()
    await site.start()
    await site.mqtt.wait_all("transmitter/home/alarm/response", 30)
    assert [each.reference for each in site.received()] == [f"r{number}" for number in range(30)]


@live
async def test_a_name_that_does_not_resolve(site: Site) -> None:
    site.settings["mqtt"]["host"] = "no-such-broker.invalid"
    site.launch()
    assert "no-such-broker.invalid" in await site.bridge.logs("next try in")
    assert await site.bridge.stop(5) == 0


@pytest.fixture
def guarded(tmp_path: Path, base: str) -> Site:
    """A site whose broker knows the user `bridge`; who gives no name may come in, too."""
    folder = tmp_path / "guarded"
    folder.mkdir()
    passwords = folder / "passwords"
    _set_password(passwords, "another")
    return Site(Mosquitto(folder, general=["allow_anonymous true", f"password_file {passwords}"]), tmp_path, base)


def _set_password(file: Path, password: str) -> None:
    file.unlink(missing_ok=True)  # newer ones do not overwrite
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(file), "bridge", password], check=True, capture_output=True)
    file.chmod(0o600)


def test_a_broker_password_put_right_later(guarded: Site) -> None:
    @live
    async def scenario(site: Site) -> None:
        site.settings["mqtt"] |= {"username": "bridge", "password": "brokerpassword"}
        site.passwords.add("brokerpassword")
        site.launch()
        assert "user name or password" in await site.bridge.logs("next try in")
        await site.listen()
        _set_password(site.broker.folder / "passwords", "brokerpassword")
        site.broker.reload()
        await site.mqtt.wait("bridge/state", lambda value: value == "online")
        assert (await site.do("alarm/raise", "BA"))["outcome"] == "accepted"

    with guarded.broker:
        scenario(site=guarded)


@live
async def test_a_result_on_its_way_when_the_connection_breaks_comes_with_the_next(site: Site) -> None:
    """It came half a minute later, or with the next event: nothing said that one was waiting."""
    proxy = await site.behind_proxy()
    await site.start()
    assert (await site.do("ping", "first"))["outcome"] == "accepted"
    proxy.swallows = lambda kind, packet: kind == PUBLISH and b"ping/response" in packet
    await site.send("ping", "second")
    async with asyncio.timeout(WAIT_S), proxy.swallowed:
        await proxy.swallowed.wait_for(lambda: proxy.lost)
    mark = site.mqtt.mark
    await proxy.cut()
    proxy.heal()
    await proxy.open()
    await site.mqtt.wait("bridge/state", lambda value: value == "online", after=mark)
    await site.result(lambda value: value["reference"] == "second", kind="ping", after=mark, within=WAIT_S / 2)


def _peak(site: Site) -> int:
    """Return the most memory that the bridge ever had, in bytes."""
    assert site.bridge.process is not None
    status = Path(f"/proc/{site.bridge.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


@live
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_a_message_of_a_size_that_nobody_needs_hurts_nobody(site: Site, protocol: str) -> None:
    site.settings["mqtt"]["protocol"] = protocol
    await site.start()
    before = (await site.mqtt.wait("bridge/health")).value["rss_bytes"]
    await site.send("alarm/raise", "x" * 30_000_000)
    assert (await site.do("alarm/raise", {"event_code": "FA", "reference": "after"}))["outcome"]
    result = await site.result(lambda value: value.get("reference") == "after")
    assert result["outcome"] == "accepted"
    assert _peak(site) - before < 15_000_000
    assert (await site.do("ping"))["outcome"] == "accepted"
    assert site.bridge.log.count("connected to broker") == 1


@live
async def test_a_second_client_of_the_same_id_is_named(site: Site) -> None:
    await site.start()
    other = f"{site.base}-other"
    second = subprocess.Popen(  # noqa: ASYNC220 - it comes back each time that the bridge takes the id over
        ["mosquitto_sub", "-p", str(site.broker.port), "-i", site.base, "-t", other], stderr=subprocess.DEVNULL
    )
    try:
        await site.bridge.logs("another client took over our client id")
    finally:
        second.kill()
        second.wait()
