"""Files that a power cut leaves whole."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path


def write_private(path: Path, content: bytes) -> None:
    """Replace `path` (mode 0600); after a crash it has the old or the new content. Raises OSError."""
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
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Return once the names in the directory `path` are on disk."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
