"""The machine below the bridge fails: its disk is full or read-only, its clock is set back and forward."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import resource
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Self

from chaos.ledger import Ledger
from chaos.product import Product

_EACH_S = 20.0
_MEGABYTES = 64
_CLOCKS = ("+0", "-1h", "+12h", "-3d", "+5d", "+400d", "-1y", "-56y")
"""Also to the last year, and to 1970; alarms expire at the age of a day."""
_FAKETIME = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib/faketime/libfaketimeMT.so.1")


class Disk:
    """A small disk for the store: a tmpfs. Where none may be mounted, a limit on the size of files stands in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lacks = ""
        """Why it cannot be mounted: then it is never read-only."""
        self._ballast = folder / "ballast"

    def __enter__(self) -> Self:
        self.folder.mkdir()
        self.lacks = _mount("-t", "tmpfs", "-o", f"size={_MEGABYTES}m,mode=0700", "none", str(self.folder))
        if self.lacks:
            print(f"no small disk can be mounted, so none is read-only: {self.lacks}", flush=True)
        return self

    def __exit__(self, *_: object) -> None:
        if not self.lacks:
            subprocess.run(["umount", str(self.folder)], check=True)

    def fill(self, product: Product) -> None:
        """Leave no byte free."""
        if self.lacks:
            product.limit_files(1)
            return
        with self._ballast.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                with suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def free(self, product: Product) -> None:
        if self.lacks:
            product.limit_files(resource.RLIM_INFINITY)
        self._ballast.unlink(missing_ok=True)

    def protect(self, how: str) -> None:
        """Make it `ro` or `rw`. Nothing may be open for writing."""
        if problem := _mount("-o", f"remount,{how}", str(self.folder)):
            raise OSError(errno.EPERM, problem)


def _mount(*arguments: str) -> str:
    """Return what is in the way."""
    if os.geteuid():
        return "only root may"
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    return done.stderr.strip() or "it does not work" if done.returncode else ""


async def trouble_disk(disk: Disk, product: Product, ledger: Ledger, dice: random.Random) -> None:
    """Fill the disk under the running bridge, or let the bridge find it full or read-only, as after a fault.

    A full disk is no reason for it to end.
    """
    while True:
        await asyncio.sleep(dice.uniform(0.5, 1.5) * _EACH_S)
        chance = dice.random()
        if disk.lacks or chance < 0.4:
            ledger.faults["disk: full"] += 1
            ledger.disk(full=True)
            disk.fill(product)
            try:
                await asyncio.sleep(dice.uniform(1, 5))
            finally:
                disk.free(product)
                ledger.disk(full=False)
        elif chance < 0.7:
            ledger.faults["disk: full at start"] += 1
            ledger.disk(full=True)
            async with product.control:
                product.kill()
                disk.fill(product)
                product.start()
            try:
                await asyncio.sleep(dice.uniform(3, 8))
            finally:
                disk.free(product)
                ledger.disk(full=False)
        else:
            ledger.faults["disk: read-only"] += 1
            ledger.disk(full=True)
            async with product.control:
                product.kill()
                disk.protect("ro")
                try:
                    product.start()
                    await asyncio.sleep(dice.uniform(1, 3))
                finally:
                    product.end()
                    disk.protect("rw")
                    product.start()
                    ledger.disk(full=False)


class Clock:
    """The clock of the bridge alone, by libfaketime; the one that counts intervals goes on as it is."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self._library = next((str(path) for pattern in _FAKETIME for path in Path("/").glob(pattern[1:])), None)
        if self._library is None:
            raise OSError(errno.ENOENT, "the clock cannot be set: libfaketime is not installed")
        self.set("+0")

    def set(self, offset: str) -> None:
        beside = self._file.with_suffix(".new")
        beside.write_text(f"{offset}\n", "ascii")
        beside.replace(self._file)

    @property
    def environment(self) -> dict[str, str]:
        """What makes a process go by it."""
        return {
            "LD_PRELOAD": self._library or "",
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # it spoils each wait for the GIL: Python stands still for seconds
        }


async def trouble_clock(clock: Clock, ledger: Ledger, dice: random.Random) -> None:
    """Set the clock back and forward."""
    while True:
        await asyncio.sleep(dice.expovariate(2 / _EACH_S))
        ledger.faults["clock: set"] += 1
        clock.set(dice.choice(_CLOCKS))
