"""The signals that stop a program cleanly."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Stop(asyncio.Event):
    """Set by SIGINT, SIGTERM or SIGHUP."""

    status = 0
    """Once set: the exit status of a program that ends before its work is done."""

    def by(self, number: int) -> None:
        self.status = 128 + number
        self.set()


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Yield an event that SIGINT, SIGTERM and SIGHUP set, unless nohup or the like has SIGHUP ignored."""
    stop, loop = Stop(), asyncio.get_running_loop()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, stop.by, number)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
