"""The last lines of the log, kept in memory for `sosbridge dump`."""

from __future__ import annotations

import logging
from collections import deque

_MOST = 300


class KeptLines(logging.Handler):
    """Keeps the last lines, formatted as its formatter does."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=_MOST)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.extend(self.format(record).splitlines())


def kept() -> list[str]:
    """Return the lines of the handler at the root logger; none without one."""
    handlers = [each for each in logging.getLogger().handlers if isinstance(each, KeptLines)]
    return [line for each in handlers for line in each.lines]
