"""When to try again, when the next heartbeat is due; durations, cleaned text, secrets."""

from __future__ import annotations

import pickle
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.common.backoff import Backoff
from bridge.common.models import Secret
from bridge.common.text import clean
from bridge.config.types import seconds
from bridge.transmitters.heartbeat import Heartbeat

LEVEL = 180.0


def test_the_backoff_doubles_to_a_minute_and_begins_anew() -> None:
    backoff = Backoff(lambda: 0.0)
    assert [backoff.fail() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    backoff.reset()
    assert backoff.fail() == 1


def test_a_refusal_waits_longest_at_once() -> None:
    backoff = Backoff(lambda: 0.0)
    assert backoff.refuse() == 60
    assert backoff.fail() == 60
    backoff.reset()
    assert backoff.fail() == 1


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 9))
def test_jitter_shortens_by_a_quarter_at_most(jitter: float, rounds: int) -> None:
    plain, shortened = Backoff(lambda: 0.0), Backoff(lambda: jitter)
    for _ in range(rounds):
        plain.fail()
        shortened.fail()
    whole, wait = plain.fail(), shortened.fail()
    assert wait == whole * (1 - jitter / 4)
    assert 0.75 * whole <= wait <= whole


def test_two_backoffs_do_not_wait_alike() -> None:
    assert len({Backoff().fail() for _ in range(20)}) > 1


def test_the_first_heartbeat_is_at_start_and_then_four_in_a_level() -> None:
    heartbeat = Heartbeat(LEVEL, 1000.0)
    assert heartbeat.due == 1000.0
    heartbeat.accepted(1000.0)
    assert heartbeat.due == 1045.0


def test_too_often_waits_longer_and_never_over_half_the_level() -> None:
    heartbeat = Heartbeat(LEVEL, 0.0)
    found = []
    for _ in range(5):
        heartbeat.too_often(0.0)
        found.append(heartbeat.due)
    assert found == [67.5, 90.0, 90.0, 90.0, 90.0]
    heartbeat.accepted(0.0)
    assert heartbeat.due == 45.0


def test_a_disabled_heartbeat_stays_so() -> None:
    heartbeat = Heartbeat(LEVEL, 0.0)
    heartbeat.disable()
    for told in (heartbeat.accepted, heartbeat.failed, heartbeat.refused, heartbeat.too_often):
        told(1.0)
        assert heartbeat.due is None
    assert not heartbeat.overdue(1e9)


def test_no_level_is_no_heartbeat() -> None:
    heartbeat = Heartbeat(None, 0.0)
    heartbeat.accepted(0.0)
    assert heartbeat.due is None
    assert not heartbeat.overdue(1e9)


def test_overdue_is_a_whole_interval_late() -> None:
    heartbeat = Heartbeat(LEVEL, 0.0)
    heartbeat.accepted(0.0)
    assert not heartbeat.overdue(89.9)
    assert heartbeat.overdue(90.0)


def test_a_failed_heartbeat_is_tried_soon_and_never_later_than_usual() -> None:
    heartbeat = Heartbeat(90.0, 0.0)
    waits = []
    for _ in range(9):
        heartbeat.failed(100.0)
        assert heartbeat.due
        waits.append(heartbeat.due - 100.0)
    assert waits[0] <= 1.0
    assert waits[-1] == 22.5
    heartbeat.accepted(0.0)
    heartbeat.failed(100.0)
    assert heartbeat.due
    assert heartbeat.due <= 101.0


@pytest.mark.parametrize(("level", "least"), [(90.0, 45.0), (18000.0, 4500.0)])
def test_a_refused_heartbeat_waits_long(level: float, least: float) -> None:
    heartbeat = Heartbeat(level, 0.0)
    heartbeat.refused(0.0)
    assert heartbeat.due
    assert heartbeat.due >= least


@pytest.mark.parametrize(
    ("written", "expected"),
    [("90s", 90), ("5m", 300), ("24h", 86400), ("7d", 604800), ("1.5s", 1.5), (" 5 M ", 300), ("0s", 0)],
)
def test_durations(written: str, expected: float) -> None:
    assert seconds(written) == expected


@pytest.mark.parametrize("written", ["", "5", "s", "5 minutes", "-5s", "1e3s", "5m30s", "9" * 10 + "s"])
def test_no_duration(written: str) -> None:
    with pytest.raises(ValueError, match="is not a duration; use for example 90s"):
        seconds(written)


@given(st.text(max_size=300), st.integers(1, 250))
def test_cleaned_text_is_one_printable_line(text: str, longest: int) -> None:
    cleaned = clean(text, longest)
    assert cleaned.isprintable()
    assert len(cleaned) <= longest + 1
    if text.isprintable() and len(text) <= longest:
        assert cleaned == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a\nb\x1b[1m", "a\\nb\\x1b[1m"), ("x" * 201, "x" * 200 + "…"), ("ö", "ö"), (7, "7"), ("\u202e", "\\u202e")],
)
def test_cleaned(text: object, expected: str) -> None:
    assert clean(text) == expected


def test_a_secret_shows_nothing() -> None:
    secret = Secret("012345678912345")
    with pytest.raises(ValueError, match=r"\*{10}") as caught:
        int(f"{secret} {secret!r} {secret!s:>20} {[secret]}")
    assert "0123" not in "".join(traceback.format_exception(caught.value))
    assert not hasattr(secret, "__dict__")
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)


def test_secrets_compare_by_what_they_hold() -> None:
    assert Secret("a") == Secret(Secret("a"))
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("ä")}) == 2
    assert (len(Secret("abc")), Secret("abc").reveal()) == (3, "abc")
