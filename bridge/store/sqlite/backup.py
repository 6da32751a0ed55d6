"""Back up and restore what a bridge must not lose: a snapshot of the store, and rotated passwords.

A backup is a tar archive with `sosbridge.db` and `passwords/NAME.json`, of mode 0600. Backing up works while the
service runs; restoring needs it stopped.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bridge.common.errors import StoreError
from bridge.common.files import write_private
from bridge.store.passwords import directory
from bridge.store.records import count_pending
from bridge.store.sqlite.connection import connect, fault
from bridge.store.sqlite.recovery import replace

_DATABASE = "sosbridge.db"
_NOT_SENT = "not sent: it was pending when the backup was made, which may be long ago"
_PASSWORDS = re.compile(r"passwords/([a-z0-9_-]+\.json)")


@dataclass(frozen=True, slots=True)
class Contents:
    """What a backup contains, and what restoring it kept."""

    pending: int
    passwords: tuple[str, ...]
    kept: tuple[str, ...] = ()
    """Password files that existed and were kept, because they are newer than any backup."""
    replaced: str | None = None
    """New name of the store that was replaced."""


def save(store: Path, file: Path) -> Contents:
    """Write a backup of a store, in use or not. Raises StoreError, also if `file` exists."""
    if not store.exists():
        raise StoreError(f"no store at {store}; see store.path in the configuration")
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise StoreError(f"the backup {file}: {error.strerror}") from None
    try:
        with _as_store_error(file), os.fdopen(handle, "wb") as out:
            contents = _save(store, file, out)
            out.flush()
            os.fsync(out.fileno())
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    return contents


def _save(store: Path, file: Path, out: io.BufferedWriter) -> Contents:
    # Beside the backup, not the store: that is another disk, or has room for both.
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".sosbridge-") as folder:
        copy = Path(folder) / _DATABASE
        pending = _copy(store, copy)
        # Read after the store: of a password that is rotated meanwhile, the new one is needed.
        passwords = sorted(directory(store).glob("*.json"))
        with tarfile.open(fileobj=out, mode="w") as archive:
            for each in passwords:
                archive.add(each, f"passwords/{each.name}")
            archive.add(copy, _DATABASE)  # last, so that a truncated archive has none
    return Contents(pending, tuple(each.name for each in passwords))


def _copy(store: Path, copy: Path) -> int:
    """Copy a snapshot of the database; return the number of pending commands."""
    try:
        with closing(sqlite3.connect(f"{store.absolute().as_uri()}?mode=ro", uri=True)) as db:
            db.execute("VACUUM INTO ?", (str(copy),))
        with closing(sqlite3.connect(copy)) as db:
            db.row_factory = sqlite3.Row
            return count_pending(db)
    except sqlite3.Error as error:
        raise fault(store, error) from None


def restore(file: Path, store: Path, *, pending: bool) -> Contents:
    """Replace a store that is not in use with a backup; the old one is renamed. Raises StoreError.

    Unless `pending`, nothing of it is sent: its pending alarms become rejected ones, its other commands are dropped.
    """
    unchecked = store.with_name(f"{store.name}.restored")
    try:
        with _as_store_error(file):
            passwords = _unpack(file, unchecked)
        with _as_store_error(store):
            count = _check(unchecked, pending=pending)
            kept = _write_passwords(passwords, directory(store))
            replaced = replace(store, unchecked)
    finally:
        unchecked.unlink(missing_ok=True)
    return Contents(count, tuple(passwords), kept, replaced)


def _unpack(file: Path, database: Path) -> dict[str, bytes]:
    """Write the database of a backup to `database`, and return its password files."""
    passwords, found = {}, False
    try:
        with tarfile.open(file, "r:") as archive:
            for member in archive:
                match, content = _PASSWORDS.fullmatch(member.name), archive.extractfile(member)
                if content is not None and member.name == _DATABASE:
                    found = True
                    with os.fdopen(os.open(database, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
                        shutil.copyfileobj(content, out)
                elif content is not None and match is not None:
                    passwords[match[1]] = content.read()
    except (tarfile.TarError, EOFError):
        found = False
    if not found:
        raise StoreError(f"{file}: not a sosbridge backup, or incomplete")
    return passwords


def _check(database: Path, *, pending: bool) -> int:
    """Open the database as the service would; return the number of pending commands."""
    with closing(connect(database)) as db:
        count = count_pending(db)
        db.execute("UPDATE command SET boot = ''")  # perhaps of another machine, which says nothing about their age
        if not pending:
            alarms = "state = 'pending' AND request IN ('alarm', 'restore')"
            db.execute(f"UPDATE command SET state = 'rejected', mid = NULL, error = ? WHERE {alarms}", (_NOT_SENT,))  # noqa: S608 - constant
            db.execute("DELETE FROM command WHERE state = 'pending'")
        return count


def _write_passwords(passwords: dict[str, bytes], folder: Path) -> tuple[str, ...]:
    """Write the missing passwords; return the names of those that exist, as an older one would be refused."""
    kept = []
    if passwords:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, content in passwords.items():
        if _is_readable(folder / name):
            kept.append(name)
        else:
            write_private(folder / name, content)
    return tuple(kept)


def _is_readable(file: Path) -> bool:
    try:
        return bool(json.loads(file.read_text("utf-8"))["passwords"])
    except (OSError, ValueError, LookupError, TypeError):
        return False


@contextmanager
def _as_store_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from None
