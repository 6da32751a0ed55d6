"""The life of commands: whatever receivers answer and the disk refuses, and wherever the power fails."""

from __future__ import annotations

import asyncio
import json
import logging
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import virtual
from support.line import DEAD, Bench
from support.outbox import HOME, NOW, command, entry, opened

from bridge.common.models import AlarmIdentity, Command, Request
from bridge.store.outbox import Outbox

pytestmark = pytest.mark.usefixtures("each_store")

ALARM, RESTORE, PING, AUTH = Request.ALARM, Request.RESTORE, Request.PING, Request.AUTH
FINAL = {"accepted", "duplicate", "rejected", "unreachable", "expired", "invalid"}
MAX_AGE = timedelta(hours=1)

Step = tuple[str, list[Command], list[int | str], float]
"""What happens: the commands that come, what is answered, the seconds until then; a crash, or an age."""

_commands = st.builds(
    command,
    st.sampled_from([ALARM, ALARM, RESTORE, PING, AUTH]),
    st.sampled_from(["BA", "FA"]),
    section=st.sampled_from(["", "1", "2"]),
)
_answers = st.sampled_from([0, 0, 10, 3, 4, 5, 99, 77, DEAD])
_steps: st.SearchStrategy[Step] = st.tuples(
    st.sampled_from(["time", "time", "crash", "age"]),
    st.lists(_commands, max_size=3),
    st.lists(_answers, max_size=4),
    st.sampled_from([0.0, 1.0, 60.0]),
)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


class Life:
    """A transmitter over its restarts, with all that was ever told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shift = timedelta()
        self.given: dict[str, Command] = {}
        self.sent: list[str] = []
        self.told: list[dict[str, str]] = []

    @property
    def wall(self) -> datetime:
        return NOW + self.shift + timedelta(seconds=asyncio.get_running_loop().time() - 1000)

    @asynccontextmanager
    async def bench(self) -> AsyncIterator[Bench]:
        async with opened(self.folder) as outbox:
            found = Bench(self.folder, outbox)
            found.wall = self.wall
            try:
                yield found
            finally:
                await found.crash()

    async def put(self, outbox: Outbox, commands: list[Command]) -> None:
        """Store commands, each with a reference of its own."""
        entries = []
        for wanted in commands:
            reference = str(len(self.given))
            numbered = command(
                wanted.request,
                wanted.identity.event_code,
                section=wanted.identity.section,
                reference=reference,
                at=self.wall,
            )
            self.given[reference] = numbered
            entries.append(entry(numbered))
        await outbox.add(entries)

    async def tell(self, outbox: Outbox) -> None:
        owed = (await outbox.to_publish()).results
        self.told += [json.loads(each.payload) for each in owed]
        await outbox.published(owed)

    async def live(self, steps: list[Step]) -> None:
        pending = list(steps)
        while pending:
            async with self.bench() as bench:
                while pending:
                    kind, commands, answers, after = pending.pop(0)
                    if kind == "age":
                        self.shift += MAX_AGE
                        bench.wall = self.wall
                    bench.answer(*answers)
                    await self.put(bench.outbox, commands)
                    await bench.settle(after)
                    if kind == "crash":
                        break
                    await self.tell(bench.outbox)
        async with self.bench() as bench:
            await bench.settle(4000)
            await self.tell(bench.outbox)
            self.left = [(queued.command.reference, queued.state) for queued in await bench.outbox.list()]
            self.active = [alarm.identity for alarm in (await bench.outbox.status(HOME)).active]

    def outcomes(self, reference: str) -> list[str]:
        return [each["outcome"] for each in self.told if each["reference"] == reference]

    @property
    def delivered(self) -> list[Command]:
        """What receivers took, in the order in which that was told."""
        return [self.given[each["reference"]] for each in self.told if each["outcome"] in ("accepted", "duplicate")]


def _related(one: Command, other: Command) -> bool:
    if {one.request, other.request} != {ALARM, RESTORE} or one.identity.event_code != other.identity.event_code:
        return False
    return one.identity.whole_code or other.identity.whole_code or one.identity == other.identity


def _active(delivered: list[Command]) -> set[AlarmIdentity]:
    """The contract's rule, written plainly."""
    found: set[AlarmIdentity] = set()
    for each in delivered:
        if each.request is ALARM:
            found.add(each.identity)
        elif each.request is RESTORE and each.identity.whole_code:
            found = {other for other in found if other.event_code != each.identity.event_code}
        elif each.request is RESTORE:
            found.discard(each.identity)
    return found


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.lists(_steps, max_size=6))
def test_every_command_ends_once_and_in_order(steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        life = Life(Path(folder))
        virtual.run(life.live(steps))
    for reference in life.given:
        ends = Counter(life.outcomes(reference))
        finals = sum(ends[each] for each in FINAL)
        if life.given[reference].request in (PING, AUTH):
            finals += ends["unauthorized"]
        assert finals == 1, (reference, ends)
    assert all(state == "rejected" for _, state in life.left)
    assert {reference for reference, _ in life.left} == {
        each["reference"] for each in life.told
        if each["outcome"] == "rejected" and life.given[each["reference"]].alarm
    }  # fmt: skip
    assert set(life.active) == _active(life.delivered)
    delivered = life.delivered
    for number, each in enumerate(delivered):
        assert each.reference
        for earlier in delivered[number + 1 :]:
            assert earlier.reference
            assert not (_related(each, earlier) and int(earlier.reference) < int(each.reference))
