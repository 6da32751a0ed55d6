"""`sosbridge` whose days pass in seconds: heartbeats, health and clearing up come five times a second."""

from __future__ import annotations

from bridge import cli
from bridge.app import bridge as app
from bridge.common import backoff

_EACH_S = 0.2

backoff._HEARTBEATS_PER_LEVEL = 450  # of 90 s
app._HEALTH_S = app._PRUNE_S = app._OTHERS_WRITE_S = _EACH_S
cli.main()
