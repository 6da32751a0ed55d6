"""The code of a panel: asked for, compared, locked."""

from __future__ import annotations

from bridge.common.models import Secret
from bridge.panels.code_lock import CodeLock, Verdict

RIGHT, WRONG = Secret("1234"), Secret("9999")


def test_disarming_needs_the_code_and_arming_only_by_setting() -> None:
    lock = CodeLock(RIGHT)
    assert lock.check(None, disarms=True, now=0) is Verdict.WRONG
    assert lock.check(None, disarms=False, now=0) is Verdict.OK
    assert lock.check(RIGHT, disarms=True, now=0) is Verdict.OK
    assert CodeLock(RIGHT, code_for_arm=True).check(None, disarms=False, now=0) is Verdict.WRONG
    assert CodeLock(None).check(None, disarms=True, now=0) is Verdict.OK


def test_an_empty_code_is_compared_like_any_other() -> None:
    assert CodeLock(Secret("")).check(None, disarms=True, now=0) is Verdict.WRONG


def test_five_wrong_codes_in_a_row_lock_for_a_minute() -> None:
    lock = CodeLock(RIGHT)
    assert [lock.check(WRONG, disarms=True, now=10 + n) for n in range(4)] == [Verdict.WRONG] * 4
    assert not lock.locked(14)
    assert lock.check(WRONG, disarms=True, now=14) is Verdict.WRONG
    assert lock.locked(14)
    assert lock.check(RIGHT, disarms=True, now=73.9) is Verdict.LOCKED
    assert lock.check(None, disarms=False, now=50) is Verdict.OK
    assert lock.check(RIGHT, disarms=True, now=74) is Verdict.OK


def test_patience_does_not_help_who_guesses() -> None:
    lock = CodeLock(RIGHT)
    for number in range(5):
        assert lock.check(WRONG, disarms=True, now=3600.0 * number) is Verdict.WRONG
    assert lock.check(RIGHT, disarms=True, now=3600.0 * 4 + 1) is Verdict.LOCKED


def test_a_right_code_begins_the_count_anew() -> None:
    lock = CodeLock(RIGHT)
    for _ in range(3):
        for _ in range(4):
            lock.check(WRONG, disarms=True, now=0)
        assert lock.check(RIGHT, disarms=True, now=0) is Verdict.OK
