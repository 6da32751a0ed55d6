"""The passwords of a transmitter: right at every step of a rotation, on disk before use, and never shown."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bridge.common.errors import StoreError
from bridge.common.models import Secret
from bridge.store.credentials import Credentials

CONFIGURED, SECOND, THIRD, FOURTH = (Secret(digit * 15) for digit in "1234")
DAMAGED = [
    "",
    "{",
    "[]",
    "null",
    '{"salt": "x"}',
    '{"salt": "x", "configured": "y", "passwords": [{"value": "222222222222222"}]}',
    '{"salt": "x", "configured": "y", "passwords": {"value": "222222222222222"}}',
    '{"salt": "x", "configured": "y", "passwords": ["222222222222222"]}',
    '{"salt": "x", "configured": "y", "passwords": [{"value": "222222222222222", "refused": false}',
]


class Kept:
    """One password file, read anew for each look: every step has to be on disk."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "passwords" / "home"

    def open(self, configured: Secret = CONFIGURED) -> Credentials:
        return Credentials(self.path, configured)

    def tried(self, configured: Secret = CONFIGURED) -> list[str]:
        return [password.reveal()[0] for password in self.open(configured).candidates()]


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def test_the_configured_password_is_the_first(kept: Kept) -> None:
    assert kept.tried() == ["1"]
    assert not kept.open().rotation_open
    assert not kept.path.exists()


def test_a_rotation_keeps_the_old_password_until_the_new_one_worked(kept: Kept) -> None:
    kept.open().add(SECOND)
    assert kept.tried() == ["2", "1"]
    assert kept.open().rotation_open
    kept.open().confirm(SECOND)
    assert kept.tried() == ["2"]
    assert not kept.open().rotation_open


def test_the_refused_newest_goes_second_until_it_works(kept: Kept) -> None:
    kept.open().add(SECOND)
    kept.open().confirm(CONFIGURED, (SECOND,))
    assert kept.tried() == ["1", "2"]
    assert kept.open().rotation_open
    kept.open().confirm(CONFIGURED)
    assert kept.tried() == ["1", "2"]
    kept.open().confirm(SECOND, (CONFIGURED,))
    assert kept.tried() == ["2"]


def test_the_old_password_working_without_a_refusal_leaves_the_newest_first(kept: Kept) -> None:
    kept.open().add(SECOND)
    kept.open().confirm(CONFIGURED)
    assert kept.tried() == ["2", "1"]


def test_at_most_two_are_tried_and_three_kept(kept: Kept) -> None:
    for new in (SECOND, THIRD, FOURTH):
        kept.open().add(new)
    assert kept.tried() == ["4", "3"]
    kept.open().confirm(THIRD, (FOURTH,))
    assert kept.tried() == ["3", "2"]
    assert "111111111111111" not in kept.path.read_text()


def test_the_same_password_given_out_again_is_not_kept_twice(kept: Kept) -> None:
    kept.open().add(SECOND)
    kept.open().confirm(CONFIGURED, (SECOND,))
    kept.open().add(SECOND)
    assert kept.tried() == ["2", "1"]


def test_what_is_told_needs_no_reopening(kept: Kept) -> None:
    credentials = kept.open()
    credentials.add(SECOND)
    assert credentials.candidates() == (SECOND, CONFIGURED)
    credentials.confirm(SECOND)
    assert credentials.candidates() == (SECOND,)
    assert not credentials.rotation_open


def test_a_stored_password_goes_before_the_unchanged_configuration(kept: Kept) -> None:
    kept.open().add(SECOND)
    kept.open().confirm(SECOND)
    assert kept.tried(CONFIGURED) == ["2"]


def test_a_changed_configured_password_is_tried_first_and_the_stored_one_kept(kept: Kept) -> None:
    kept.open().add(SECOND)
    kept.open().confirm(SECOND)
    assert kept.tried(THIRD) == ["3", "2"]
    assert kept.tried(CONFIGURED) == ["2"]  # put back before anything was sent: as if nothing had been
    kept.open(THIRD).confirm(SECOND, (THIRD,))
    assert kept.tried(THIRD) == ["2", "3"]
    kept.open(THIRD).confirm(THIRD)
    assert kept.tried(THIRD) == ["3"]


def test_a_configured_password_that_is_stored_already_is_tried_first(kept: Kept) -> None:
    kept.open().add(SECOND)
    kept.open().add(THIRD)
    assert kept.tried(SECOND) == ["2", "3"]


def test_the_files_are_ours_alone_and_nothing_else_is_left(kept: Kept) -> None:
    for new in (SECOND, THIRD):
        kept.open().add(new)
        kept.open().confirm(new)
    assert [path.name for path in kept.path.parent.iterdir()] == ["home"]
    assert kept.path.stat().st_mode & 0o777 == 0o600
    assert kept.path.parent.stat().st_mode & 0o777 == 0o700


def test_the_configured_password_is_not_kept_where_another_replaced_it(kept: Kept) -> None:
    kept.open().add(SECOND)
    kept.open().confirm(SECOND)
    text = kept.path.read_text()
    assert CONFIGURED.reveal() not in text
    assert SECOND.reveal() in text


def test_nothing_is_written_where_nothing_changes(kept: Kept) -> None:
    kept.open().confirm(CONFIGURED)
    assert not kept.path.exists()
    kept.open().add(SECOND)
    before = kept.path.stat().st_ino
    kept.open().confirm(CONFIGURED)
    assert kept.path.stat().st_ino == before


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_file_is_told_without_its_passwords(kept: Kept, content: str) -> None:
    kept.path.parent.mkdir()
    kept.path.write_text(content)
    with pytest.raises(StoreError, match="is damaged; restore it from a backup") as caught:
        kept.open()
    assert re.search(r"[12]{15}", str(caught.value)) is None
    assert kept.path.read_text() == content


@pytest.mark.parametrize("passwords", [[], [{"value": 7, "refused": False}], [{"value": None, "refused": True}]])
def test_a_file_without_a_usable_password_is_damaged(kept: Kept, passwords: list[object]) -> None:
    kept.path.parent.mkdir()
    kept.open().add(SECOND)
    content = json.loads(kept.path.read_text())
    kept.path.write_text(json.dumps({**content, "passwords": passwords}))
    with pytest.raises(StoreError, match="is damaged"):
        kept.open()


def test_a_file_that_cannot_be_read_or_written_is_told_in_words(kept: Kept, tmp_path: Path) -> None:
    kept.path.mkdir(parents=True)
    with pytest.raises(StoreError, match=r"the password file .*: Is a directory"):
        kept.open()
    kept.path.rmdir()
    credentials = kept.open()
    kept.path.mkdir()
    with pytest.raises(StoreError, match=r"the password file .*: Is a directory"):
        credentials.add(SECOND)
    assert [path.name for path in kept.path.parent.iterdir()] == ["home"]
    assert credentials.candidates() == (CONFIGURED,)


def test_no_password_is_shown(kept: Kept) -> None:
    kept.open().add(SECOND)
    credentials = kept.open()
    shown = f"{credentials!r} {credentials} {credentials.candidates()!r} {credentials._passwords!r}"
    assert not re.search(r"1{15}|2{15}", shown)
