"""Maintenance while the bridge runs: prunes old results, notices damage and changes by other programs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from bridge.common.clock import Clock
from bridge.common.errors import StoreError
from bridge.common.lasting import tolerated
from bridge.store.database import Store
from bridge.store.outbox import Outbox

log = logging.getLogger(__name__)

_OTHERS_WRITE_S = 2.0
"""How soon a change by `sosbridge outbox` is noticed."""
_PRUNE_S = 3600.0


async def maintain(store: Store, outbox: Outbox, clock: Clock, report: Callable[[StoreError | None], None]) -> None:
    """Maintain the store until cancelled. Raises DamagedError once the store shows damage.

    `report` is called when the disk takes no writes, and with None when it does again.
    """
    store.on_failure.append(report)
    if store.failure is not None:
        report(store.failure)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_watch_others(outbox), name="store: watch other programs")
        tasks.create_task(_prune(outbox, clock), name="store: prune")
        raise await store.until_damaged()


async def _watch_others(outbox: Outbox) -> None:
    """Notice what another program changed, such as `sosbridge outbox retry`; forget confirmed deliveries."""
    mark = None
    while True:
        with tolerated(log):
            before, mark = mark, await outbox.change_mark()
            if before is not None and before != mark:
                await outbox.follow_others()
            await outbox.forget_confirmed()
        await asyncio.sleep(_OTHERS_WRITE_S)


async def _prune(outbox: Outbox, clock: Clock) -> None:
    while True:
        await asyncio.sleep(_PRUNE_S)  # by then a receiver has shown if the clock is years ahead
        with tolerated(log):
            if not clock.is_wrong:
                await outbox.prune(clock.now())
