"""`sosbridge` whose days pass in seconds: heartbeats, health and clearing up come five times a second."""

from __future__ import annotations

from bridge import cli
from bridge.app import status
from bridge.g90.state import plan
from bridge.store import maintenance
from bridge.transmitters import supervision

_EACH_S = 0.2

supervision.HEARTBEATS_PER_LEVEL = 450  # of 90 s
supervision.PING_GAP_S = 0.1
plan.FIRST_RETRY_S = 0.1  # type: ignore[misc]
status._HEALTH_S = maintenance._PRUNE_S = maintenance._OTHERS_WRITE_S = _EACH_S
cli.main()
