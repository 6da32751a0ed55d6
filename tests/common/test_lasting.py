"""When a condition that lasts is logged, and how durations and numbers read."""

from __future__ import annotations

import pytest

from bridge.common.lasting import Lasting
from bridge.common.text import counted, lasted


def test_a_condition_is_logged_at_once_then_rarely() -> None:
    lasting = Lasting()
    due = [second for second in range(5 * 3600 + 901) if lasting.is_due(float(second))]
    assert due == [0, 60, 300, 900, 4500, 8100, 11700, 15300, 18900][: len(due)]
    assert len(due) == 9 - (5 * 3600 + 901 <= 18900)
    assert lasting.end(18901.0) == 18901.0
    assert lasting.end(18902.0) is None
    assert lasting.is_due(18903.0), "a new one begins at once"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.4, "0 s"), (12, "12 s"), (163, "2 min 43 s"), (120, "2 min"), (3600, "1 h"), (3660, "1 h 1 min"),
     (3605, "1 h"), (90000, "1 d 1 h"), (-5, "0 s")],
)  # fmt: skip
def test_durations_have_two_units_at_most(seconds: float, text: str) -> None:
    assert lasted(seconds) == text


def test_one_is_no_plural() -> None:
    assert [counted(number, "alarm") for number in (0, 1, 2)] == ["0 alarms", "1 alarm", "2 alarms"]
