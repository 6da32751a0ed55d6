"""What glibc does with memory that was freed."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, threading
from bridge.common.kernel import share_freed_memory
if {share}:
    share_freed_memory()
each = threading.Barrier(4)
def work():
    each.wait()
    return [bytes(1000 + n) for n in range(1000)]
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
ctypes.CDLL(None).malloc_stats()
"""


@pytest.mark.parametrize("share", [False, True])
def test_threads_share_what_is_freed(*, share: bool) -> None:
    """Else memory that the main thread has freed is of no use to those that build the bridges."""
    stats = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(share=share)], capture_output=True, text=True, check=True
    ).stderr
    assert (stats.count("Arena") == 1) == share
