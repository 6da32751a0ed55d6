"""The decision under behaviours and alarms at random: what must hold whatever a line does."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from transmitters.schedule_world import DROPS, OK, REFUSES, SILENT, Behaviour, World, answering

from bridge.transmitters.routes import Route

FAULTY_FOR_S = 300.0
CODES = ("BA", "FA", "ZZ")
BEHAVIOURS = [OK, OK, SILENT, DROPS, REFUSES, Behaviour(connect_s=3.0), Behaviour(answer_s=4.0)] + [
    answering(status) for status in (4, 5, 9, 10, 98, 99, 101, 77)
]


@dataclass(frozen=True)
class Raised:
    at: float
    code: str
    detector: str
    restore: bool
    urgent: bool


raised = st.builds(
    Raised,
    at=st.floats(0, FAULTY_FOR_S + 100),
    code=st.sampled_from(CODES),
    detector=st.sampled_from(["", "1", "2"]),
    restore=st.booleans(),
    urgent=st.booleans(),
)
seeds = st.lists(st.integers(0, len(BEHAVIOURS) - 1), min_size=12, max_size=12)
some = st.sets(st.integers(1, 25), max_size=3)


def behaves(plan: list[int], refused: set[int], silent: set[int]) -> World:
    """Return a world in which each route changes each 50 s, and is good after 300 s.

    Alarms in `refused` are never accepted, those in `silent` never answered.
    """

    def how(route: Route, number: int | None, now: float) -> Behaviour:
        if number in refused:
            return answering(5)
        if number in silent:
            return SILENT
        if now >= FAULTY_FOR_S:
            return OK
        return BEHAVIOURS[plan[(int(now // 50) * 2 + (route.receiver == "secondary")) % len(plan)]]

    return World(how, level=90)


@settings(deadline=None, max_examples=50)
@given(plan=seeds, alarms=st.lists(raised, max_size=25), refused=some, silent=some)
def test_schedule_whatever_happens(plan: list[int], alarms: list[Raised], refused: set[int], silent: set[int]) -> None:
    world = behaves(plan, refused, silent)
    chains: dict[int, Raised] = {}

    def store(each: Raised) -> None:
        number = world.raise_alarm(each.code, urgent=each.urgent, restore=each.restore, detector=each.detector)
        chains[number] = each

    for each in sorted(alarms, key=lambda raised: raised.at):
        world.at(each.at, lambda each=each: store(each))  # type: ignore[misc]
    world.run(FAULTY_FOR_S + 4300)

    never = refused | silent
    check_all_delivered(world, chains, never, at_once=not silent)
    check_order(world, chains, never)
    for number in chains:
        if (world.delivered.get(number) or float("inf")) > world.accepted[number] + 30.001:
            assert world.reported[number] <= world.accepted[number] + 30.001
    assert len(world.logins) <= 60


def check_all_delivered(world: World, chains: dict[int, Raised], never: set[int], *, at_once: bool) -> None:
    behind = {later for later in chains for first in never & set(chains) if follows(chains, later, first)}
    due = set(chains) - never - behind
    assert due <= set(world.delivered), "an alarm was not delivered although both receivers are good again"
    for number in due:
        free = not any(follows(chains, number, first) for first in chains if first < number)
        if at_once and free and world.accepted[number] >= FAULTY_FOR_S + 62 and not world.line.logins.refusals:
            assert first_sent(world, number) - world.accepted[number] < 11


def check_order(world: World, chains: dict[int, Raised], never: set[int]) -> None:
    for later in world.delivered:
        before = {first for first in chains if directly_follows(chains, later, first)}
        assert not before & never
        assert all(world.delivered[first] < world.delivered[later] for first in before), "what it follows came later"


def first_sent(world: World, number: int) -> float:
    return min(at for at, sent, _ in world.sent if sent == number)


def directly_follows(chains: dict[int, Raised], later: int, first: int) -> bool:
    a, b = chains[first], chains[later]
    same = a.detector == b.detector or not a.detector or not b.detector
    return first < later and a.code == b.code and a.restore != b.restore and same


def follows(chains: dict[int, Raised], later: int, first: int) -> bool:
    """Return whether a chain leads from `later` back to `first`."""
    if directly_follows(chains, later, first):
        return True
    return any(
        directly_follows(chains, later, between) and follows(chains, between, first)
        for between in chains
        if first < between < later
    )


@settings(deadline=None, max_examples=25)
@given(count=st.integers(1, 60), status=st.sampled_from([5, 98, 99, 9, 101]), urgent=st.booleans())
def test_schedule_new_alarm_never_starves_behind_refused_ones(count: int, status: int, *, urgent: bool) -> None:
    world = World(lambda route, number, now: answering(status, 0.25) if number and number <= count else OK)
    for _ in range(count):
        world.raise_alarm("ZZ", detector=str(_))
    world.run(200)
    fire = world.raise_alarm("FA", urgent=urgent)
    world.run(230)
    assert world.delivered[fire] - world.accepted[fire] < 3
