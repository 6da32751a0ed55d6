"""The service: one bridge on a store of its own, or a node of a cluster; signals, lock, recovery."""

from __future__ import annotations

import asyncio
import logging

from bridge.app.bridge import Bridge, run_once
from bridge.common.extras import require
from bridge.common.kernel import give_memory_back
from bridge.common.stop import stop_signals
from bridge.config.settings import Settings
from bridge.panels.events import check_stored
from bridge.store.sqlite.lock import hold
from bridge.store.sqlite.recovery import Recovery

log = logging.getLogger(__name__)


async def run(settings: Settings) -> None:
    """Run the service until SIGTERM, SIGINT or SIGHUP. Raises ConfigError, BusyError or StoreError."""
    with stop_signals() as stop, hold(settings.store.path):
        if settings.store.url is None:
            await _run_alone(settings, stop)
        else:
            require("postgres", "store.url", "psycopg")
            from bridge.app.node import Node  # noqa: PLC0415 - imports the extra `postgres`

            node = Node(settings, settings.store.url)
            del settings  # the node keeps those of thousands of transmitters in less memory
            give_memory_back()
            await node.run(stop)
    log.info("stopped")


async def _run_alone(settings: Settings, stop: asyncio.Event) -> None:
    recovery = Recovery(settings.store.path, check_stored)
    while not stop.is_set():
        async with await recovery.open() as store:
            damaged = await run_once(Bridge(settings, store, recovery.report), stop)
        if damaged is not None:
            await recovery.renew(damaged)
