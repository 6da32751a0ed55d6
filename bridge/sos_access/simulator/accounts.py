"""The transmitters of an operator's receivers, and their passwords (PROTOCOL.md, Rotation).

A new password counts from its first use; until then the old one is valid. Asking again replaces a new one that was
never used.
"""

from __future__ import annotations

import json
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bridge.common.errors import FieldError, StoreError
from bridge.common.files import write_private
from bridge.common.models import Secret
from bridge.common.text import clean
from bridge.sos_access import elements

_LETTERS = string.ascii_lowercase + string.digits
_PASSWORD_LENGTH = 15
_SEEN_AT_MOST = 10_000
_ACCOUNTS_AT_MOST = 10_000


@dataclass(slots=True)
class Account:
    """One transmitter; `transmitter_type` None matches any."""

    current: Secret
    pending: Secret | None = None
    transmitter_type: str | None = None


class Accounts:
    """Transmitters by code, their passwords, and the alarms received recently.

    `passwords` has the first password by transmitter code, or by (code, type). With `accept_unknown`, an unknown
    transmitter is added with the password that it sends first. With `path`, all passwords are kept in a JSON file of
    mode 0600, which takes precedence. Raises `FieldError` for an invalid code or password, `StoreError` for a file
    that cannot be read or written.
    """

    def __init__(
        self,
        passwords: Mapping[str | tuple[str, str], str | Secret] | None = None,
        *,
        accept_unknown: bool = False,
        path: Path | None = None,
    ) -> None:
        self.accept_unknown = accept_unknown
        self._path = path
        self._accounts: dict[str, Account] = {}
        self._seen: dict[object, float] = {}
        for key, password in (passwords or {}).items():
            code, kind = (key, None) if isinstance(key, str) else key
            self._add(code, Account(Secret(password), None, kind))
        if path is not None and path.exists():
            self._load(path)

    def __repr__(self) -> str:
        return f"Accounts({sorted(self._accounts)!r}, accept_unknown={self.accept_unknown!r})"

    def account(self, transmitter_code: str) -> Account | None:
        return self._accounts.get(transmitter_code)

    def authorize(self, transmitter_code: str, transmitter_type: str, password: Secret) -> bool:
        """Whether `password` is right; the first message with a new password ends the old one."""
        account = self._accounts.get(transmitter_code)
        if account is None:
            return self._add_unknown(transmitter_code, transmitter_type, password)
        if account.transmitter_type not in {None, transmitter_type}:
            return False
        if account.pending is not None and password == account.pending:
            account.current, account.pending = account.pending, None
            self._save()
            return True
        return password == account.current

    def rotate(self, transmitter_code: str) -> Secret:
        """Return a new password for an authorized transmitter."""
        account = self._accounts[transmitter_code]
        account.pending = Secret("".join(secrets.choice(_LETTERS) for _ in range(_PASSWORD_LENGTH)))
        self._save()
        return account.pending

    def seen(self, alarm: object, at: float, window: float) -> bool:
        """Whether `alarm` came within `window` seconds before `at`; remembers it."""
        last = self._seen.pop(alarm, None)
        self._seen[alarm] = at
        while len(self._seen) > _SEEN_AT_MOST:
            del self._seen[next(iter(self._seen))]
        return last is not None and at - last < window

    def _add_unknown(self, code: str, kind: str, password: Secret) -> bool:
        if not self.accept_unknown or len(self._accounts) >= _ACCOUNTS_AT_MOST:
            return False
        self._add(code, Account(password, None, kind))
        self._save()
        return True

    def _add(self, code: str, account: Account) -> None:
        elements.TRANSMITTER_CODE.check(code)
        for password in (account.current, account.pending):
            if password is not None:
                elements.AUTHENTICATION.check(password.reveal())
        self._accounts[code] = account

    def _load(self, path: Path) -> None:
        try:
            for code, kept in json.loads(path.read_text("utf-8")).items():
                pending = kept["pending"]
                current = Secret(kept["current"])
                self._add(code, Account(current, None if pending is None else Secret(pending), kept["type"]))
        except OSError as error:
            raise StoreError(f"{clean(path)} cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError, FieldError):
            # The message must not quote the file: it contains passwords.
            raise StoreError(f"{clean(path)} is not an account file of the simulated receiver") from None

    def _save(self) -> None:
        if self._path is None:
            return
        kept = {
            code: {
                "current": account.current.reveal(),
                "pending": None if account.pending is None else account.pending.reveal(),
                "type": account.transmitter_type,
            }
            for code, account in self._accounts.items()
        }
        try:
            write_private(self._path, json.dumps(kept, indent=1).encode())
        except OSError as error:
            raise StoreError(f"{clean(self._path)} cannot be written: {error.strerror}") from None
