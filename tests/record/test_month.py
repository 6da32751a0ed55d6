"""The figures of a simulated month are those of its plan: to a second, and to an hour where the bridge was killed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from record.month import (
    DAY,
    HOUR,
    MONTH,
    PATHS,
    PLAN,
    RECEIVERS,
    ROUTES,
    Plan,
    simulate,
    states,
)  # fmt: skip

from bridge.record.figures import Figures

PARTS = {
    "link": ROUTES,
    **{f"receiver/{name}": [route for route in ROUTES if route.receiver == name] for name in RECEIVERS},
    **{f"path/{name}": [route for route in ROUTES if route.path == name] for name in PATHS},
}


@pytest.fixture(autouse=True)
def _stockholm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Stockholm")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(autouse=True)
def _rare_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.record.recorder._LOOK_S", 600.0)


def longest(found: bytes) -> int:
    return max(map(len, found.replace(b"u", b"?").split(b"?")))


def compare(found: Figures, plan: Plan, within: float) -> None:
    for part, routes in PARTS.items():
        expected, measured = bytes(states(plan, routes)), found.parts[part].total
        whole = measured.up_s + measured.down_s + measured.unknown_s
        assert whole == pytest.approx(len(expected))
        assert (measured.up_s, measured.down_s, measured.unknown_s, measured.longest_outage_s) == pytest.approx(
            (expected.count(b"u"), expected.count(b"d"), expected.count(b"?"), longest(expected)), abs=within
        ), part
        at = 0
        for day, each in found.parts[part].days:
            length = round(each.up_s + each.down_s + each.unknown_s)
            seconds, at = expected[at : at + length], at + length
            assert (each.down_s, each.unknown_s) == pytest.approx(
                (seconds.count(b"d"), seconds.count(b"?")), abs=within
            ), (part, day)
        assert at == len(expected)


def test_the_month_is_one_in_which_clocks_change() -> None:
    assert MONTH.end() - MONTH.start() == 31 * DAY + HOUR


def test_a_month_with_faults_and_stops_equals_its_plan_to_a_second(tmp_path: Path) -> None:
    found = simulate(tmp_path, PLAN)
    compare(found, PLAN, within=1.0)
    assert found.outcomes == {"accepted": 25, "rejected": 1}
    assert found.transmission is not None
    times = sorted(alarm.took for alarm in PLAN.alarms if alarm.request != "test" and alarm.outcome == "accepted")
    assert found.transmission.max_s == pytest.approx(2700, abs=0.01)
    assert found.transmission.mean_s == pytest.approx(sum(times) / len(times), abs=0.01)
    assert found.transmission.p95_s == pytest.approx(times[23], abs=0.01)
    assert (found.slow, found.tests_done, found.tests_failed) == (3, 30, 0)
    assert [each.event_code for each in found.late] == ["FA", "<b>FA", "PA", "ZZ"]


def test_the_end_of_a_killed_run_is_known_to_an_hour(tmp_path: Path) -> None:
    kills = ((3 * DAY + 4000, 3 * DAY + 7000, True), (19 * DAY + 11111, 20 * DAY - 5000, True))
    plan = replace(PLAN, away=(*PLAN.away, *kills))
    found = simulate(tmp_path, plan)
    compare(found, plan, within=2 * HOUR + 1)
    link, exact = found.parts["link"].total, bytes(states(plan, ROUTES))
    assert 0 < link.unknown_s - exact.count(b"?") <= 2 * HOUR
    assert link.down_s == pytest.approx(exact.count(b"d"), abs=1)
