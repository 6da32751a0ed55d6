"""Availability from edges and runs: what is up, down and unknown, and that nothing is counted twice."""

from __future__ import annotations

import math
from datetime import date
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.common.runs import Edge, Run
from bridge.record.availability import Availability, Span, timeline
from bridge.record.months import Month

STOCKHOLM = ZoneInfo("Europe/Stockholm")


def run(start: float, end: float, *changes: tuple[float, bool], part: str = "link") -> Run:
    return Run(start, end, tuple(Edge("home", part, at, up) for at, up in changes))


def measured(*runs: Run, start: float = 0.0, end: float = 100.0) -> Availability:
    return timeline(runs, "home", "link").availability(start, end)


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ((), Availability(0, 0, 100)),
        ((run(0, 100, (0, True)),), Availability(100, 0, 0)),
        ((run(0, 100),), Availability(0, 0, 100)),
        ((run(0, 100, (10, True)),), Availability(90, 0, 10)),
        ((run(0, 100, (0, True), (40, False), (60, True)),), Availability(80, 20, 0, 20, 1)),
        ((run(0, 100, (0, False)),), Availability(0, 100, 0, 100, 1)),
        # two outages, the longer one second
        ((run(0, 100, (0, True), (10, False), (15, True), (20, False), (50, True)),), Availability(65, 35, 0, 30, 2)),
        # before the first run and after the last nothing is known
        ((run(20, 80, (20, True)),), Availability(60, 0, 40)),
        # killed at 30, started at 50: the outage before does not go on in between
        ((run(0, 30, (0, True), (25, False)), run(50, 100, (50, False), (60, True))), Availability(65, 15, 20, 10, 2)),
        # one run follows the other without a gap: one outage
        ((run(0, 50, (0, True), (45, False)), run(50, 100, (50, False), (55, True))), Availability(90, 10, 0, 10, 1)),
        # the clock was set back by 30 at 60: what the later run saw counts
        ((run(0, 60, (0, True), (40, False)), run(30, 100, (30, True))), Availability(100, 0, 0)),
        # and set back to before the earlier run
        ((run(50, 60, (50, False)), run(30, 100, (30, True))), Availability(70, 0, 30)),
        # a clock that was years ahead for one run
        ((run(0, 40, (0, True)), run(9000, 9100, (9000, False)), run(60, 100, (60, True))), Availability(80, 0, 20)),
        # an edge outside its run, and one that repeats the state
        ((run(20, 80, (0, True), (50, True), (90, False)),), Availability(60, 0, 40)),
        # edges out of order
        ((run(0, 100, (60, True), (0, True), (40, False)),), Availability(80, 20, 0, 20, 1)),
        # other parts and other transmitters say nothing
        ((run(0, 100, (0, True), part="receiver/primary"),), Availability(0, 0, 100)),
        ((Run(0, 100, (Edge("other", "link", 0, up=True),)),), Availability(0, 0, 100)),
        # a part of the time only
        ((run(-50, 200, (-50, True), (90, False), (150, True)),), Availability(90, 10, 0, 10, 1)),
    ],
)
def test_vectors(runs: tuple[Run, ...], expected: Availability) -> None:
    assert measured(*runs) == expected


@pytest.mark.parametrize(
    ("down", "percent"), [(0.0, 100.0), (1.0, 99.999), (3.0, 99.999), (26.0, 99.998), (2592000.0, 0.0)]
)
def test_percentages_are_rounded_down(down: float, percent: float) -> None:
    assert Availability(2592000.0 - down, down, 0.0).percent == percent


def test_nothing_known_is_no_percentage() -> None:
    assert Availability(unknown_s=5.0).percent is None


def test_spans_are_what_was_seen() -> None:
    found = timeline([run(10, 90, (10, True), (40, False), (50, True))], "home", "link").between(20, 100)
    expected = ((20, 40, True), (40, 50, False), (50, 90, True), (90, 100, None))
    assert found == [Span(*each) for each in expected]


times = st.floats(-50, 150, allow_nan=False)
runs = st.lists(
    st.builds(
        lambda start, length, changes: run(start, start + length, *changes),
        times, st.floats(-5, 60), st.lists(st.tuples(times, st.booleans()), max_size=6),
    ),
    max_size=6,
)  # fmt: skip


@given(runs)
def test_up_down_and_unknown_are_all_of_the_time(found: list[Run]) -> None:
    each = measured(*found)
    assert math.isclose(each.up_s + each.down_s + each.unknown_s, 100.0, abs_tol=1e-6)
    assert min(each.up_s, each.down_s, each.unknown_s) >= 0
    assert 0 <= each.longest_outage_s <= each.down_s + 1e-9


@given(runs, st.floats(0, 100))
def test_parts_of_a_time_sum_up(found: list[Run], cut: float) -> None:
    line = timeline(found, "home", "link")
    whole, first, second = line.availability(0, 100), line.availability(0, cut), line.availability(cut, 100)
    assert math.isclose(whole.down_s, first.down_s + second.down_s, abs_tol=1e-6)
    assert math.isclose(whole.unknown_s, first.unknown_s + second.unknown_s, abs_tol=1e-6)


@given(runs, st.floats(0, 100))
def test_nothing_is_known_of_the_time_without_a_run(found: list[Run], at: float) -> None:
    spans = timeline(found, "home", "link").between(0, 100)
    (state,) = {span.up for span in spans if span.start <= at < span.end} or {None}
    assert state is None or any(each.start <= at <= each.end for each in found)


def seconds(month: str) -> dict[date, float]:
    return {day: end - start for day, start, end in Month.parse(month).days(STOCKHOLM)}


def test_days_where_clocks_change() -> None:
    march, october = seconds("2026-03"), seconds("2026-10")
    assert {day: length for day, length in (march | october).items() if length != 86400} == {
        date(2026, 3, 29): 23 * 3600,
        date(2026, 10, 25): 25 * 3600,
    }
    for month, length in (
        ("2026-03", 31 * 24 - 1),
        ("2026-10", 31 * 24 + 1),
        ("2026-11", 30 * 24),
        ("2028-02", 29 * 24),
    ):
        found = Month.parse(month)
        assert found.end(STOCKHOLM) - found.start(STOCKHOLM) == sum(seconds(month).values()) == length * 3600


def test_months() -> None:
    december = Month.parse("2026-12")
    assert (str(december.next), Month.of(december.start(STOCKHOLM), STOCKHOLM)) == ("2027-01", december)
    assert Month.of(december.start(STOCKHOLM) - 1, STOCKHOLM) == Month(2026, 11)
    assert len(december.days(STOCKHOLM)) == 31


@pytest.mark.parametrize("text", ["", "2026", "2026-13", "2026-00", "0000-01", "26-11", "2026-11-01", "2026-1 "])
def test_what_is_not_a_month(text: str) -> None:
    with pytest.raises(ValueError, match="is not a month; use for example 2026-11"):
        Month.parse(text)
