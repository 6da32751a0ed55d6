"""Figures of a month: alarms by outcome, transmission times, tests, availability of each part and day."""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.common.models import Outcome, Request
from bridge.common.runs import Edge, Run
from bridge.record.alarms import PENDING, AlarmEntry, Transmission, entry, final, read_entry, transmission
from bridge.record.figures import Subject, figures
from bridge.record.months import Month

ZONE = ZoneInfo("Europe/Stockholm")
OCTOBER = Month(2026, 10)
START, END = OCTOBER.start(ZONE), OCTOBER.end(ZONE)
HOME = Subject("home", ("primary", "secondary"), ("fixed",), undelivered_after=30.0)


def alarm(at: float, took: float = 1.0, outcome: str = "accepted", **more: Any) -> AlarmEntry:  # noqa: ANN401
    values = {"request": "alarm", "receiver": "primary" if outcome in ("accepted", "duplicate") else "", **more}
    return AlarmEntry(outcome=outcome, accepted_at=START + at, completed_at=START + at + took, **values)


def test_a_month_with_everything() -> None:
    edges = (
        *(Edge("home", part, START, up=True) for part in ("link", "receiver/primary", "path/fixed")),
        Edge("home", "receiver/primary", START + 3600, up=False),
        Edge("home", "receiver/primary", START + 7200, up=True),
    )
    entries = [
        alarm(10, 1), alarm(20, 2), alarm(30, 45), alarm(40, 60, "rejected"), alarm(50, 3, "duplicate"),
        alarm(60, 0.5, "accepted", request="restore"),
        alarm(70, 5, "accepted", request="test"), alarm(80, 300, "unreachable", request="test"),
        alarm(90, 5, request="ping"), alarm(-10, 5), alarm(END - START, 1),
    ]  # fmt: skip
    found = figures(HOME, OCTOBER, [Run(START, END, edges)], entries, END + 5, ZONE)
    length = END - START
    assert found.as_json() == {
        "month": "2026-10",
        "since": found.as_json()["since"],
        "until": found.as_json()["until"],
        "link": {"availability": 100.0, "down_s": 0, "longest_outage_s": 0, "unknown_s": 0},
        "receivers": {
            "primary": {"availability": 99.865, "down_s": 3600, "longest_outage_s": 3600, "unknown_s": 0},
            "secondary": {"availability": None, "down_s": 0, "longest_outage_s": 0, "unknown_s": round(length)},
        },
        "paths": {"fixed": {"availability": 100.0, "down_s": 0, "longest_outage_s": 0, "unknown_s": 0}},
        "alarms": {"accepted": 4, "rejected": 1, "duplicate": 1},
        "transmission": {"mean_s": 10.3, "p95_s": 45.0, "max_s": 45.0},
        "slow": 1,
        "tests": {"done": 1, "failed": 1},
    }
    assert datetime.fromisoformat(str(found.as_json()["since"])).timestamp() == START
    assert datetime.fromisoformat(str(found.as_json()["until"])).timestamp() == END
    assert [each.outcome for each in found.late] == ["accepted", "rejected"]


def test_days_of_a_month_in_which_clocks_change() -> None:
    night = datetime(2026, 10, 25, 1, 0, tzinfo=ZONE).timestamp()
    down = (
        Edge("home", "link", START, up=True),
        Edge("home", "link", night, up=False),
        Edge("home", "link", night + 10800, up=True),
    )
    found = figures(HOME, OCTOBER, [Run(START, END, down)], [], END, ZONE).parts["link"]
    assert len(found.days) == 31
    assert [(day, each.down_s) for day, each in found.days if each.down_s] == [(date(2026, 10, 25), 10800.0)]
    assert dict(found.days)[date(2026, 10, 25)].up_s == 22 * 3600
    assert found.total.down_s == 10800.0


def test_a_month_that_is_not_over() -> None:
    now = START + 2.5 * 86400
    found = figures(HOME, OCTOBER, [Run(START, now, (Edge("home", "link", START, up=True),))], [], now, ZONE)
    assert (found.until, len(found.parts["link"].days)) == (now, 3)
    assert found.parts["link"].total.up_s == 2.5 * 86400
    assert found.parts["link"].days[-1][1].up_s == 43200.0


def test_a_month_to_come_is_empty() -> None:
    found = figures(HOME, OCTOBER, [], [], START - 5, ZONE)
    assert (found.until, found.parts["link"].total.unknown_s, found.parts["link"].days) == (START, 0, ())


@pytest.mark.parametrize(
    ("waits", "late"), [(29.0, False), (31.0, True)]
)  # fmt: skip
def test_what_waits_is_late_after_the_same_time(waits: float, late: bool) -> None:  # noqa: FBT001
    pending = AlarmEntry("alarm", PENDING, START + 5)
    found = figures(HOME, OCTOBER, [], [pending], START + 5 + waits, ZONE)
    assert (found.outcomes, bool(found.late), found.transmission) == ({"pending": 1}, late, None)


def test_a_duplicate_that_was_not_sent_has_no_transmission_time() -> None:
    found = figures(HOME, OCTOBER, [], [alarm(5, 0, "duplicate", receiver="")], END, ZONE)
    assert (found.outcomes, found.transmission, found.late) == ({"duplicate": 1}, None, ())


def test_a_refused_password_counts_once_the_alarm_has_ended() -> None:
    refused = alarm(5, 1, "unauthorized", command_id=7)
    accepted = alarm(5, 99, "accepted", command_id=7)
    assert final([refused, accepted]) == [accepted]
    assert final([refused]) == [refused]
    rejected = alarm(5, 1, "rejected", command_id=7)
    assert final([rejected, accepted]) == [rejected, accepted]  # it was retried by a person


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([4.0], Transmission(4.0, 4.0, 4.0)),
        ([1.0] * 19 + [21.0], Transmission(2.0, 1.0, 21.0)),
        ([1.0] * 18 + [11.0, 21.0], Transmission(2.5, 11.0, 21.0)),
        ([], None),
        ([-5.0], Transmission(0.0, 0.0, 0.0)),  # the clock was set back meanwhile
    ],
)
def test_transmission_times(times: list[float], expected: Transmission | None) -> None:
    assert transmission([alarm(5, each) for each in times]) == expected


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_95_percent_lie_between_mean_and_longest_or_below_the_longest(times: list[float]) -> None:
    found = transmission([alarm(0, each) for each in times])
    assert found is not None
    assert found.p95_s <= found.max_s
    assert found.mean_s <= found.max_s * (1 + 1e-9) + 1e-3
    assert sum(each <= found.p95_s + 1e-3 for each in times) >= math.ceil(0.95 * len(times))


def test_entries_of_stored_results() -> None:
    fields = {
        "request": "alarm", "outcome": "accepted", "accepted_at": "2026-10-05T10:00:00.000+02:00", "attempts": 2,
        "completed_at": "2026-10-05T10:00:01.500+02:00", "event_code": "BA", "receiver": "primary",
    }  # fmt: skip
    found = entry("alarm", fields, 9)
    assert found is not None
    assert (found.seconds, found.attempts, found.event_code, found.command_id) == (1.5, 2, "BA", 9)
    assert entry("alarm", {"outcome": "accepted"}) is None
    assert entry("alarm", {"outcome": "accepted", "accepted_at": 5, "completed_at": "soon"}) is None


@pytest.mark.parametrize("payload", ["", "{", "[]", "5", '"x"', "{}"])
def test_a_result_that_cannot_be_read_is_none(payload: str) -> None:
    assert read_entry("alarm", payload) is None


hours = st.integers(-48, 31 * 24 + 48)


@given(
    st.lists(st.tuples(hours, st.integers(0, 400), st.lists(st.tuples(hours, st.booleans()), max_size=5)), max_size=5)
)
def test_up_down_and_unknown_are_the_month(found: list[tuple[int, int, list[tuple[int, bool]]]]) -> None:
    runs = [
        Run(
            START + start * 3600.0, START + (start + length) * 3600.0,
            tuple(Edge("home", "link", START + at * 3600.0, up) for at, up in changes),
        )
        for start, length, changes in found
    ]  # fmt: skip
    for month in (OCTOBER, Month(2026, 3)):
        whole = month.end(ZONE) - month.start(ZONE)
        part = figures(HOME, month, runs, [], month.end(ZONE), ZONE).parts["link"]
        assert part.total.up_s + part.total.down_s + part.total.unknown_s == pytest.approx(whole)
        for name in ("up_s", "down_s", "unknown_s"):
            assert sum(getattr(each, name) for _, each in part.days) == pytest.approx(getattr(part.total, name))


def test_every_outcome_is_counted() -> None:
    entries = [alarm(5, 1, str(outcome), request=str(Request.ALARM)) for outcome in Outcome]
    found = figures(HOME, OCTOBER, [], entries, END, ZONE)
    assert found.outcomes == {str(outcome): 1 for outcome in Outcome}
    assert {each.outcome for each in found.late} == {str(each) for each in Outcome} - {"accepted", "duplicate"}
    assert timedelta(seconds=found.until - found.start) == timedelta(days=31, hours=1)
