"""When a condition that lasts is logged: at once, after 1, 5 and 15 minutes, then each hour."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from bridge.common.errors import StoreError

AGAIN_AFTER_S: Final = (60.0, 300.0, 900.0)
EACH_S: Final = 3600.0
LASTS: Final = {"lasts": True}
"""`extra` of a log line that a loop writes again while something fails: the log takes few of the same text."""


@contextmanager
def tolerated(log: logging.Logger) -> Iterator[None]:
    """Log a StoreError instead of raising it: a loop does later what failed."""
    try:
        yield
    except StoreError as error:
        log.error("%s", error, extra=LASTS)


class Lasting:
    """A condition that may begin, last and end. Times are seconds of any steady clock."""

    def __init__(self) -> None:
        self.since: float | None = None
        """When it was logged first; None: it does not last."""
        self._logged = 0
        self.next_at = float("inf")
        """When it is logged again."""

    def is_due(self, now: float) -> bool:
        """Return whether to log it now; the first call begins it."""
        if self.since is None:
            self.since, self._logged = now, 0
        elif now < self.next_at:
            return False
        later = AGAIN_AFTER_S[self._logged :]
        self._logged += 1
        self.next_at = self.since + later[0] if later else now + EACH_S
        return True

    def end(self, now: float) -> float | None:
        """End it; return how long it lasted in seconds, None if it had not begun."""
        since, self.since, self.next_at = self.since, None, float("inf")
        return None if since is None else now - since
