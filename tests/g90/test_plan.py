"""The plan of reading: what is asked of a panel, and how often."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.g90.state.plan import Plan, Query, Reads

if TYPE_CHECKING:
    from collections.abc import Callable

EVERYTHING = [Query.STATUS, Query.HISTORY, Query.SENSORS, Query.FLAGS, Query.INFO, Query.RELAYS]


def drained(plan: Plan, now: float, *, answers: bool = True) -> tuple[Plan, list[Query]]:
    """Ask all that is due at `now`."""
    asked = []
    while (query := plan.next(now)) is not None:
        asked.append(query)
        plan = plan.began(query, now)
        plan = plan.answered(query, now) if answers else plan.failed(query, now)
    return plan, asked


def played(
    plan: Plan, until: float, *events: tuple[float, Callable[[Plan, float], Plan]], answers: bool = True
) -> list[tuple[float, Query]]:
    """Let time pass from 0 with `events` at their times; return what was asked when."""
    asked, waiting, now = [], sorted(events, key=lambda event: event[0]), 0.0
    while now <= until:
        while waiting and waiting[0][0] <= now:
            plan = waiting.pop(0)[1](plan, now)
        plan, queries = drained(plan, now, answers=answers)
        asked += [(now, query) for query in queries]
        moments = [m for m in (plan.wakes(), waiting[0][0] if waiting else None) if m is not None]
        now = max(min(moments, default=until + 1), now)
        if not moments:
            break
    return asked


def test_all_is_read_at_start_the_status_first() -> None:
    assert drained(Plan(Reads.REGULARLY).started(0), 0)[1] == EVERYTHING


def test_at_rest_two_requests_a_minute() -> None:
    asked = played(Plan(Reads.REGULARLY).started(0), 3600)
    assert len(asked) - len(EVERYTHING) <= 2 * 60
    assert Counter(query for _, query in asked)[Query.STATUS] == 61
    assert Counter(query for _, query in asked)[Query.SENSORS] == 5


def test_the_poll_is_a_setting() -> None:
    asked = played(Plan(Reads.REGULARLY, poll=600.0).started(0), 3600)
    assert [moment for moment, query in asked if query is Query.STATUS] == [0, 600, 1200, 1800, 2400, 3000, 3600]


def test_a_connection_that_flaps_costs_six_requests_at_most_and_the_last_hello_is_followed_by_a_reading() -> None:
    plan, _ = drained(Plan(Reads.REGULARLY).started(0), 0)
    hellos = [(100 + n / 10, Plan.greeted) for n in range(150)]
    asked = [(moment, query) for moment, query in played(plan, 159, *hellos) if 100 <= moment < 125]
    assert 2 <= len(asked) <= 6
    last = max(moment for moment, query in asked if query is Query.HISTORY)
    assert 114.9 <= last <= 114.9 + 10


def test_a_hello_after_a_gap_is_followed_by_status_and_history_at_once() -> None:
    plan, _ = drained(Plan(Reads.REGULARLY).started(0), 0)
    assert drained(plan.greeted(30), 30)[1] == [Query.STATUS, Query.HISTORY]


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (Plan.commanded, [Query.STATUS]),
        (Plan.suspicious, [Query.HISTORY]),
        (Plan.refreshed, EVERYTHING),
    ],
)
def test_what_is_read_when(what: Callable[[Plan, float], Plan], expected: list[Query]) -> None:
    plan, _ = drained(Plan(Reads.REGULARLY).started(0), 0)
    assert drained(what(plan, 30), 30)[1] == expected


def test_a_panel_that_does_not_dial_is_asked_for_status_and_history_each_ten_seconds() -> None:
    asked = played(Plan(Reads.ALONE).started(0), 600)
    for query in (Query.STATUS, Query.HISTORY):
        assert [moment for moment, asked_for in asked if asked_for is query] == [10.0 * n for n in range(61)]


def test_a_panel_that_no_longer_dials_is_read_at_once_and_one_that_does_again_is_not() -> None:
    plan, _ = drained(Plan(Reads.REGULARLY).started(0), 0)
    plan, asked = drained(plan.with_reads(Reads.ALONE, 30), 30)
    assert asked == [Query.STATUS, Query.HISTORY]
    assert plan.wakes() == 40
    assert drained(plan.with_reads(Reads.REGULARLY, 35), 35)[1] == []


def test_nothing_is_asked_where_reading_is_off_and_only_at_hello_over_the_cloud() -> None:
    off = Plan(Reads.NOT)
    for plan in (off.started(0), off.greeted(0), off.refreshed(0), off.commanded(0), off.suspicious(0)):
        assert plan.next(1e9) is None
    assert drained(Plan(Reads.AT_HELLO).started(0), 0)[1] == []
    plan, asked = drained(Plan(Reads.AT_HELLO).greeted(0), 0)
    assert asked == [Query.STATUS, Query.HISTORY]
    assert plan.wakes() is None


def test_nothing_but_the_status_is_asked_of_a_panel_that_does_not_answer_and_that_ever_less() -> None:
    asked = played(Plan(Reads.REGULARLY).started(0), 600, answers=False)
    assert {query for _, query in asked} == {Query.STATUS}
    moments = [moment for moment, _ in asked]
    assert moments[:8] == [0, 1, 3, 7, 15, 31, 63, 123]


def test_what_fails_spoils_nothing_else() -> None:
    plan = Plan(Reads.REGULARLY).started(0)
    plan = plan.began(Query.STATUS, 0).answered(Query.STATUS, 0)
    plan = plan.began(Query.HISTORY, 0).failed(Query.HISTORY, 0)
    plan, asked = drained(plan, 0)
    assert asked == [Query.SENSORS, Query.FLAGS, Query.INFO, Query.RELAYS]
    assert drained(plan, 1)[1] == [Query.HISTORY]


def test_a_panel_that_does_not_answer_is_a_problem_until_it_does() -> None:
    plan = Plan(Reads.REGULARLY).started(0)
    for moment in range(3):
        assert not plan.unreadable
        plan = plan.began(Query.STATUS, moment).failed(Query.STATUS, moment)
    assert plan.unreadable
    assert not plan.began(Query.STATUS, 9).answered(Query.STATUS, 9).unreadable


def test_what_is_wanted_while_it_is_asked_is_asked_again() -> None:
    plan = Plan(Reads.REGULARLY).started(0).began(Query.STATUS, 0).commanded(1).answered(Query.STATUS, 2)
    assert plan.next(2) is Query.STATUS


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 500), st.sampled_from([Plan.greeted, Plan.suspicious])), max_size=60))
def test_hellos_alone_never_ask_more_than_each_ten_seconds(
    events: list[tuple[float, Callable[[Plan, float], Plan]]],
) -> None:
    hellos = [(moment, Plan.greeted) for moment, _ in events]
    asked = played(Plan(Reads.AT_HELLO), 600, *hellos)
    moments = [moment for moment, query in asked if query is Query.STATUS]
    assert all(later - earlier >= 10 - 1e-6 for earlier, later in itertools.pairwise(moments))
