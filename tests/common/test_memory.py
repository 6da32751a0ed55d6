"""What glibc does with memory that was freed."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
from bridge.common.kernel import give_memory_back

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

blocks = [bytes(1000) for _ in range(50_000)]
del blocks[:-1]  # the last one is at the end of the heap
before = resident()
give_memory_back()
print(before - resident())
"""


def test_what_was_freed_goes_back_to_the_system() -> None:
    """A node that stands by does not keep what reading the configuration took."""
    given = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    assert int(given) > 40_000_000
