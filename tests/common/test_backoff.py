"""When to try again; durations, cleaned text, secrets."""

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


def test_the_backoff_doubles_to_a_minute_and_begins_anew() -> None:
    backoff = Backoff(lambda: 0.0)
    assert [backoff.fail() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
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


@pytest.mark.parametrize(
    ("written", "expected"),
    [("90s", 90), ("5m", 300), ("24h", 86400), ("7d", 604800), ("1.5s", 1.5), (" 5 M ", 300), ("0s", 0)],
)
def test_durations(written: str, expected: float) -> None:
    assert seconds(written) == expected


@pytest.mark.parametrize("written", ["", "5", "s", "5 minutes", "-5s", "1e3s", "5m30s", "9" * 10 + "s"])
def test_no_duration(written: str) -> None:
    with pytest.raises(ValueError, match=r"is not a duration; use for example (90s|5s or 5m)"):
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
