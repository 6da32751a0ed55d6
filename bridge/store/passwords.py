"""The passwords of one account, in a file or in the database (sos_access/PROTOCOL.md, Passwords).

A receiver takes the old password until it gets the first message with the new one, and the two receivers of a
transmitter need not agree. So a new password is on disk before anything is sent with it, and each is kept
until every receiver takes a newer one. The configured password is always tried as well: an operator may reset to it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bridge.common.errors import FieldError, StoreError
from bridge.common.files import write_private
from bridge.common.models import Secret
from bridge.sos_access import elements

MOST_OPEN = 5
"""Passwords kept at most; beyond that a rotation is refused, as it is unknown which of them is valid."""


@dataclass(frozen=True, slots=True)
class _Password:
    value: Secret
    taken: frozenset[str] = frozenset()
    """The receivers that accepted it, and have not refused it since."""
    refused: frozenset[str] = frozenset()
    """The receivers that refused it, and have not accepted it since."""


class PasswordHome(Protocol):
    """Where the passwords of one account are kept. Its errors name it."""

    name: str
    remedy: str
    """What to do about damage, as the beginning of a sentence."""

    def load(self) -> str | None:
        """Return what was saved last, as JSON; None: nothing was. Raises StoreError."""

    def save(self, content: str) -> None:
        """Return once `content` is on disk. Raises StoreError."""


class PasswordFile:
    """A file of mode 0600."""

    remedy = "Restore the file from a backup, or delete it"

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = f"the password file {path}"

    def load(self) -> str | None:
        try:
            return self._path.read_text("utf-8")
        except FileNotFoundError:
            return None
        except UnicodeDecodeError:
            return ""  # damaged
        except OSError as error:
            raise StoreError(f"{self.name}: {error.strerror}") from None

    def save(self, content: str) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(self._path, content.encode())
        except OSError as error:
            raise StoreError(f"{self.name}: {error.strerror}") from None


class Passwords:
    """Which passwords to send with. Thread-safe; methods that write block until that is on disk."""

    def __init__(
        self,
        home: PasswordHome,
        configured: Secret,
        receivers: Sequence[str] = ("primary",),
        others: Mapping[str, Secret] | None = None,
    ) -> None:
        """Load what is stored. If that is damaged, `problem` is set and the configured password tried.

        `others`: further receivers of the account that have a configured password of their own.
        """
        self.problem: str | None = None
        """Why the passwords cannot be read, for a person."""
        self._unwritable: str | None = None
        self._home = home
        self._stored = False
        """Whether anything was ever saved."""
        self._configured = {**dict.fromkeys(receivers, configured), **(others or {})}
        """By receiver."""
        self._lock = threading.Lock()
        """Exchanges that end at the same time write from threads of their own."""
        self._salt = secrets.token_hex(16)
        self._passwords = [_Password(each) for each in dict.fromkeys(self._configured.values())]
        self._load()

    def candidates(self, receiver: str | None = None) -> tuple[Secret, ...]:
        """Return the passwords to try, newest first; those that `receiver` refused come after the others."""
        own = {self._configured[receiver]} if receiver in self._configured else {*self._configured.values()}
        of_others = {*self._configured.values()} - own
        found = [each for each in self._passwords if each.value not in of_others or receiver in each.taken]
        found += [_Password(each) for each in own if all(each != other.value for other in found)]
        found.sort(key=lambda each: receiver in each.refused)
        return tuple(each.value for each in found)

    @property
    def rotation_refusal(self) -> str | None:
        """Why no rotation may be asked for; None if one may."""
        if self.problem is not None:
            return self.problem
        if len(self._passwords) >= MOST_OPEN:
            return (
                f"{len(self._passwords)} passwords are open: of none newer than the oldest is it known that every"
                " receiver takes it; ask the operator which one is set, and write it into the configuration"
            )
        return None

    @property
    def trouble(self) -> str | None:
        """What needs a person: the home, or which password is right; None if nothing."""
        return self.rotation_refusal or self._unwritable

    def recheck(self) -> None:
        """Try again what could not be read or written: a person may have restored or removed it."""
        with self._lock:
            if self.problem is not None:
                self.problem = None
                self._load()
            elif self._unwritable is not None:
                with suppress(StoreError):
                    self._save(self._passwords)

    def check_writable(self) -> None:
        """Raise StoreError if a new password could not be stored now; ask for none before this."""
        with self._lock:
            self._save(self._passwords)

    def add(self, new: Secret) -> None:
        """Store `new`, which a receiver issued, before anything is sent with it. Raises StoreError."""
        with self._lock:
            self._save([_Password(new), *(each for each in self._passwords if each.value != new)])

    def confirm(self, receiver: str, used: Secret) -> None:
        """Store that `receiver` accepted `used`; what is older than what all receivers take is deleted.

        Raises StoreError.
        """
        with self._lock:
            self._change(self._confirmed(receiver, used))

    def refuse(self, receiver: str, used: Secret) -> None:
        """Store that `receiver` refused `used`. Raises StoreError."""
        with self._lock:
            self._change(
                [
                    _Password(each.value, each.taken - {receiver}, each.refused | {receiver})
                    if each.value == used
                    else each
                    for each in self._passwords
                ]
            )

    def _confirmed(self, receiver: str, used: Secret) -> list[_Password]:
        passwords = self._passwords
        if all(each.value != used for each in passwords):
            if used not in self._configured.values():
                return passwords
            passwords = [*passwords, _Password(used)]
        return [
            _Password(each.value, each.taken | {receiver}, each.refused - {receiver}) if each.value == used else each
            for each in passwords
        ]

    def _needed(self, passwords: list[_Password]) -> list[_Password]:
        """Return `passwords` without those that each receiver has replaced, or refused while it takes another."""
        newest: dict[str, int] = {}
        for receiver in self._configured:
            found = [number for number, each in enumerate(passwords) if receiver in each.taken]
            if not found:
                return passwords
            newest[receiver] = found[0]
        return [
            each
            for number, each in enumerate(passwords)
            if number <= min(newest.values())
            or any(number <= at and receiver not in each.refused for receiver, at in newest.items())
        ]

    def _change(self, passwords: list[_Password]) -> None:
        passwords = self._needed(passwords)
        if passwords == self._passwords:
            return
        if not self._stored and all(each.value in self._configured.values() for each in passwords):
            self._passwords = passwords  # without a rotation there is nothing that a restart must know
        elif self.problem is None:
            self._save(passwords)

    def _load(self) -> None:
        try:
            content = self._home.load()
            self._stored = content is not None
            if content is None:
                return
            stored = json.loads(content)
            salt = str(stored["salt"])
            reconfigured = stored["configured"] != self._mark(salt)
            passwords = [self._read(each) for each in stored["passwords"]]
            if not passwords:
                raise ValueError("no password")  # noqa: TRY301 - handled below like other damage
        except StoreError as error:
            self._stored = True
            self.problem = f"{error}; the configured password is tried"
            return
        except (FieldError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            # The message must not quote the content: it has passwords.
            self.problem = (
                f"{self._home.name} is damaged; the configured password is tried. {self._home.remedy} and set the"
                " configured password at the operator"
            )
            return
        self._salt = salt
        if reconfigured:  # a password newly written into the configuration counts as the newest
            first = dict.fromkeys(self._configured.values())
            passwords = [*map(_Password, first), *(each for each in passwords if each.value not in first)]
        self._passwords = passwords

    def _read(self, stored: dict[str, Any]) -> _Password:
        elements.AUTHENTICATION.check(stored["value"])  # one that cannot be sent would end the bridge
        refused = stored["refused"]
        if isinstance(refused, bool):  # before 0.2.0 the receivers were not told apart
            refused = self._configured if refused else ()
        taken = stored.get("taken", ())
        return _Password(Secret(stored["value"]), frozenset(map(str, taken)), frozenset(map(str, refused)))

    def _save(self, passwords: list[_Password]) -> None:
        if self.problem is not None:
            raise StoreError(self.problem)
        content = {
            "salt": self._salt,
            "configured": self._mark(self._salt),
            "passwords": [
                {"value": each.value.reveal(), "taken": sorted(each.taken), "refused": sorted(each.refused)}
                for each in passwords
            ],
        }
        try:
            self._home.save(json.dumps(content))
        except StoreError as error:
            self._unwritable = str(error)
            raise
        self._passwords, self._unwritable, self._stored = passwords, None, True

    def _mark(self, salt: str) -> str:
        """Return a hash that shows whether the configured password has changed, without storing it again."""
        configured = "\0".join(sorted({each.reveal() for each in self._configured.values()}))
        return hashlib.sha256(f"{salt}:{configured}".encode()).hexdigest()


def directory(store: Path) -> Path:
    """Return the directory of the password files, which is beside the store."""
    return store.with_name(f"{store.stem}.passwords")


def account(transmitter_code: str, transmitter_type: str) -> str:
    """Return the key of an account's passwords."""
    return hashlib.sha256(f"{transmitter_code}\0{transmitter_type}".encode()).hexdigest()[:32]


def password_file(store: Path, name: str, transmitter_code: str, transmitter_type: str) -> Path:
    """Return the file of an account. A file of 0.1.0, named by the transmitter, is renamed."""
    path = directory(store) / f"{account(transmitter_code, transmitter_type)}.json"
    before = directory(store) / f"{name}.json"
    with suppress(OSError):  # then the configured password is tried, and the file waits for the next start
        if before.exists() and not path.exists():
            before.rename(path)
    return path
