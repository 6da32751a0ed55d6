"""When test alarms are due: local time, each once, in order."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.transmitters.timetable import Timetable, default_at

ZONE = ZoneInfo("Europe/Stockholm")
HOUR, DAY = 3600, 86400
DAILY = Timetable(DAY, time(3, 20), ZONE)


def at(*when: int) -> float:
    return datetime(*when, tzinfo=ZONE).timestamp()  # type: ignore[arg-type,misc]


def local(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, ZONE):%m-%d %H:%M}"


def all_between(table: Timetable, start: float, end: float) -> list[str]:
    found, now = [], start
    while (now := table.next_at(now)) < end:
        found.append(local(now))
    return found


def test_each_day_at_its_time() -> None:
    assert local(DAILY.next_at(at(2026, 11, 21, 3, 20))) == "11-22 03:20"
    assert local(DAILY.next_at(at(2026, 11, 21, 3, 19))) == "11-21 03:20"
    assert local(DAILY.latest(at(2026, 11, 21, 3, 20)).at) == "11-21 03:20"
    assert local(DAILY.latest(at(2026, 11, 21, 3, 19)).at) == "11-20 03:20"


@pytest.mark.parametrize(
    ("night", "clock", "expected"),
    [
        ((2026, 10, 25), time(2, 30), "10-25 02:30"),  # comes twice: the first counts
        ((2026, 10, 25), time(3, 20), "10-25 03:20"),
        ((2026, 3, 29), time(2, 30), "03-29 03:30"),  # is skipped
        ((2026, 3, 29), time(3, 20), "03-29 03:20"),
    ],
)
def test_once_in_a_night_in_which_clocks_change(night: tuple[int, int, int], clock: time, expected: str) -> None:
    table = Timetable(DAY, clock, ZONE)
    assert all_between(table, at(*night), at(*night) + 20 * HOUR) == [expected]
    numbers = [table.latest(at(*night) + hours * HOUR).number for hours in range(-20, 40)]
    assert sorted(set(numbers)) == list(range(min(numbers), max(numbers) + 1))


def test_parts_of_a_day() -> None:
    table = Timetable(6 * HOUR, time(3, 20), ZONE)
    found = all_between(table, at(2026, 10, 24), at(2026, 10, 26))
    assert found == [f"10-{day} {hour}:20" for day in (24, 25) for hour in ("03", "09", "15", "21")]


def test_an_hour_that_is_skipped_or_comes_twice_has_one_test_each() -> None:
    table = Timetable(HOUR, time(0, 20), ZONE)
    assert all_between(table, at(2026, 3, 29, 0), at(2026, 3, 29, 5)) == [
        f"03-29 {hour}:20" for hour in ("00", "01", "03", "04")
    ]
    assert len(all_between(table, at(2026, 10, 25), at(2026, 10, 26))) == 24


def test_several_days() -> None:
    week = Timetable(7 * DAY, time(3, 20), ZONE)
    found = all_between(week, at(2026, 1, 1), at(2027, 1, 1))
    assert len(found) in (52, 53)
    assert all(day.endswith("03:20") for day in found)


tables = st.builds(
    Timetable,
    st.sampled_from([HOUR, 2 * HOUR, 8 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 31 * DAY]),
    st.times().map(lambda clock: clock.replace(second=0, microsecond=0)),
    st.sampled_from([ZONE, ZoneInfo("UTC"), ZoneInfo("America/New_York"), ZoneInfo("Australia/Lord_Howe")]),
)
moments = st.floats(at(2026, 1, 1), at(2028, 1, 1))


@given(tables, moments)
def test_latest_and_next_enclose_now(table: Timetable, now: float) -> None:
    latest, coming = table.latest(now), table.next_at(now)
    assert latest.at <= now < coming
    assert table.latest(coming).at == coming
    assert coming - latest.at <= table.every_s + 2 * HOUR
    assert table.latest(coming).number > latest.number
    assert table.next_at(latest.at) == coming


def test_routes_take_turns_over_restarts() -> None:
    numbers = [DAILY.latest(at(2026, 10, 20) + day * DAY).number for day in range(10)]
    assert numbers == list(range(numbers[0], numbers[0] + 10))


def test_the_default_time_is_in_the_night_and_spread() -> None:
    found = {default_at(f"IK{number:05}") for number in range(500)}
    assert min(found) >= time(1, 0)
    assert max(found) < time(5, 0)
    assert len(found) > 150
    assert default_at("IK00001") == default_at("IK00001")


def test_another_time_is_another_timetable() -> None:
    assert len({DAILY.key, Timetable(DAY, time(3, 21)).key, Timetable(2 * DAY, time(3, 20)).key}) == 3
    assert timedelta(seconds=DAILY.every_s) == timedelta(days=1)
