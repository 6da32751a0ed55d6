"""What is stored of the lines: edges, runs, their ends when the bridge is killed, and how often that is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support import virtual
from support.stores import open_store

from bridge.common.clock import Clock
from bridge.common.errors import StoreError
from bridge.record.availability import timeline
from bridge.record.recorder import Recorder
from bridge.store import edges as edges_module
from bridge.store.database import Store
from bridge.store.edges import Edges, OpenRun

pytestmark = pytest.mark.usefixtures("each_store")

BEGIN = datetime(2026, 3, 10, 12, 30, tzinfo=UTC).timestamp()


class Lab:
    """A recorder over a store, in virtual time; `wall` is the clock of the machine."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.edges = Edges(store)
        self.offset = BEGIN - asyncio.get_running_loop().time()
        self.clock = Clock(lambda: self.wall, asyncio.get_running_loop().time, "test", lambda: True)
        self.recorder = Recorder(self.edges, self.clock)
        self.running: asyncio.Task[None] | None = None
        self.writes = 0
        true_write = store.write

        async def write(work: Callable[..., object]) -> object:
            self.writes += 1
            return await true_write(work)

        store.write = write  # type: ignore[method-assign,assignment]

    @property
    def wall(self) -> float:
        return asyncio.get_running_loop().time() + self.offset

    async def start(self) -> None:
        self.recorder = Recorder(self.edges, self.clock)
        self.running = asyncio.create_task(self.recorder.run())
        await asyncio.sleep(0)

    async def kill(self) -> None:
        assert self.running is not None
        self.running.cancel()
        await asyncio.wait([self.running])

    async def stop(self) -> None:
        await self.kill()
        await self.recorder.stop()

    def link(self, *, up: bool) -> None:
        self.recorder.note("home", "link", up=up)

    async def spans(self, until: float = 0.0) -> list[tuple[float, float, bool | None]]:
        """Return what is known of the link from the beginning on, times in seconds since then."""
        end = BEGIN + until if until else self.wall
        runs = (await self.edges.runs(BEGIN, end)).of("home")
        found = timeline(runs, "home", "link").between(BEGIN, end)
        return [(round(span.start - BEGIN, 3), round(span.end - BEGIN, 3), span.up) for span in found]


@asynccontextmanager
async def lab(path: Path) -> AsyncIterator[Lab]:
    async with await open_store(path / "store.sqlite") as store:
        yield Lab(store)


def in_lab(path: Path, body: Callable[[Lab], Awaitable[None]]) -> None:
    async def main() -> None:
        async with lab(path) as each:
            await each.start()
            try:
                await body(each)
            finally:
                await each.kill()

    virtual.run(main())


def test_changes_are_stored_with_their_time(tmp_path: Path) -> None:
    async def body(each: Lab) -> None:
        each.link(up=True)
        await asyncio.sleep(100)
        each.link(up=False)
        await asyncio.sleep(20)
        each.link(up=True)
        each.link(up=True)
        await asyncio.sleep(30)
        await each.stop()
        assert await each.spans() == [(0, 100, True), (100, 120, False), (120, 150, True)]

    in_lab(tmp_path, body)


def test_the_time_between_two_runs_is_unknown(tmp_path: Path) -> None:
    async def body(each: Lab) -> None:
        each.link(up=False)
        await asyncio.sleep(100)
        await each.stop()
        await asyncio.sleep(50)
        await each.start()
        await asyncio.sleep(10)
        each.link(up=False)
        await asyncio.sleep(40)
        await each.stop()
        assert await each.spans() == [(0, 100, False), (100, 160, None), (160, 200, False)]

    in_lab(tmp_path, body)


@pytest.mark.parametrize("killed_after", [200.0, 1799.0, 5000.0, 100_000.0])
def test_a_killed_run_ends_at_its_last_write_an_hour_old_at_most(tmp_path: Path, killed_after: float) -> None:
    async def body(each: Lab) -> None:
        each.link(up=True)
        await asyncio.sleep(killed_after)
        await each.kill()
        (start, end, up), *rest = await each.spans()
        assert (start, up) == (0, True)
        assert killed_after - 3601 <= end <= killed_after
        assert rest == [(end, killed_after, None)]

    in_lab(tmp_path, body)


def test_an_idle_day_costs_24_writes(tmp_path: Path) -> None:
    async def body(each: Lab) -> None:
        each.link(up=True)
        await asyncio.sleep(60)
        before = each.writes
        await asyncio.sleep(86400)
        assert each.writes - before == 24

    in_lab(tmp_path, body)


def test_changes_at_once_are_one_write(tmp_path: Path) -> None:
    async def body(each: Lab) -> None:
        await asyncio.sleep(60)
        before = each.writes
        for number in range(100):
            each.recorder.note(f"t{number}", "link", up=True)
        await asyncio.sleep(60)
        assert each.writes - before == 1

    in_lab(tmp_path, body)


@pytest.mark.parametrize("jump", [3600.0, -40.0, 86400.0])
def test_a_clock_that_is_set_begins_a_new_run(tmp_path: Path, jump: float) -> None:
    async def body(each: Lab) -> None:
        each.link(up=True)
        await asyncio.sleep(600)
        each.link(up=False)
        await asyncio.sleep(100)
        each.offset += jump
        await asyncio.sleep(100)
        each.link(up=True)
        await asyncio.sleep(100)
        await each.stop()
        found = await each.spans()
        down = sum(end - start for start, end, up in found if up is False)
        unknown = sum(end - start for start, end, up in found if up is None)
        if jump > 0:
            assert jump - 61 <= unknown <= jump + 61
            assert down == pytest.approx(200, abs=61)
        else:
            assert (unknown, found[0]) == (0, (0, 600, True))
            assert down == pytest.approx(200 + jump, abs=1)

    in_lab(tmp_path, body)


def test_a_small_step_back_keeps_the_order_of_changes(tmp_path: Path) -> None:
    async def body(each: Lab) -> None:
        each.link(up=True)
        await asyncio.sleep(100)
        each.link(up=False)
        each.offset -= 3
        await asyncio.sleep(1)
        each.link(up=True)
        await asyncio.sleep(100)
        await each.stop()
        assert (await each.spans(150))[-1][2] is True
        assert not [span for span in await each.spans(150) if span[2] is False]

    in_lab(tmp_path, body)


def test_a_machine_that_slept_did_not_measure(tmp_path: Path) -> None:
    """The time of day goes on while the machine sleeps; the clock of the event loop does not."""

    async def body(each: Lab) -> None:
        each.link(up=True)
        await asyncio.sleep(600)
        each.offset += 8 * 3600
        await asyncio.sleep(600)
        await each.stop()
        unknown = sum(end - start for start, end, up in await each.spans() if up is None)
        assert unknown == pytest.approx(8 * 3600, abs=61)

    in_lab(tmp_path, body)


def test_nothing_is_noted_while_the_clock_is_wrong(tmp_path: Path) -> None:
    async def body(each: Lab) -> None:
        true, each.offset = each.offset, 0.0  # 1970
        await each.kill()
        await each.start()
        each.link(up=True)
        await asyncio.sleep(300)
        each.offset = true
        await asyncio.sleep(300)
        await each.stop()
        (start, end, up), last = await each.spans()
        assert (start, up, last[1:]) == (0, None, (600, True))
        assert 300 <= end <= 361

    in_lab(tmp_path, body)


def test_each_month_begins_a_run_with_what_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that old runs can be deleted without what a later month begins with."""
    monkeypatch.setattr("bridge.record.recorder._LOOK_S", 3600.0)

    async def body(each: Lab) -> None:
        each.link(up=True)
        await asyncio.sleep(40 * 86400)
        await each.stop()
        (spans,) = await each.spans()
        assert spans == (0, 40 * 86400, True)
        runs = (await each.edges.runs(0, each.wall)).of("home")
        assert len(runs) == 2
        assert runs[0].end == runs[1].start
        april = datetime(2026, 4, 1).astimezone().timestamp()
        assert april <= runs[1].start <= april + 3600

    in_lab(tmp_path, body)


def test_runs_are_kept_for_13_months(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.record.recorder._LOOK_S", 86400.0)
    monkeypatch.setattr("bridge.record.recorder._WRITE_EACH_S", 86400.0)

    async def body(each: Lab) -> None:
        each.link(up=True)
        await asyncio.sleep(500 * 86400)
        await each.stop()
        runs = (await each.edges.runs(0, each.wall)).of("home")
        assert 13 * 28 * 86400 < each.wall - runs[0].start < 15 * 31 * 86400
        assert all(run.edges for run in runs)
        known = await each.store.read(
            lambda db: db.execute("SELECT count(DISTINCT run) AS n FROM edge").fetchone()["n"]
        )
        assert known == len(runs)

    in_lab(tmp_path, body)


def test_edges_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edges_module, "_MOST_EDGES", 50)
    monkeypatch.setattr(edges_module, "_MOST_RUNS", 9)

    async def body(each: Lab) -> None:
        for _ in range(12):
            await each.stop()
            await each.start()
            for number in range(10):
                each.link(up=number % 2 == 0)
                await asyncio.sleep(10)
        await each.stop()
        sql = "SELECT count(*) AS edges, count(DISTINCT run) AS runs FROM edge"
        row = await each.store.read(lambda db: db.execute(sql).fetchone())
        assert (row["edges"], row["runs"]) == (60, 6)  # 50, and those of the run that goes on

    in_lab(tmp_path, body)


def test_what_the_store_cannot_take_is_stored_later(tmp_path: Path) -> None:
    async def body(each: Lab) -> None:
        true_save, each.edges.save = each.edges.save, _full  # type: ignore[method-assign]
        each.link(up=True)
        await asyncio.sleep(500)
        each.link(up=False)
        await asyncio.sleep(500)
        each.edges.save = true_save  # type: ignore[method-assign]
        await asyncio.sleep(60)
        await each.kill()
        assert (await each.spans(900)) == [(0, 500, True), (500, 900, False)]

    in_lab(tmp_path, body)


async def _full(run: OpenRun) -> None:
    raise StoreError(f"the disk is full for {run.id}")


def test_a_store_that_fails_for_long_costs_the_run_not_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.record.recorder._MOST_UNSAVED", 20)

    async def body(each: Lab) -> None:
        true_save, each.edges.save = each.edges.save, _full  # type: ignore[method-assign]
        for number in range(100):
            each.link(up=number % 2 == 0)
            await asyncio.sleep(10)
        each.link(up=True)
        each.edges.save = true_save  # type: ignore[method-assign]
        await asyncio.sleep(100)
        assert await each.store.read(lambda db: db.execute("SELECT count(*) AS n FROM edge").fetchone()["n"]) < 25
        assert (await each.spans())[0][2] is None
        await each.stop()
        assert (await each.spans())[-1][2] is True

    in_lab(tmp_path, body)


def test_thousands_of_parts_that_change_at_once_cost_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.record.recorder._MOST_UNSAVED", 20)

    async def body(each: Lab) -> None:
        for up in (True, False, True):
            for number in range(50):
                each.recorder.note(f"t{number}", "link", up=up)
            each.link(up=up)
        await asyncio.sleep(100)
        await each.stop()
        [span] = await each.spans()
        assert span[2] is True

    in_lab(tmp_path, body)


def test_a_stop_that_is_cut_off_while_it_writes_counts_nothing_twice(tmp_path: Path) -> None:
    async def body(each: Lab) -> None:
        each.link(up=True)
        await asyncio.sleep(100)
        await each.edges.save(OpenRun(BEGIN, BEGIN + 100))
        await each.stop()
        spans = await each.spans()
        assert sum(end - start for start, end, _ in spans) == pytest.approx(100)

    in_lab(tmp_path, body)


def test_results_come_in_portions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edges_module, "_SCANNED", 7)

    async def body(each: Lab) -> None:
        insert = "INSERT INTO history (transmitter, request, completed_at, result) VALUES (?, 'alarm', ?, '{}')"
        for number in range(20):
            values = ("home" if number % 2 else "other", float(number))
            await each.store.write(lambda db, values=values: db.execute(insert, values))  # type: ignore[misc]
        portions = [portion async for portion in each.edges.results(5.0, "home")]
        assert [result.id for portion in portions for result in portion] == [*range(6, 21, 2)]
        assert max(map(len, portions)) <= 4
        assert len([r for p in [p async for p in each.edges.results()] for r in p]) == 20

    in_lab(tmp_path, body)
