"""One owner per store: the running service holds a lock on a file beside it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bridge.common.errors import BusyError, StoreError


@contextmanager
def hold(store: Path) -> Iterator[None]:
    """Own the store within the block. Raises BusyError if another process does; a crash frees the lock."""
    path = store.with_name(f"{store.name}.lock")
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreError(f"the store {store}: {error.strerror}; its directory must exist and be writable") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BusyError(f"the store {store} is in use by a running sosbridge; stop it first") from None
        yield
    finally:
        os.close(handle)


def is_held(store: Path) -> bool:
    """Whether a service runs on the store now. Raises StoreError."""
    try:
        with hold(store):
            return False
    except BusyError:
        return True
