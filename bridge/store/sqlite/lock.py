"""One owner per store: the running service holds a lock on a file beside it."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bridge.common.errors import BusyError, StoreError


@contextmanager
def hold(store: Path) -> Iterator[None]:
    """Own the store within the block. Raises BusyError if another process does; a crash frees the lock."""
    handle = _open(store)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BusyError(f"the store {store} is in use by a running sosbridge; stop it first") from None
        yield
    finally:
        os.close(handle)


def _open(store: Path) -> int:
    path = store.with_name(f"{store.name}.lock")
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        if error.errno == errno.EROFS:  # a service that starts there sends what waits
            with suppress(OSError):
                return os.open(path, os.O_RDONLY)
        raise StoreError(f"the store {store}: {error.strerror}; its directory must exist and be writable") from None


def is_held(store: Path) -> bool:
    """Whether a service runs on the store now. Raises StoreError."""
    try:
        with hold(store):
            return False
    except BusyError:
        return True
