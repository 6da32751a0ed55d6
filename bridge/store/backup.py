"""One file with all that a bridge must not lose: the store as it is at one moment, and the passwords of rotations.

It is a tar archive with `sosbridge.db` and `passwords/NAME.json`, of mode 0600. The service goes on meanwhile; to put a
backup back, it is stopped.
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
from bridge.store.credentials import directory, write_private
from bridge.store.database import connect, fault
from bridge.store.recovery import replace

_DATABASE = "sosbridge.db"
_PASSWORDS = re.compile(r"passwords/([a-z0-9_-]+\.json)")


@dataclass(frozen=True, slots=True)
class Contents:
    """What a backup holds, or what became of it."""

    waiting: int
    """Commands that wait to be delivered."""
    passwords: tuple[str, ...]
    """Their files, by name."""
    kept: tuple[str, ...] = ()
    """Password files that were there already and stay: they are newer than any backup."""
    set_aside: str | None = None
    """The name of the store that was there before."""


def save(store: Path, file: Path) -> Contents:
    """Write the backup of a store, in use or not. Raises StoreError, also where `file` exists."""
    if not store.exists():
        raise StoreError(f"the store {store}: there is none")
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise StoreError(f"the backup {file}: {error.strerror}") from None
    try:
        with _told(file), os.fdopen(handle, "wb") as out:
            contents = _save(store, file, out)
            out.flush()
            os.fsync(out.fileno())
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    return contents


def _save(store: Path, file: Path, out: io.BufferedWriter) -> Contents:
    # Beside the backup and not beside the store: it is another disk, or has room for both.
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".sosbridge-") as folder:
        copy = Path(folder) / _DATABASE
        waiting = _copy(store, copy)
        # Read after the store: a password that was rotated meanwhile is the one that counts.
        passwords = sorted(directory(store).glob("*.json"))
        with tarfile.open(fileobj=out, mode="w") as archive:
            for each in passwords:
                archive.add(each, f"passwords/{each.name}")
            archive.add(copy, _DATABASE)  # the last, so that an archive without its end is seen to be none
    return Contents(waiting, tuple(each.name for each in passwords))


def _copy(store: Path, copy: Path) -> int:
    """Copy the database as it is at one moment; return how many commands wait in it."""
    try:
        with closing(sqlite3.connect(f"{store.absolute().as_uri()}?mode=ro", uri=True)) as db:
            db.execute("VACUUM INTO ?", (str(copy),))
        with closing(sqlite3.connect(copy)) as db:
            return int(db.execute("SELECT count(*) FROM command WHERE state = 'pending'").fetchone()[0])
    except sqlite3.Error as error:
        raise fault(store, error) from None


def put_back(file: Path, store: Path) -> Contents:
    """Put a backup in place of a store that nobody uses; what was there is set aside. Raises StoreError."""
    unproved = store.with_name(f"{store.name}.restored")
    try:
        with _told(file):
            passwords = _unpack(file, unproved)
        with _told(store):
            waiting = _prove(unproved)
            kept = _put_passwords(passwords, directory(store))
            set_aside = replace(store, unproved)
    finally:
        unproved.unlink(missing_ok=True)
    return Contents(waiting, tuple(passwords), kept, set_aside)


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
        raise StoreError(f"the backup {file}: it is none, or not whole")
    return passwords


def _prove(database: Path) -> int:
    """Open the database as the service would, and return how many commands wait in it."""
    with closing(connect(database)) as db:
        return int(db.execute("SELECT count(*) FROM command WHERE state = 'pending'").fetchone()[0])


def _put_passwords(passwords: dict[str, bytes], folder: Path) -> tuple[str, ...]:
    """Write those that are not there; return the names of those that are: an old password locks out."""
    kept = []
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
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from None
