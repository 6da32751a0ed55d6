"""What is published of hand-made routes: receivers, paths, the link, their problems and events."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from support.outbox import NOW

from bridge.common.text import timestamp
from bridge.transmitters.reachability import Change, Finding, Reachability
from bridge.transmitters.routes import Route, Routes
from bridge.transmitters.supervision import Supervision
from bridge.transmitters.topics import Reach

RECEIVERS = {"primary": "alarm.example.com:19100", "secondary": "alarm2.example.com:19100"}
PRIMARY, SECONDARY = Route("primary"), Route("secondary")


class Line:
    """Routes, and what is published of them as time goes by."""

    def __init__(self, paths: dict[str, str] | None = None, level: float | None = 180.0) -> None:
        reach = Reach(RECEIVERS, paths or {}, level)
        self.routes = Routes(list(RECEIVERS), list(paths or {"": ""}))
        self.published = Reachability(reach)
        self.supervision = Supervision(level)
        self.now = 1000.0

    @property
    def wall(self) -> datetime:
        return NOW + timedelta(seconds=self.now)

    def update(self) -> Change:
        return self.published.update(self.routes, self.supervision, self.now, self.wall)

    def answered(self, route: Route, status: int = 0) -> None:
        self.routes[route].answered(status, self.now, alarm=False)

    def failed(self, route: Route, error: str = "refused") -> None:
        self.routes[route].failed(error, self.now, alarm=True, connected=False)


def kinds(change: Change) -> list[tuple[str, str | None, str | None]]:
    return [(problem.kind, problem.about.receiver, problem.about.path) for problem in problems(change)]


def problems(change: Change) -> list[Finding]:
    return [finding for finding in change.findings if finding.text is not None]


def test_before_anything_is_known_no_state_is_published() -> None:
    change = Line().update()
    assert set(change.states) == {"receiver/primary/info", "receiver/secondary/info"}
    assert change.states["receiver/primary/info"] == {
        "address": "alarm.example.com:19100",
        "since": None,
        "last_success_at": None,
        "last_error": None,
        "checked_every_s": 45,
    }
    assert change.events == []
    assert {(each.kind, each.about.receiver, each.text, each.known) for each in change.findings} == {
        ("link_down", None, None, False),
        ("receiver_down", "primary", None, False),
        ("receiver_down", "secondary", None, False),
    }


def test_how_often_a_receiver_is_checked() -> None:
    line = Line()

    def every() -> list[object]:
        states = line.update().states
        return [states[f"receiver/{name}/info"]["checked_every_s"] for name in RECEIVERS]  # type: ignore[index]

    line.answered(PRIMARY)
    line.answered(SECONDARY)
    assert every() == [45, 3600], "heartbeats, and the idle one each hour"
    line.failed(PRIMARY)
    line.supervision.observe(line.routes, line.now)
    line.now += 60
    line.failed(PRIMARY)
    assert every() == [30, 45], "heartbeats go over the other one"
    line.now += 600
    assert every() == [300, 45]


def test_a_receiver_goes_down_and_comes_back_with_an_event_each() -> None:
    line = Line()
    line.answered(PRIMARY)
    line.answered(SECONDARY)
    up = line.update()
    assert up.states["receiver/primary/state"] == up.states["receiver/secondary/state"] == up.states["link"] == "ON"
    assert up.events == []
    line.now += 30
    line.failed(PRIMARY, "connection refused")
    down, at = line.update(), timestamp(line.wall)
    assert (down.states["receiver/primary/state"], down.states["link"]) == ("OFF", "ON")
    assert down.events == [{"type": "receiver_down", "receiver": "primary", "since": at, "error": "connection refused"}]
    [problem] = problems(down)
    assert (problem.kind, problem.about.receiver, timestamp(problem.since)) == ("receiver_down", "primary", at)
    assert problem.text == "the primary receiver does not take messages: connection refused"
    assert line.update().events == []
    line.now += 60
    line.answered(PRIMARY)
    back = line.update()
    assert [event["type"] for event in back.events] == ["receiver_up"]
    assert kinds(back) == []
    assert all(finding.known for finding in back.findings)


def test_a_receiver_that_answers_4_to_everything_is_down() -> None:
    line = Line()
    line.answered(SECONDARY)
    line.update()
    for _ in range(2):
        line.answered(PRIMARY, 4)
        line.now += 11
    line.answered(PRIMARY, 4)
    assert line.update().states["receiver/primary/state"] == "OFF"


def test_the_first_call_declares_what_was_before_the_start() -> None:
    before = Line()
    before.answered(SECONDARY)
    before.failed(PRIMARY)
    stored = before.routes.as_json(before.now + 5)
    after = Line()
    after.now = 7.0
    after.routes.load(stored, after.now, 20.0)
    change = after.update()
    assert change.states["receiver/primary/state"] == "OFF"
    assert change.events == []
    [problem] = problems(change)
    assert problem.since == after.wall - timedelta(seconds=25)


def test_the_link_is_down_after_the_level_over_any_restart() -> None:
    line = Line()
    line.answered(PRIMARY)
    stored = line.routes.as_json(line.now)
    again = Line()
    again.now = 5.0
    again.routes.load(stored, again.now, 170.0)
    assert again.update().states["link"] == "ON"
    again.now += 10
    change = again.update()
    assert change.states["link"] == "OFF"
    assert kinds(change) == [("link_down", None, None)]
    assert problems(change)[0].text == "no receiver took a message within the heartbeat level of 180 s"
    assert problems(change)[0].since == again.wall - timedelta(seconds=180)


def test_a_line_that_never_worked_is_down_after_the_level() -> None:
    line = Line()
    assert "link" not in line.update().states
    line.now += 180
    assert line.update().states["link"] == "OFF"


def test_paths_have_states_of_their_own() -> None:
    line = Line({"fixed": "eth0", "mobile": "192.168.8.100"}, level=None)
    line.answered(Route("primary", "mobile"))
    line.update()
    for receiver in RECEIVERS:
        line.failed(Route(receiver, "fixed"), "network is unreachable")
    change = line.update()
    found = {leaf: payload for leaf, payload in change.states.items() if leaf.endswith("state")}
    assert found["path/fixed/state"] == "OFF"
    assert found["path/mobile/state"] == found["receiver/primary/state"] == "ON"
    assert "receiver/secondary/state" not in found, "over the other path nothing is known of it"
    info: Any = change.states["path/mobile/info"]
    assert info["address"] == "192.168.8.100"
    assert [event["type"] for event in change.events] == ["path_down"]
    assert kinds(change) == [("path_down", None, "fixed")]
    line.answered(Route("secondary", "fixed"))
    assert [event["type"] for event in line.update().events] == ["path_up"]


def test_where_all_is_down_the_link_is_down_without_heartbeats() -> None:
    line = Line(level=None)
    line.failed(PRIMARY)
    line.failed(SECONDARY)
    change = line.update()
    assert change.states["link"] == "OFF"
    assert {kind for kind, *_ in kinds(change)} == {"receiver_down", "link_down"}


@pytest.mark.parametrize(("seconds", "published"), [(1, False), (599, False), (600, True)])
def test_a_success_alone_is_published_every_ten_minutes(seconds: float, *, published: bool) -> None:
    line = Line()
    line.answered(PRIMARY)
    first = line.update()
    line.now += seconds
    line.answered(PRIMARY)
    assert (line.update().states != first.states) is published


def test_nothing_changes_while_nothing_happens() -> None:
    line = Line()
    line.answered(PRIMARY)
    line.failed(SECONDARY)
    first = line.update()
    line.now += 100.0037
    assert line.update().states == first.states
