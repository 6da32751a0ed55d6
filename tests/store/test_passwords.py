"""The passwords of an account: right at every step of a rotation, on disk before use, and never shown."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bridge.common.errors import StoreError
from bridge.common.models import Secret
from bridge.store.passwords import MOST_OPEN, PasswordFile, Passwords, directory, password_file

CONFIGURED, SECOND, THIRD, FOURTH = (Secret(digit * 15) for digit in "1234")
BOTH = ("primary", "secondary")
DAMAGED = [
    "",
    "{",
    "[]",
    "null",
    '{"salt": "x"}',
    '{"salt": "x", "configured": "y", "passwords": []}',
    '{"salt": "x", "configured": "y", "passwords": [{"value": "222222222222222"}]}',
    '{"salt": "x", "configured": "y", "passwords": [{"value": 2, "refused": []}]}',
    '{"salt": "x", "configured": "y", "passwords": {"value": "222222222222222"}}',
    '{"salt": "x", "configured": "y", "passwords": ["222222222222222"]}',
    '{"salt": "x", "configured": "y", "passwords": [{"value": "222222222222222", "refused": false}',
    # Valid JSON, and nothing that can be sent.
    '{"salt": "x", "configured": "y", "passwords": [{"value": "22222222222222", "refused": []}]}',
    '{"salt": "x", "configured": "y", "passwords": [{"value": "2222 \\u20ac 2222222", "refused": []}]}',
    '{"salt": "x", "configured": "y", "passwords": [{"value": null, "refused": []}]}',
    '{"salt": "\\ud800", "configured": "y", "passwords": [{"value": "222222222222222", "refused": []}]}',
]


class Kept:
    """One password file, read anew for each look: every step has to be on disk."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "passwords" / "account.json"

    def open(self, configured: Secret = CONFIGURED) -> Passwords:
        return Passwords(PasswordFile(self.path), configured, BOTH)

    def tried(self, receiver: str = "primary", configured: Secret = CONFIGURED) -> str:
        """Return the first digits of the passwords, in the order in which `receiver` is asked."""
        return "".join(password.reveal()[0] for password in self.open(configured).candidates(receiver))


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def test_without_a_rotation_nothing_is_written(kept: Kept) -> None:
    passwords = kept.open()
    passwords.confirm("primary", CONFIGURED)
    passwords.refuse("secondary", CONFIGURED)
    assert kept.tried() == "1"
    assert not kept.path.exists()


def test_older_passwords_go_when_every_receiver_takes_the_new_one(kept: Kept) -> None:
    kept.open().add(SECOND)
    kept.open().confirm("primary", SECOND)
    kept.open().add(THIRD)
    assert kept.tried() == "321"
    kept.open().confirm("primary", THIRD)
    kept.open().confirm("secondary", SECOND)
    assert kept.tried("secondary") == "321", "the configured one is always tried"
    stored = json.loads(kept.path.read_text())["passwords"]
    assert [each["value"][0] for each in stored] == ["3", "2"]
    kept.open().confirm("secondary", THIRD)
    assert len(json.loads(kept.path.read_text())["passwords"]) == 1
    assert kept.tried() == "31"


def test_each_receiver_is_asked_with_what_it_did_not_refuse(kept: Kept) -> None:
    """A secondary that is out of step answers to an older password, or to none but the configured one."""
    kept.open().add(SECOND)
    kept.open().confirm("primary", SECOND)
    kept.open().refuse("secondary", SECOND)
    assert (kept.tried("primary"), kept.tried("secondary")) == ("21", "12")
    kept.open().confirm("secondary", SECOND)
    assert kept.tried("secondary") == "21"


def test_a_third_password_is_tried(kept: Kept) -> None:
    """[typo, new, old], and the old one is right."""
    kept.open().add(SECOND)
    for refused in (THIRD, SECOND):
        kept.open(THIRD).refuse("primary", refused)
    assert kept.tried(configured=THIRD) == "132"


def test_a_password_newly_configured_counts_as_the_newest(kept: Kept) -> None:
    kept.open().add(SECOND)
    assert kept.tried() == "21"
    assert kept.tried(configured=FOURTH) == "421"


def test_a_rotation_is_refused_while_too_many_are_open(kept: Kept) -> None:
    passwords = kept.open()
    for number in range(MOST_OPEN - 1):
        assert passwords.rotation_refusal is None
        passwords.add(Secret(f"{number + 2}" * 15))
    assert "ask the operator" in (passwords.rotation_refusal or "")
    newest = passwords.candidates()[0]
    for receiver in BOTH:
        passwords.confirm(receiver, newest)
    assert kept.open().rotation_refusal is None


def test_transmitters_of_one_account_keep_what_each_receiver_takes(kept: Kept) -> None:
    """Two operators gave the same code: a rotation at one says nothing about the other."""

    def shared() -> Passwords:
        return Passwords(PasswordFile(kept.path), CONFIGURED, ["a/primary"], {"b/primary": FOURTH})

    passwords = shared()
    assert passwords.candidates("a/primary") == (CONFIGURED,)
    assert passwords.candidates("b/primary") == (FOURTH,)
    passwords.confirm("a/primary", CONFIGURED)
    passwords.confirm("b/primary", FOURTH)
    assert not kept.path.exists()
    rotated = [Secret(f"{letter}" * 15) for letter in "vwxyz"]
    passwords.add(of_b := Secret("b" * 15))
    passwords.refuse("a/primary", of_b)
    passwords.confirm("b/primary", of_b)
    for number, new in enumerate(rotated):
        assert passwords.rotation_refusal is None, number
        passwords.add(new)
        passwords.confirm("a/primary", new)
        passwords.refuse("b/primary", new)
        passwords.confirm("b/primary", of_b)
    again = shared()
    assert again.candidates("a/primary")[0] == rotated[-1]
    assert again.candidates("b/primary")[0] == of_b


def test_a_receiver_that_refuses_all_for_a_while_keeps_what_it_may_take(kept: Kept) -> None:
    passwords = kept.open()
    for new in (SECOND, THIRD):
        passwords.add(new)
        passwords.confirm("primary", new)
    for each in (THIRD, SECOND, CONFIGURED):
        passwords.refuse("secondary", each)
    passwords.add(FOURTH)
    passwords.confirm("primary", FOURTH)
    assert {*kept.open().candidates("secondary")} == {CONFIGURED, SECOND, THIRD, FOURTH}


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_file_is_a_problem_of_its_account_alone(kept: Kept, content: str) -> None:
    kept.path.parent.mkdir()
    kept.path.write_text(content)
    passwords = kept.open()
    assert str(kept.path) in (passwords.problem or "")
    assert "2222" not in (passwords.problem or "")
    assert passwords.rotation_refusal == passwords.problem
    assert passwords.candidates() == (CONFIGURED,)
    passwords.confirm("primary", CONFIGURED)
    passwords.refuse("primary", CONFIGURED)
    with pytest.raises(StoreError):
        passwords.add(SECOND)
    assert kept.path.read_text() == content, "it is left for a person"


def test_a_file_is_read_again_once_a_person_has_removed_or_restored_it(kept: Kept) -> None:
    good = kept.open()
    good.add(SECOND)
    content = kept.path.read_text()
    kept.path.write_text("{")
    passwords = kept.open()
    passwords.recheck()
    assert "is damaged" in (passwords.trouble or "")
    kept.path.write_text(content)
    passwords.recheck()
    assert passwords.trouble is None
    assert passwords.candidates() == good.candidates()
    kept.path.write_text("{")
    passwords = kept.open()
    kept.path.unlink()
    passwords.recheck()
    assert passwords.trouble is None
    assert passwords.candidates() == (CONFIGURED,)


def test_a_file_that_could_not_be_written_is_trouble_until_it_can_be(kept: Kept) -> None:
    passwords = kept.open()
    kept.path.parent.write_text("in the way")
    with pytest.raises(StoreError):
        passwords.add(SECOND)
    passwords.recheck()
    assert str(kept.path) in (passwords.trouble or "")
    assert passwords.rotation_refusal is None, "the next one may succeed"
    kept.path.parent.unlink()
    passwords.recheck()
    assert passwords.trouble is None


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """Return a store with the password file that 0.1.0 wrote: `CONFIGURED`, two rotations, the last one refused."""
    store = tmp_path / "bridge.db"
    directory(store).mkdir(mode=0o700)
    before = directory(store) / "home.json"
    before.write_bytes((Path(__file__).parent / "passwords" / "v0.1.0.json").read_bytes())
    before.chmod(0o600)
    return store


@pytest.mark.parametrize(("configured", "tried"), [(CONFIGURED, "213"), (FOURTH, "4213")])
def test_a_file_of_0_1_0_is_taken_over(released: Path, configured: Secret, tried: str) -> None:
    path = password_file(released, "home", "IK00001", "SV300")
    assert [each.name for each in directory(released).iterdir()] == [path.name]
    assert path.name != "home.json"
    passwords = Passwords(PasswordFile(path), configured, BOTH)
    assert passwords.problem is None
    for receiver in BOTH:
        assert "".join(each.reveal()[0] for each in passwords.candidates(receiver)) == tried
    assert path.stat().st_mode & 0o777 == 0o600
    passwords.confirm("primary", SECOND)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    again = Passwords(PasswordFile(password_file(released, "home", "IK00001", "SV300")), configured, BOTH)
    assert again.candidates("primary") == passwords.candidates("primary")


def test_a_file_of_0_1_0_does_not_replace_what_the_account_has(released: Path) -> None:
    path = password_file(released, "cottage", "IK00001", "SV300")
    Passwords(PasswordFile(path), CONFIGURED, BOTH).add(FOURTH)
    assert password_file(released, "home", "IK00001", "SV300") == path
    assert Passwords(PasswordFile(path), CONFIGURED, BOTH).candidates() == (FOURTH, CONFIGURED)
    assert (directory(released) / "home.json").exists()


def test_the_file_follows_the_account_and_not_its_name(tmp_path: Path) -> None:
    store = tmp_path / "bridge.db"
    path = password_file(store, "home", "IK00001", "SV300")
    assert password_file(store, "cottage", "IK00001", "SV300") == path
    assert password_file(store, "home", "IK00002", "SV300") != path
    assert password_file(store, "home", "IK00001", "SV301") != path
    assert "IK00001" not in path.name


def test_what_cannot_be_written_is_said_before_a_password_is_asked_for(kept: Kept) -> None:
    passwords = kept.open()
    kept.path.parent.write_text("a file is in the way")
    with pytest.raises(StoreError, match="the password file"):
        passwords.check_writable()


def test_the_file_is_private_and_no_text_shows_a_password(kept: Kept) -> None:
    passwords = kept.open()
    passwords.add(SECOND)
    assert kept.path.stat().st_mode & 0o777 == 0o600
    assert kept.path.parent.stat().st_mode & 0o777 == 0o700
    assert "1" * 15 not in kept.path.read_text() or SECOND.reveal() in kept.path.read_text()
    for text in (repr(passwords), str(vars(passwords))):
        assert "2" * 15 not in text


def test_exchanges_that_end_at_once_lose_no_password(kept: Kept) -> None:
    passwords = kept.open()
    passwords.add(SECOND)
    with ThreadPoolExecutor(8) as threads:
        for number in range(40):
            threads.submit(passwords.confirm, BOTH[number % 2], CONFIGURED)
            threads.submit(passwords.refuse, BOTH[number % 2], CONFIGURED)
            if number == 20:
                threads.submit(passwords.add, THIRD)
    assert kept.tried()[0] == "3"
    assert "2" in kept.tried()
