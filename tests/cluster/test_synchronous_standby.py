"""A database whose synchronous standby is gone commits nothing: nothing is accepted or sent, and that is said."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import pytest
from support.harness import live
from support.nodes import LEASE_S, Nodes
from support.postgres import PostgresServer


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """A server that can have standbys."""
    with PostgresServer({"wal_level": "replica", "max_wal_senders": "2"}) as server:
        yield server


def _wait_for_standby(site: Nodes, name: str) -> None:
    """Let commits wait for a standby of this name; '': for none."""
    site.sql(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
    site.sql("SELECT pg_reload_conf()")


@live
async def test_nothing_is_accepted_or_sent_meanwhile(site: Nodes) -> None:
    first = await site.owner("a")
    second = await site.standby("b")
    await site.checked()
    _wait_for_standby(site, "gone")
    try:
        await asyncio.sleep(LEASE_S)
        await site.send("alarm/raise", {"event_code": "BA", "reference": "meanwhile"})
        await first.logs("the database has been waiting for its synchronous standby")
        await asyncio.sleep(2)
        assert site.received() == []
        assert site.mqtt.of("transmitter/home/alarm/response") == []
        for node in (first, second):
            assert "bridge: standby_missing since" in (await node.command("healthcheck")).stdout
        status = await first.command("cluster", "status")
        assert "waiting for the synchronous standby for" in status.stdout
        assert status.returncode == 1
        assert "node b owns" not in second.log
    finally:
        _wait_for_standby(site, "")
    assert (await site.result())["reference"] == "meanwhile"
    assert [each.reference for each in site.received()] == ["meanwhile"]


@live
async def test_a_stop_meanwhile_takes_five_seconds(site: Nodes) -> None:
    """The alarm that could not be stored was not acknowledged: the next owner gets it."""
    first = await site.owner("a")
    await site.standby("b")
    await site.checked()
    _wait_for_standby(site, "gone")
    try:
        await site.send("alarm/raise", {"event_code": "BA", "reference": "meanwhile"})
        await first.logs("the database has been waiting for its synchronous standby")
        assert first.process is not None
        first.process.send_signal(signal.SIGTERM)
        assert await first.ends(6) == 0
    finally:
        _wait_for_standby(site, "")
    assert (await site.result())["reference"] == "meanwhile"
    assert {each.reference for each in site.received()} == {"meanwhile"}
