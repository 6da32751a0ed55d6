"""The log of the connection to the broker: one line for each change."""

from __future__ import annotations

import asyncio
import logging

import pytest
from support import virtual

from bridge.mqtt.client import Broker, BrokerError
from bridge.mqtt.connection_log import ConnectionLog

LOST = OSError(111, "Connection refused")
BROKER = Broker("house", client_id="our-id")
TAKEN_OVER = "broker house:1883: another client took over our client id 'our-id'"


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [f"{record.levelname} {record.getMessage()}" for record in caplog.records]
    caplog.clear()
    return found


def test_a_broker_that_is_away_is_logged_sparsely_until_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def scenario() -> None:
        log = ConnectionLog(BROKER)
        log.connected()
        assert said(caplog) == ["INFO connected to broker house:1883"]
        log.lost(LOST, 500, 1)
        assert said(caplog) == ["WARNING broker house:1883: Connection refused, next try in 1 s"]
        for _ in range(60):
            await asyncio.sleep(60)
            log.lost(LOST, -1, 60)
        assert len(said(caplog)) == 3, "after 1, 5 and 15 minutes"
        log.connected()
        assert said(caplog) == ["INFO connected to broker house:1883 again after 1 h"]
        await asyncio.sleep(600)
        log.lost(LOST, 600, 1)
        assert len(said(caplog)) == 1

    virtual.run(scenario())


def test_a_client_that_takes_over_is_named_and_its_turns_are_not_all_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def scenario() -> None:
        log = ConnectionLog(BROKER)
        log.connected()
        for turn in range(30):
            log.lost(LOST, 5.0, 4.0)
            await asyncio.sleep(4)
            log.connected()
            await asyncio.sleep(5)
            assert turn < 2 or log.lost(LOST, 5.0, 4.0).startswith(TAKEN_OVER)
        found = said(caplog)
        assert len(found) <= 6, found
        [takeover, *_] = [line for line in found if "took over" in line]
        assert takeover.startswith(f"ERROR {TAKEN_OVER}")
        assert "mqtt.client_id" in takeover
        log.connected()
        await asyncio.sleep(100)
        assert said(caplog)[-1].startswith("INFO the connection to broker house:1883 holds again after 6 min")

    virtual.run(scenario())


def test_what_a_person_must_do_is_an_error_at_once(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        log = ConnectionLog(BROKER)
        log.lost(LOST, -1, 1)
        log.lost(BrokerError("it refuses the user name or password (mqtt.username, mqtt.password)"), -1, 2)
        log.lost(BrokerError("it refuses the user name or password (mqtt.username, mqtt.password)"), -1, 4)
        assert [line.split(" ", 1)[0] for line in said(caplog)] == ["WARNING", "ERROR"]

    virtual.run(scenario())
