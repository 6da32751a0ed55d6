"""Routes: their order, what makes one down, demotion, and what is kept over a restart."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.transmitters.logins import Login, Logins
from bridge.transmitters.routes import Answer, Health, Rank, Route, Routes, answer_of
from bridge.transmitters.supervision import Supervision

PRIMARY, SECONDARY = Route("primary"), Route("secondary")


@pytest.mark.parametrize(
    ("status", "answer"),
    [(0, Answer.ACCEPTED), (10, Answer.ACCEPTED), (4, Answer.UNAUTHORIZED), (6, Answer.UNAUTHORIZED)]
    + [(status, Answer.INVALID) for status in (1, 2, 3, 7, 100)]
    + [(status, Answer.REFUSED) for status in (5, 9, 98, 99, 101, 8, -1, 12345)],
)
def test_routes_meaning_of_a_status(status: int, answer: Answer) -> None:
    assert answer_of(status) is answer


def test_routes_order() -> None:
    routes = Routes(["primary", "secondary"], ["fixed", "mobile"])
    assert routes.order(0) == routes.configured
    routes[Route("primary", "fixed")].failed("no answer", 1, alarm=False, connected=True)
    routes[Route("secondary", "fixed")].answered(98, 1, alarm=False)
    routes[Route("secondary", "mobile")].answered(0, 1, alarm=False)
    assert [f"{route.receiver}/{route.path}" for route in routes.order(2)] == [
        "secondary/mobile", "primary/mobile", "secondary/fixed", "primary/fixed",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "serving"), [(0, True), (10, True), (9, True), (101, True), (4, False), (98, False)]
)
def test_routes_serving_follows_the_last_answer(status: int, *, serving: bool) -> None:
    health = Health()
    health.answered(status, 0, alarm=False)
    assert health.serving is serving
    assert health.reachable


def test_routes_invalid_alarm_says_nothing_about_its_route() -> None:
    health = Health()
    health.answered(0, 0, alarm=False)
    health.answered(3, 1, alarm=True)
    assert health.serving
    assert health.up


def test_routes_down_after_two_failures_ten_seconds_apart() -> None:
    health = Health()
    health.answered(0, 0, alarm=False)
    health.failed("reset", 100, alarm=False, connected=True)
    health.failed("reset", 105, alarm=False, connected=True)
    assert health.up
    health.failed("reset", 110, alarm=False, connected=True)
    assert health.up is False
    health.answered(0, 111, alarm=False)
    assert health.up


def test_routes_down_at_once_when_an_alarm_failed() -> None:
    health = Health()
    health.answered(0, 0, alarm=False)
    health.failed("reset", 100, alarm=True, connected=False)
    assert health.up is False


def test_routes_failed_alarm_puts_a_route_last_until_it_served_for_ten_minutes_doubling() -> None:
    routes = Routes(["primary", "secondary"])
    routes[SECONDARY].answered(0, 0, alarm=True)
    now = 0.0
    for wait in (600, 1200, 2400, 4800, 9600, 19200, 21600, 21600):
        routes[PRIMARY].failed("no answer", now, alarm=True, connected=True)
        routes[PRIMARY].failed("no answer", now, alarm=True, connected=True)  # the same reason
        routes[PRIMARY].answered(0, now, alarm=False)
        assert routes.order(now + wait - 1) == [SECONDARY, PRIMARY]
        now += wait
        assert routes.order(now) == [PRIMARY, SECONDARY]
    routes[PRIMARY].failed("no answer", now, alarm=True, connected=True)
    routes[PRIMARY].answered(0, now, alarm=True)
    assert routes.order(now) == [PRIMARY, SECONDARY]


def test_routes_connection_proves_a_route_that_could_not_be_connected_only() -> None:
    health = Health()
    health.failed("refused", 0, alarm=True, connected=False)
    health.connected(0.1, 1)
    assert health.rank == Rank.UNKNOWN
    assert health.up
    health.failed("no answer", 2, alarm=True, connected=True)
    health.connected(0.1, 3)
    assert health.served is False
    health.connected(0.1, 4, proves=True)
    assert health.rank == Rank.UNKNOWN


def test_routes_race_waits_for_three_usual_connect_times() -> None:
    health = Health()
    assert health.race_after_s == 1
    for _ in range(30):
        health.connected(0.8, 0)
    assert health.race_after_s == pytest.approx(2.4)


def test_routes_link_counts_over_a_restart() -> None:
    routes = Routes(["primary"])
    assert routes.link_up(90, 0, 10) is None
    assert routes.link_up(90, 0, 90) is False
    routes[PRIMARY].answered(0, 100, alarm=False)
    assert routes.link_up(90, 0, 189)
    again = Routes(["primary"])
    again.load(json.loads(json.dumps(routes.as_json(150))), now=5.0, elapsed=30)
    assert again.link_up(90, 0, 14)
    assert again.link_up(90, 0, 16) is False


def test_routes_that_are_no_longer_configured_are_dropped() -> None:
    routes = Routes(["primary", "secondary"])
    single = Routes(["primary"])
    single.load(routes.as_json(0), 0, 0)
    assert single.configured == [PRIMARY]


@pytest.mark.parametrize("content", [[{}], [{"receiver": "primary", "path": "", "failing_since": "x"}]])
def test_routes_nonsense_is_an_error(content: list[dict[str, str]]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Routes(["primary"]).load(content, 0, 0)


@given(st.lists(st.tuples(st.sampled_from([0, 3, 4, 98, None]), st.booleans(), st.floats(0, 1000)), max_size=20))
def test_routes_survive_json(history: list[tuple[int | None, bool, float]]) -> None:
    routes = Routes(["primary", "secondary"])
    now = 0.0
    for status, alarm, wait in history:
        now += wait
        if status is None:
            routes[PRIMARY].failed("reset", now, alarm=alarm, connected=alarm)
        else:
            routes[PRIMARY].answered(status, now, alarm=alarm)
    again = Routes(["primary", "secondary"])
    again.load(json.loads(json.dumps(routes.as_json(now))), now=now, elapsed=0)
    assert again.order(now + 300) == routes.order(now + 300)
    assert again.up(("receiver", "primary")) == routes.up(("receiver", "primary"))


def test_logins_all_at_the_steps_and_the_likeliest_between() -> None:
    logins = Logins()
    assert logins.allowed("primary", 0, new_alarm=False) is Login.ALL
    now, waits = 0.0, []
    logins.refused("primary", Login.ALL, now)
    for _ in range(5):
        assert logins.allowed("primary", now, new_alarm=False) is None
        due = logins.allowed_at("primary", new_alarm=False)
        waits.append(due - now)
        now = due
        assert logins.allowed("primary", now, new_alarm=False) is Login.ALL
        logins.refused("primary", Login.ALL, now)
    assert waits == [60, 300, 900, 3600, 3600]
    assert logins.allowed("primary", now + 1, new_alarm=True) is Login.LIKELIEST
    logins.refused("primary", Login.LIKELIEST, now + 1)
    assert logins.allowed("primary", now + 30, new_alarm=True) is None
    assert logins.allowed("primary", now + 31, new_alarm=True) is Login.LIKELIEST
    logins.accepted("primary")
    assert logins.allowed("primary", now + 2, new_alarm=False) is Login.ALL


def test_logins_schedule_counts_over_a_restart_and_begins_anew() -> None:
    logins = Logins()
    logins.refused("primary", Login.ALL, 0)
    again = Logins()
    again.load(json.loads(json.dumps(logins.as_json(10))), now=1000, elapsed=20)
    assert again.allowed_at("primary", new_alarm=False) == 1030
    again.reset()
    assert again.allowed("primary", 1000, new_alarm=False) is Login.ALL
    again.refused("primary", Login.ALL, 1000)
    assert again.allowed_at("primary", new_alarm=False) == 1060


def test_supervision_gap_is_doubled_by_101_and_forgotten_after_a_day() -> None:
    supervision = Supervision(level=90)
    gaps = []
    for now in range(6):
        supervision.ping_answered("primary", 101, now, heartbeat=True)
        gaps.append(supervision.gap(now))
    assert gaps == [4, 8, 16, 22.5, 22.5, 22.5]
    assert supervision.gap(5 + 86400) == 2


def test_supervision_survives_json() -> None:
    supervision = Supervision(level=90)
    supervision.ping_answered("primary", 101, 0, heartbeat=True)
    supervision.ping_answered("primary", 9, 0, heartbeat=True)
    again = Supervision(level=90)
    again.load(json.loads(json.dumps(supervision.as_json(10))), now=0, elapsed=100)
    assert again.gap(0) == 4
    assert again.is_paused(86400 - 111)
    assert not again.is_paused(86400 - 109)
