"""The one list of what needs a person: raised once, cleared once, and no doubt passes for good news."""

from __future__ import annotations

from datetime import UTC, datetime

from bridge.common.problems import About, Kind, Problem, Problems
from bridge.common.text import LONGEST_ERROR

HOME = About("home")
SINCE = datetime(2026, 3, 1, tzinfo=UTC)
Seen = tuple[About, str | None, str | None]


def followed() -> tuple[Problems, list[Seen]]:
    """Return problems, and what a follower sees of them: what it is about, the text before and after."""
    problems, seen = Problems(), list[Seen]()

    def follow(about: About, before: Problem | None, after: Problem | None) -> None:
        seen.append((about, before.text if before else None, after.text if after else None))

    problems.follow(follow)
    return problems, seen


def test_a_problem_keeps_its_time_and_its_place() -> None:
    problems, seen = followed()
    problems.set(Kind.LINK_DOWN, "dead", HOME, SINCE)
    problems.set(Kind.REJECTED, "rejected: 1", HOME)
    problems.set(Kind.LINK_DOWN, "still dead", HOME, datetime.now(UTC))
    problems.set(Kind.LINK_DOWN, "still dead", HOME)
    first, second = problems
    assert (first.kind, first.since, first.text) == (Kind.LINK_DOWN, SINCE, "still dead")
    assert second.kind is Kind.REJECTED
    problems.set(Kind.LINK_DOWN, None, HOME)
    problems.set(Kind.LINK_DOWN, None, HOME)
    assert [problem.kind for problem in problems] == [Kind.REJECTED]
    assert seen == [
        (HOME, None, "dead"),
        (HOME, None, "rejected: 1"),
        (HOME, "dead", "still dead"),
        (HOME, "still dead", None),
    ]


def test_what_it_is_about_tells_problems_apart() -> None:
    problems, _ = followed()
    for receiver in ("primary", "secondary"):
        problems.set(Kind.RECEIVER_DOWN, "dead", About("home", receiver))
    problems.set(Kind.RECEIVER_DOWN, None, About("home", "primary"))
    [left] = problems
    assert left.as_json() | {"since": ""} == {
        "kind": "receiver_down", "since": "", "text": "dead", "transmitter": "home", "receiver": "secondary",
    }  # fmt: skip


def test_a_doubt_is_no_good_news_and_no_problem() -> None:
    problems, seen = followed()
    problems.doubt(Kind.LINK_DOWN, HOME)
    assert (problems.published("home"), problems.published(None), list(problems)) == (None, [], [])
    problems.set(Kind.REJECTED, "rejected: 1", HOME)
    assert [problem.kind for problem in problems.published("home") or ()] == [Kind.REJECTED]
    problems.set(Kind.REJECTED, None, HOME)
    assert problems.published("home") is None
    seen.clear()
    problems.set(Kind.LINK_DOWN, None, HOME)
    assert seen == [(HOME, None, None)], "whoever publishes learns that it may"
    assert problems.published("home") == []
    problems.set(Kind.LINK_DOWN, "dead", HOME)
    problems.doubt(Kind.LINK_DOWN, HOME)
    assert problems.doubts == []


def test_a_broker_that_is_away_is_not_published() -> None:
    problems, _ = followed()
    problems.doubt(Kind.BROKER_DOWN)
    assert problems.published(None) == []
    problems.set(Kind.BROKER_DOWN, "connection refused")
    assert problems.published(None) == []
    assert [problem.kind for problem in problems] == [Kind.BROKER_DOWN]


def test_text_is_one_line() -> None:
    problems, _ = followed()
    problems.set(Kind.STORE_FAILED, "a\nb\tc" + 600 * "x")
    [problem] = problems
    assert problem.text.startswith("a\\nb\\tc")
    assert len(problem.text) <= LONGEST_ERROR + 1
