"""The passwords of one transmitter, in a file of mode 0600 (sos_access/PROTOCOL.md, Passwords).

The old password stays valid until the receiver gets the first message with the new one. So a new password is on disk
before anything is sent with it, and older ones are kept until the receiver has answered a message with the newest.
A password newly written into the configuration counts as a new one: it is tried first, then the stored one.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass, replace
from pathlib import Path

from bridge.common.errors import StoreError
from bridge.common.files import write_private
from bridge.common.models import Secret

TRIED_PER_EXCHANGE = 2
_KEPT = 3
"""Newest, current, and the one before a rotation whose answer was lost."""


@dataclass(frozen=True, slots=True)
class _Password:
    value: Secret
    refused: bool = False
    """The receiver refused it while an older one worked, so the older one is tried first."""


class Credentials:
    """Which password to send with, newest first. Methods that write block until the file is on disk."""

    def __init__(self, path: Path, configured: Secret) -> None:
        """Read `path` if it exists; `configured` is the password of the configuration.

        Raises StoreError when the file cannot be read or is damaged.
        """
        self._path = path
        self._configured = configured
        self._salt, self._passwords = self._load()

    def candidates(self) -> tuple[Secret, ...]:
        """Return the passwords to try in one exchange, at most two, the likeliest first."""
        likeliest = sorted(self._passwords, key=lambda password: password.refused)
        return tuple(password.value for password in likeliest[:TRIED_PER_EXCHANGE])

    @property
    def passwords(self) -> tuple[Secret, ...]:
        """All that are kept, newest first."""
        return tuple(password.value for password in self._passwords)

    @property
    def rotation_open(self) -> bool:
        """Whether more than one password may be right."""
        return len(self._passwords) > 1

    def add(self, new: Secret) -> None:
        """Store `new`, which a receiver issued, before anything is sent with it. Raises StoreError."""
        others = [password for password in self._passwords if password.value != new]
        self._save(_kept([_Password(new), *others]))

    def confirm(self, used: Secret, refused: tuple[Secret, ...] = ()) -> None:
        """Store that a receiver accepted `used`, after it refused `refused`.

        Once the newest password is accepted, the older ones are deleted. Raises StoreError.
        """
        if used == self._passwords[0].value:
            passwords = [_Password(used)]
        else:
            passwords = [
                replace(p, refused=p.value in refused or (p.refused and p.value != used)) for p in self._passwords
            ]
        if passwords != self._passwords:
            self._save(passwords)

    def _load(self) -> tuple[str, list[_Password]]:
        try:
            stored = json.loads(self._path.read_text("utf-8"))
            salt, mark = stored["salt"], stored["configured"]
            passwords = [_Password(Secret(p["value"]), bool(p["refused"])) for p in stored["passwords"]]
            if not passwords or not all(isinstance(p["value"], str) for p in stored["passwords"]):
                raise ValueError("no usable password")  # noqa: TRY301 - handled below like other damage
        except FileNotFoundError:
            return secrets.token_hex(16), [_Password(self._configured)]
        except OSError as error:
            raise StoreError(f"the password file {self._path}: {error.strerror}") from None
        except (ValueError, LookupError, TypeError):
            # The message must not quote the file: it contains passwords.
            raise StoreError(f"the password file {self._path} is damaged; restore it from a backup") from None
        if mark != _mark(salt, self._configured):
            others = [p for p in passwords if p.value != self._configured]
            passwords = _kept([_Password(self._configured), *others])
        return salt, passwords

    def _save(self, passwords: list[_Password]) -> None:
        content = {
            "salt": self._salt,
            "configured": _mark(self._salt, self._configured),
            "passwords": [{"value": p.value.reveal(), "refused": p.refused} for p in passwords],
        }
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(self._path, json.dumps(content).encode())
        except OSError as error:
            raise StoreError(f"the password file {self._path}: {error.strerror}") from None
        self._passwords = passwords


def _kept(passwords: list[_Password]) -> list[_Password]:
    """Return at most three of `passwords`, in their order; refused ones are dropped first."""
    likeliest = sorted(passwords, key=lambda password: password.refused)[:_KEPT]
    return [password for password in passwords if password in likeliest]


def _mark(salt: str, password: Secret) -> str:
    """Return a hash that shows whether the configured password has changed, without storing it again."""
    return hashlib.sha256(f"{salt}:{password.reveal()}".encode()).hexdigest()


def directory(store: Path) -> Path:
    """Return the directory of the password files, which is beside the store."""
    return store.with_name(f"{store.stem}.passwords")
