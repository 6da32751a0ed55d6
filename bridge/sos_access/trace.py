"""Debug lines around each step on the wire: started, then complete or failed.

Documents are not logged: they contain a password.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from bridge.common.text import clean
from bridge.sos_access.peer import Peer, peer_name

log = logging.getLogger(__name__)


def traced(peer: Peer, step: str) -> AbstractContextManager[list[object]]:
    """Trace the step of the block; what the block adds to the list is said of its result."""
    return _traced(peer, step) if log.isEnabledFor(logging.DEBUG) else nullcontext([])


@contextmanager
def _traced(peer: Peer, step: str) -> Iterator[list[object]]:
    result: list[object] = []
    who = f"{peer.label} {peer_name(peer.address)}".strip()
    log.debug("%s: %s started", who, step)
    began = time.monotonic()
    try:
        yield result
    except BaseException as error:
        reason = clean(error) or type(error).__name__
        log.debug("%s: %s failed after %.0f ms: %s", who, step, 1000 * (time.monotonic() - began), reason)
        raise
    said = "".join(f", {clean(each)}" for each in result)
    log.debug("%s: %s complete after %.0f ms%s", who, step, 1000 * (time.monotonic() - began), said)
