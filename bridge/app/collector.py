"""Spares Python's garbage collector what lives as long as the bridge does.

With 10 000 transmitters a full collection takes more than a second, in which nothing is sent, and there was one each
quarter of a minute.
"""

from __future__ import annotations

import asyncio
import gc

_MANY = 500
"""Transmitters; with fewer a collection is short."""
_EACH_S = 60.0
"""By then all transmitters have begun."""


class Collector:
    """Freezes what was built, and once what the running transmitters have made.

    Another bridge of the process that ends unfreezes it.
    """

    def __init__(self, transmitters: int) -> None:
        """`transmitters`: of this bridge and of those beside it, which the process may have taken over."""
        self._is_needed = transmitters >= _MANY
        self._built = 0

    def built(self) -> None:
        if self._is_needed:
            gc.freeze()
            self._built = gc.get_freeze_count()

    async def run(self) -> None:
        """Look each minute until cancelled; then everything can be collected again."""
        try:
            while True:
                await asyncio.sleep(_EACH_S)
                if self._is_needed and gc.get_freeze_count() <= self._built:
                    gc.freeze()
        finally:
            if self._is_needed:
                gc.unfreeze()
