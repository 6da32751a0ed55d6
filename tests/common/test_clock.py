"""Whether the wall clock is right, and what is done by it and what by the steady one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support import virtual
from support.line import BUSY, Bench
from support.outbox import HOME, command, opened, put

from bridge.common.clock import Clock
from bridge.common.models import Alarm, Moment
from bridge.store.outbox import Outbox

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
YEAR_1970 = datetime(1970, 1, 1, 0, 1, tzinfo=UTC) - NOW
AGE = timedelta(hours=1)
"""What the transmitter of `Bench` takes as too old."""


class Machine:
    """One whose wall clock may be set; `synchronised` is what its kernel says."""

    def __init__(self) -> None:
        self.true = NOW
        self.error = timedelta()
        self.booted = NOW - timedelta(seconds=100)
        self.boots = 1
        self.synchronised: bool | None = False

    @property
    def shown(self) -> datetime:
        return self.true + self.error

    def steady(self) -> float:
        return (self.true - self.booted).total_seconds()

    def clock(self, *, shared: bool = False) -> Clock:
        return Clock(self.wall, self.steady, f"boot {self.boots}", lambda: self.synchronised, shared=shared)

    def wall(self) -> float:
        return self.shown.timestamp()

    def boot(self, after: timedelta, error: timedelta) -> None:
        """Switch the machine on again, so much later, with a clock that is so wrong."""
        self.true += after
        self.booted, self.error = self.true, error
        self.boots += 1


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_a_clock_of_which_nothing_is_known_is_not_wrong_and_not_sure(machine: Machine) -> None:
    clock = machine.clock()
    assert (clock.is_wrong, clock.is_sure) == (False, False)
    machine.synchronised = True
    assert (clock.is_wrong, clock.is_sure) == (False, True)
    machine.synchronised = None
    assert (clock.is_wrong, clock.is_sure) == (False, False)


def test_before_2026_it_is_wrong_whatever_anybody_says(machine: Machine) -> None:
    machine.error = YEAR_1970
    clock = machine.clock()
    for machine.synchronised in (None, False, True):
        assert (clock.is_wrong, clock.is_sure) == (True, False)


def test_it_is_wrong_until_it_is_set_after_a_boot_but_not_without_end(machine: Machine) -> None:
    clock = machine.clock()
    clock.was_synchronised = True
    assert clock.is_wrong
    machine.true = machine.booted + timedelta(seconds=899)
    assert clock.is_wrong
    machine.synchronised = True
    assert not clock.is_wrong
    machine.synchronised = False
    machine.true += timedelta(seconds=1)
    assert not clock.is_wrong, "a time service that is away for long makes no clock wrong"


def test_a_machine_that_never_had_a_time_service_is_not_wrong_after_a_boot(machine: Machine) -> None:
    assert not machine.clock().is_wrong


@pytest.mark.parametrize("offset", [310.0, -86400.0, None])
def test_a_receiver_proves_nothing_against_ours(machine: Machine, offset: float | None) -> None:
    machine.synchronised = True
    clock = machine.clock()
    clock.heard("primary", offset)
    assert (clock.is_wrong, clock.is_sure) == (False, True)
    assert clock.offsets == ({} if offset is None else {"primary": offset})


def test_its_time_is_aware(machine: Machine) -> None:
    assert machine.clock().now() == NOW
    assert machine.clock().now().tzinfo is not None


def test_an_alarm_has_the_time_or_something_else_of_its_own(machine: Machine) -> None:
    clock, alarm = machine.clock(), Alarm("BA", section="1")
    at = datetime(2026, 3, 1, 12, 0, 1, 234567)  # noqa: DTZ001 - local time, as the wire has it
    assert clock.timed(alarm, at) == (Alarm("BA", "2026-03-01 12:00:01.234", section="1"), ())
    machine.error = YEAR_1970
    one, said = clock.timed(alarm, at)
    two, _ = clock.timed(alarm, at)
    assert one.transmitter_time is two.transmitter_time is None
    assert one.reference != two.reference
    assert "transmitter_time" in said[0]
    assert clock.timed(Alarm("BA", reference="mine"), at)[0].reference == "mine"


def test_the_machines_own_clock_goes_on_over_processes() -> None:
    one, two = Clock(), Clock()
    first, second = one.moment(), two.moment()
    assert first.boot == second.boot != ""
    assert 0 <= second.steady - first.steady < 5
    assert abs((one.now() - datetime.now(UTC)).total_seconds()) < 5


def test_a_machine_that_names_no_boot_counts_from_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    moment = Clock().moment()
    assert 0 <= moment.steady < 5
    assert moment.boot != Clock().moment().boot


# What waits, over jumps and boots


class Waiting:
    """An alarm that no receiver takes, on a machine whose clock jumps and which is switched off and on."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine = machine
        self.folder = folder

    async def run(self, *, proved: bool, lived: timedelta, after: timedelta | None, error: timedelta) -> str | None:
        """Let it wait for `lived`, then set the clock or, `after` a time, switch on with one so wrong.

        Return the outcome, None while it waits. `proved`: the clock is synchronised, unless it is wrong.
        """
        machine = self.machine
        machine.synchronised = proved
        async with opened(self.folder) as outbox, self._bench(outbox) as bench:
            at = machine.shown
            alarm = replace(command(at=at), moment=bench.clock.moment())
            bench.dialer.behaves = lambda receiver, request: BUSY[0]
            await put(outbox, alarm)
            await bench.settle()
            machine.true += lived
            if after is None:
                machine.error = error
                await bench.settle(11)
                return await self._outcome(bench)
        machine.boot(after, error)
        machine.synchronised = proved and not error
        async with opened(self.folder) as outbox, self._bench(outbox) as bench:
            bench.dialer.behaves = lambda receiver, request: BUSY[0]
            await bench.settle(11)
            return await self._outcome(bench)

    def _bench(self, outbox: Outbox) -> Bench:
        return Bench(self.folder, outbox, None, own_clock=self.machine.clock())

    async def _outcome(self, bench: Bench) -> str | None:
        found = await bench.outcomes()
        return found[0] if found else None


NONE, SOON, LATE = timedelta(), timedelta(minutes=30), timedelta(minutes=70)


@pytest.mark.parametrize("proved", [False, True])
@pytest.mark.parametrize("error", [NONE, DAY, -DAY, 300 * DAY, YEAR_1970])
@pytest.mark.parametrize(("lived", "outcome"), [(SOON, None), (LATE, "expired")])
def test_a_jump_neither_expires_nor_keeps(
    machine: Machine, tmp_path: Path, *, proved: bool, error: timedelta, lived: timedelta, outcome: str | None
) -> None:
    waiting = Waiting(machine, tmp_path)
    assert virtual.run(waiting.run(proved=proved, lived=lived, after=None, error=error)) == outcome


@pytest.mark.parametrize("proved", [False, True])
@pytest.mark.parametrize("error", [NONE, DAY, -DAY, 300 * DAY, YEAR_1970])
def test_a_boot_with_a_wrong_clock_expires_nothing(
    machine: Machine, tmp_path: Path, *, proved: bool, error: timedelta
) -> None:
    waiting = Waiting(machine, tmp_path)
    assert virtual.run(waiting.run(proved=proved, lived=SOON, after=timedelta(minutes=1), error=error)) is None


@pytest.mark.parametrize(
    ("proved", "error", "outcome"),
    [(True, NONE, "expired"), (False, NONE, None), (True, DAY, None), (True, -DAY, None), (False, YEAR_1970, None)],
)
def test_over_a_boot_only_a_clock_that_is_proved_expires(
    machine: Machine, tmp_path: Path, *, proved: bool, error: timedelta, outcome: str | None
) -> None:
    waiting = Waiting(machine, tmp_path)
    assert virtual.run(waiting.run(proved=proved, lived=SOON, after=DAY, error=error)) == outcome


def test_an_alarm_of_a_boot_before_expires_after_its_age_in_this_one(machine: Machine, tmp_path: Path) -> None:
    async def body() -> list[str]:
        async with opened(tmp_path) as outbox:
            await put(outbox, command())  # of a boot of which nothing is known
            async with Bench(tmp_path, outbox, None, own_clock=machine.clock()) as bench:
                bench.dialer.behaves = lambda receiver, request: BUSY[0]
                await bench.settle()
                assert await bench.outcomes() == []
                machine.true += AGE + SOON
                await bench.settle(11)
                return await bench.outcomes()

    assert virtual.run(body()) == ["expired"]


@pytest.mark.parametrize(
    ("boot", "shared", "outcome"),
    [("a boot before", False, ["expired"]), ("a boot before", True, []), ("", False, [])],
    ids=["of this machine", "perhaps of another machine", "of a boot that is not known"],
)
def test_only_an_earlier_boot_of_this_machine_makes_old(
    machine: Machine, tmp_path: Path, *, boot: str, shared: bool, outcome: list[str]
) -> None:
    machine.true += DAY  # it has run for longer than an alarm may wait

    async def body() -> list[str]:
        async with opened(tmp_path) as outbox:
            await put(outbox, replace(command(at=machine.shown), moment=Moment(boot, 5.0)))
            async with Bench(tmp_path, outbox, None, own_clock=machine.clock(shared=shared)) as bench:
                bench.dialer.behaves = lambda receiver, request: BUSY[0]
                await bench.settle(11)
                return await bench.outcomes()

    assert virtual.run(body()) == outcome


def test_how_long_something_waits_for_certain(machine: Machine) -> None:
    clock = machine.clock()
    then, at = clock.moment(), machine.shown
    machine.true += SOON
    machine.error = 300 * DAY
    assert clock.age_s(then, at) == SOON.total_seconds()
    machine.boot(LATE, NONE)
    clock = machine.clock()
    assert clock.age_s(then, at) == 0, "since the boot, for certain"
    machine.synchronised = True
    assert clock.age_s(then, at) == 0, "it was not proved then"
    assert clock.age_s(replace(then, sure=True), at) == (SOON + LATE).total_seconds()
    assert clock.age_s(Moment(), at) == 0
    machine.true += SOON
    assert clock.age_s(then, at) == SOON.total_seconds()
    assert clock.age_s(Moment(), at) == 0
    shared = machine.clock(shared=True)
    assert shared.age_s(then, at) == 0, "the boot of another machine"
    assert shared.age_s(replace(then, sure=True), at) == (SOON + LATE + SOON).total_seconds()


def test_the_outbox_asks_for_the_first_of_those_that_wait(tmp_path: Path) -> None:
    async def body() -> None:
        async with opened(tmp_path) as outbox:
            assert await outbox.first(HOME) is None
            first, _ = await put(outbox, command(), command(code="FA"))
            assert await outbox.first(HOME) == first
            assert await outbox.first("other") is None

    asyncio.run(body())
