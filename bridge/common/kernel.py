"""What the system knows of itself: boot, machine, whether its time is right; free memory."""

from __future__ import annotations

import ctypes
import hashlib
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path

_TIME_ERROR = 5
"""Result of adjtimex while the clock is not synchronised."""
_LARGEST_TIMEX = 512
"""Bytes; more than any system's structure. All zero, nothing is changed."""


def steady_clock() -> tuple[str, Callable[[], float]]:
    """Return the boot's id and a clock that counts from it; without a boot id, those of this process."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip(), _since_boot
    except (OSError, ValueError):
        began = time.monotonic()
        return secrets.token_hex(16), lambda: time.monotonic() - began


def is_synchronised() -> bool | None:
    """Whether a time service keeps the wall clock right, as of this second; None: the system does not say."""
    return _is_synchronised(int(time.monotonic()))


@lru_cache(maxsize=1)  # each alarm wants to know
def _is_synchronised(_second: int) -> bool | None:
    try:
        state = _libc().adjtimex(ctypes.create_string_buffer(_LARGEST_TIMEX))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else bool(state != _TIME_ERROR)


@cache  # each CDLL makes a class of its own
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def give_memory_back() -> None:
    """Return freed memory to the system; glibc keeps it, for the thread that freed it."""
    with suppress(AttributeError):  # another C library
        _libc().malloc_trim(0)


def machine_id() -> str:
    """Return a hash that identifies this machine; '' where nothing does."""
    try:
        name = Path("/etc/machine-id").read_bytes().strip()
    except OSError:
        return ""
    return hashlib.sha256(b"sosbridge " + name).hexdigest()[:32] if name else ""


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
