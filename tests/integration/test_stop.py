"""SIGTERM ends the bridge in order within five seconds, whatever it waits for; health is told from outside."""

from __future__ import annotations

import asyncio
import signal

import pytest
from support.harness import Site, live

from bridge.sos_access.simulator.receiver import Fault


@live
async def test_sigterm(site: Site) -> None:
    await site.start()
    assert (await site.do("alarm/raise", "BA"))["outcome"] == "accepted"
    mark = site.mqtt.mark
    assert await site.bridge.stop(5) == 0
    seen = await site.mqtt.wait("bridge/state", lambda value: value == "offline", after=mark)
    assert seen.retain
    assert (await site.retained())["bridge/state"] == "offline"
    assert site.bridge.log.rstrip().endswith("stopped")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
@live
async def test_other_signals(site: Site, number: signal.Signals) -> None:
    await site.start()
    assert site.bridge.process is not None
    site.bridge.process.send_signal(number)
    assert await site.bridge.ends(5) == 0
    assert (await site.retained())["bridge/state"] == "offline"


@live
async def test_a_sighup_that_nohup_ignores(site: Site) -> None:
    site.bridge.program = ("-c", "import signal; signal.signal(1, signal.SIG_IGN); from bridge.cli import main; main()")
    await site.start()
    assert site.bridge.process is not None
    site.bridge.process.send_signal(signal.SIGHUP)
    assert (await site.do("alarm/raise", "BA"))["outcome"] == "accepted"


@live
async def test_sigterm_while_a_receiver_hangs(site: Site) -> None:
    await site.start()
    site.primary.faults.add(Fault(delay=60))
    await site.send("alarm/raise", "BA")
    await site.mqtt.holds("transmitter/home/outbox", lambda outbox: outbox["pending"] == 1)
    mark = site.mqtt.mark
    assert await site.bridge.stop(5) == 0
    await site.mqtt.wait("bridge/state", lambda value: value == "offline", after=mark)
    site.primary.faults.clear()
    await site.start()  # the alarm is not lost by it
    assert (await site.result())["outcome"] == "accepted"
    assert len(site.received()) == 1


@live
async def test_sigterm_waits_for_an_answer_on_its_way(site: Site) -> None:
    await site.start()
    await site.checked()
    site.primary.faults.add(Fault(delay=2), 1)
    await site.send("alarm/raise", "BA")
    await site.mqtt.holds("transmitter/home/outbox", lambda outbox: outbox["pending"] == 1)
    await asyncio.sleep(0.3)
    assert await site.bridge.stop(5) == 0
    await site.start()
    assert (await site.result())["outcome"] == "accepted"
    assert len(site.arrivals) == 1, "it was sent twice"


@live
async def test_sigterm_while_the_broker_is_a_black_hole(site: Site) -> None:
    reached = asyncio.Event()

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        try:
            await reader.read()
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    async with server:
        site.settings["mqtt"]["port"] = server.sockets[0].getsockname()[1]
        site.launch()
        async with asyncio.timeout(30):
            await reached.wait()
        assert await site.bridge.stop(5) == 0


@live
async def test_sigterm_while_the_broker_falls_silent(site: Site) -> None:
    proxy = await site.behind_proxy()
    await site.start()
    proxy.swallows = lambda *_: True
    await site.mqtt.publish("transmitter/home/ping", "")
    await site.bridge.logs("ping #1 accepted")
    assert await site.bridge.stop(5) == 0


@live
async def test_healthcheck(site: Site) -> None:
    await site.start()
    await site.mqtt.holds("transmitter/home/problem", "OFF")
    health = await site.bridge.command("healthcheck", "--strict")
    assert (health.returncode, health.stdout) == (0, "healthy\n")
    assert await site.bridge.stop(5) == 0
    health = await site.bridge.command("healthcheck")
    assert health.returncode == 1
    assert "no bridge runs" in health.stderr


@live
async def test_healthcheck_of_a_bridge_that_hangs(site: Site) -> None:
    await site.start()
    assert site.bridge.process is not None
    site.bridge.process.send_signal(signal.SIGSTOP)
    health = await site.bridge.command("healthcheck")
    site.bridge.process.send_signal(signal.SIGCONT)
    assert health.returncode == 1
    assert "it hangs" in health.stderr


@live
async def test_healthcheck_without_a_broker(site: Site) -> None:
    """A bridge that cannot reach its broker works all the same: it delivers what it has."""
    proxy = await site.behind_proxy()
    await site.start()
    mark = len(site.bridge.log)
    await proxy.cut()
    await site.bridge.logs("next try in", after=mark)
    health = await site.bridge.command("healthcheck")
    assert health.returncode == 0
    assert "bridge: broker_down since" in health.stdout
    mark = site.mqtt.mark
    await proxy.open()
    await site.mqtt.wait("bridge/state", lambda value: value == "online", after=mark)
    assert "broker_down" not in (await site.bridge.command("healthcheck")).stdout


@live
async def test_a_second_bridge_on_the_same_store_is_refused(site: Site) -> None:
    await site.start()
    second = await site.bridge.command("run")
    assert second.returncode == 3
    assert "in use by a running sosbridge" in second.stderr
    assert (await site.do("alarm/raise", "BA"))["outcome"] == "accepted"


@pytest.mark.parametrize("command", ["rotate", "ping"])
@live
async def test_a_rotation_beside_the_service_is_refused(site: Site, command: str) -> None:
    await site.start()
    done = await site.bridge.command(command)
    assert done.returncode == (3 if command == "rotate" else 0), done.stderr
