"""One owner for a store: the running service holds a lock on a file beside it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bridge.common.errors import BusyError, StoreError


@contextmanager
def hold(store: Path) -> Iterator[None]:
    """Own the store within. Raises BusyError where somebody else does, also a crashed owner's lock is free."""
    path = store.with_name(f"{store.name}.lock")
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreError(
            f"the store {store}: {error.strerror}; see that its directory exists and may be written"
        ) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BusyError(f"the store {store} is in use by a running sosbridge") from None
        yield
    finally:
        os.close(handle)


def is_held(store: Path) -> bool:
    """Tell whether a service runs on the store at this moment."""
    try:
        with hold(store):
            return False
    except BusyError:
        return True
