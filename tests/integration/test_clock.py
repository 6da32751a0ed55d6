"""A machine whose clock is wrong, is set while the bridge runs, and is wrong again after a restart."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from support.harness import Site, live

DAY = 86400
MESSAGE = "transmitter_time: omitted because the clock of this machine is wrong"


def _set(site: Site, error: float) -> None:
    file = site.folder / "clock_error"
    beside = file.with_suffix(".new")
    beside.write_text(str(error), "ascii")
    beside.replace(file)


async def _start(site: Site, error: float) -> None:
    """Start a bridge whose clock is wrong by so many seconds."""
    _set(site, error)
    site.bridge.program = (str(Path(__file__).parents[1] / "support/clocked.py"),)
    site.bridge.variables["CLOCK_ERROR"] = str(site.folder / "clock_error")
    await site.start()


@live
async def test_a_clock_that_was_never_set_is_told_and_no_alarm_has_its_time(site: Site) -> None:
    await _start(site, 60 - time.time())  # 1970
    await site.event("clock_wrong")
    await site.mqtt.wait("bridge/problem", lambda value: value == "ON")
    assert "the clock is wrong: 1970-01-01" in await site.bridge.logs("clock is wrong")
    for _ in range(2):
        await site.send("alarm/raise", "BA")
    results = [seen.value for seen in await site.mqtt.wait_all("transmitter/home/alarm/response", 2)]
    assert [each["outcome"] for each in results] == ["accepted", "accepted"], "the same alarm twice is two alarms"
    assert [each["warnings"] for each in results] == [[MESSAGE], [MESSAGE]]
    assert [each.transmitter_time for each in site.received()] == [None, None]
    assert [each.reference for each in site.received()] == [each["reference"] for each in results]
    mine = {"event_code": "FA", "transmitter_time": "2026-03-01 12:00:00.000", "reference": "mine"}
    told = await _result(site, mine)
    assert "warnings" not in told or not told["warnings"]
    assert site.received()[-1].transmitter_time == mine["transmitter_time"]


async def _result(site: Site, alarm: object) -> dict[str, object]:
    """Publish an alarm and return its result, whatever time that has."""
    mark = site.mqtt.mark
    await site.send("alarm/raise", alarm)
    return await site.result(after=mark)


@live
async def test_a_receiver_whose_clock_is_far_from_ours_is_a_warning_and_nothing_else(site: Site) -> None:
    await _start(site, -DAY)
    first = await _result(site, "BA")
    assert abs(float(str(first["clock_offset_s"])) - DAY) < 60
    await site.bridge.logs("the primary receiver differs from ours by +86")
    second = await _result(site, "FA")
    assert "warnings" not in second or not second["warnings"]
    assert all(each.transmitter_time for each in site.received())


@live
async def test_what_waits_neither_expires_nor_is_delayed_by_jumps_and_restarts(site: Site) -> None:
    site.home["max_age"] = "1h"
    await site.primary.stop()
    await site.secondary.stop()
    await _start(site, 0)
    await site.send("alarm/raise", {"event_code": "BA", "reference": "waits"})
    await site.mqtt.wait("transmitter/home/undelivered", lambda value: value["reference"] == "waits")
    for error in (DAY, -DAY, 60 - time.time()):
        _set(site, error)
        attempts = site.bridge.log.count("BA #1, attempt ")
        async with asyncio.timeout(30):
            while site.bridge.log.count("BA #1, attempt ") < attempts + 1:  # noqa: ASYNC110 - the log of a process
                await asyncio.sleep(0.05)
        health = await site.bridge.command("healthcheck")
        assert "waits for" not in health.stderr
    site.bridge.kill()
    await _start(site, 300 * DAY)
    await site.bridge.logs("BA #1, attempt ", after=len(site.bridge.log))
    await site.primary.start()
    result = await site.result(lambda value: value["reference"] == "waits", within=90)
    assert result["outcome"] == "accepted"
    assert [each.reference for each in site.received()] == ["waits"]
