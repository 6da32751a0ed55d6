"""The topic `record`: at the start, each full hour, and at the end of a month for all of it."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support import virtual
from support.stores import open_store

from bridge.common.clock import Clock
from bridge.mqtt.outgoing import Outgoing
from bridge.record.figures import Subject
from bridge.record.recorder import Recorder
from bridge.store.edges import Edges
from bridge.transmitters.record import RecordPublisher
from bridge.transmitters.topics import Topics

pytestmark = pytest.mark.usefixtures("each_store")

BEGIN = datetime(2026, 3, 31, 22, 30).astimezone()
MARCH, APRIL = (datetime(2026, month, 1).astimezone() for month in (3, 4))


class Published(Outgoing):
    def __init__(self) -> None:
        super().__init__(asyncio.Event())
        self.records: list[dict[str, Any]] = []

    def state(self, topic: str, payload: str) -> None:
        assert topic == "b/transmitter/home/record"
        self.records.append(json.loads(payload))


def test_it_is_published_each_hour_and_for_a_whole_month(tmp_path: Path) -> None:
    async def main() -> list[dict[str, Any]]:
        loop = asyncio.get_running_loop()
        offset = BEGIN.timestamp() - loop.time()
        clock = Clock(lambda: loop.time() + offset, loop.time, "test", lambda: True)
        async with await open_store(tmp_path / "store.sqlite") as store:
            edges, out = Edges(store), Published()
            recorder = Recorder(edges, clock)
            topics = Topics("b", {"home": {}})
            publisher = RecordPublisher(topics, edges, out, [Subject("home", ("primary",))], clock)
            running = [asyncio.create_task(each.run()) for each in (recorder, publisher)]
            recorder.note("home", "link", up=True)
            await asyncio.sleep(600)
            recorder.note("home", "link", up=False)
            await asyncio.sleep(60)
            recorder.note("home", "link", up=True)
            await asyncio.sleep(4 * 3600)
            for task in running:
                task.cancel()
            await asyncio.wait(running)
            return out.records

    found = virtual.run(main())
    until = [datetime.fromisoformat(each["until"]) for each in found]
    assert until == [BEGIN, *(BEGIN + timedelta(minutes=minutes) for minutes in (30, 90, 150, 210))]
    assert [each["month"] for each in found] == ["2026-03"] * 3 + ["2026-04"] * 2
    assert [datetime.fromisoformat(each["since"]) for each in found] == [MARCH] * 3 + [APRIL] * 2
    assert [each["link"]["availability"] for each in found] == [None, 96.666, 98.888, 100.0, 100.0]
    whole = found[2]["link"]
    assert until[2] == APRIL
    assert (whole["down_s"], whole["unknown_s"]) == (60, (BEGIN - MARCH).total_seconds())


def test_nothing_is_published_while_the_clock_is_wrong(tmp_path: Path) -> None:
    async def main() -> int:
        clock = Clock(lambda: 5.0, asyncio.get_running_loop().time, "test", lambda: True)
        async with await open_store(tmp_path / "store.sqlite") as store:
            out = Published()
            publisher = RecordPublisher(Topics("b", {"home": {}}), Edges(store), out, [Subject("home")], clock)
            running = asyncio.create_task(publisher.run())
            await asyncio.sleep(10)
            running.cancel()
            await asyncio.wait([running])
            return len(out.records)

    assert virtual.run(main()) == 0
