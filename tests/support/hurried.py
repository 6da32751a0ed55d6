"""`sosbridge` whose days pass in seconds: heartbeats, health and clearing up come five times a second.

What the record writes each hour stays out: tests/record counts that.
"""

from __future__ import annotations

from bridge import cli
from bridge.app import status
from bridge.g90.state import plan
from bridge.record import recorder
from bridge.store import maintenance
from bridge.transmitters import supervision

_EACH_S = 0.2

supervision.HEARTBEATS_PER_LEVEL = 450  # of 90 s
supervision.PING_GAP_S = 0.1
plan.FIRST_RETRY_S = 0.1  # type: ignore[misc]
status._HEALTH_S = maintenance._PRUNE_S = maintenance._OTHERS_WRITE_S = _EACH_S
recorder._WRITE_EACH_S = 1e12
cli.main()
