"""The passwords of one transmitter, in a file of mode 0600, safe at every step of a rotation.

The seed: the old password stays valid until the first message with the new one arrives. So a new password is on disk
before anything is sent with it, and older ones stay until the receiver has treated a message with the newest.
A password newly written into the configuration counts as a new one: it is tried first, and the stored one after it.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from bridge.common.errors import StoreError
from bridge.common.models import Secret

TRIED_PER_EXCHANGE = 2
_KEPT = 3


@dataclass(frozen=True, slots=True)
class _Password:
    value: Secret
    refused: bool = False
    """The receiver refused it while an older one worked: the older one is tried first from then on."""


class Credentials:
    """Which password to send with, newest first. Methods that write return once it is on disk; they block."""

    def __init__(self, path: Path, configured: Secret) -> None:
        """Read `path` if it exists; `configured` is the operator's first password.

        Raises StoreError when the file cannot be read or is damaged.
        """
        self._path = path
        self._configured = configured
        self._salt, self._passwords = self._load()

    def candidates(self) -> tuple[Secret, ...]:
        """The passwords to try for one exchange, at most two, the likeliest first."""
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

    def rotated(self, new: Secret) -> None:
        """Store `new`, which a receiver gave out, before anything is sent with it. Raises StoreError."""
        others = [password for password in self._passwords if password.value != new]
        self._save(_kept([_Password(new), *others]))

    def treated(self, used: Secret, refused: tuple[Secret, ...] = ()) -> None:
        """Note that a receiver treated a message sent with `used`, having refused `refused` just before.

        Once the newest password worked, the older ones are forgotten. Raises StoreError.
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
                raise ValueError("no usable password")  # noqa: TRY301 - told below, with the other kinds of damage
        except FileNotFoundError:
            return secrets.token_hex(16), [_Password(self._configured)]
        except OSError as error:
            raise StoreError(f"the password file {self._path}: {error.strerror}") from None
        except (ValueError, LookupError, TypeError):
            # Nothing of the file may get into the text: it holds passwords.
            raise StoreError(f"the password file {self._path} is damaged; bring back a backup") from None
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
            write_private(self._path, json.dumps(content).encode())
        except OSError as error:
            raise StoreError(f"the password file {self._path}: {error.strerror}") from None
        self._passwords = passwords


def _kept(passwords: list[_Password]) -> list[_Password]:
    """Return `passwords`, newest first, without those too many: one that was refused goes before one that may work."""
    likeliest = sorted(passwords, key=lambda password: password.refused)[:_KEPT]
    return [password for password in passwords if password in likeliest]


def _mark(salt: str, password: Secret) -> str:
    """Tell whether the configured password is still the one that was read last, without keeping it a second time."""
    return hashlib.sha256(f"{salt}:{password.reveal()}".encode()).hexdigest()


def directory(store: Path) -> Path:
    """Return where the password files lie: beside the store."""
    return store.with_name(f"{store.stem}.passwords")


def write_private(path: Path, content: bytes) -> None:
    """Replace `path` by a file of mode 0600 with `content`: after a crash it is the old one or the new one, whole."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    with suppress(OSError):
        for left_by_a_crash in path.parent.glob(f".{path.name}.*"):
            left_by_a_crash.unlink()
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
