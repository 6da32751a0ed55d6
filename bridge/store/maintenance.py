"""What the store needs while the bridge runs: old results pruned, changes by other programs and damage noticed."""

from __future__ import annotations

import asyncio
import logging

from bridge.common.clock import Clock
from bridge.common.errors import StoreError
from bridge.store.database import Store
from bridge.store.outbox import Outbox

log = logging.getLogger(__name__)

_OTHERS_WRITE_S = 2.0
"""How soon a change by `sosbridge outbox` is noticed."""
_PRUNE_S = 3600.0


async def maintain(store: Store, outbox: Outbox, clock: Clock) -> None:
    """Maintain the store until cancelled. Raises DamagedError once the store shows damage."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_watch_others(outbox), name="store: watch other programs")
        tasks.create_task(_prune(outbox, clock), name="store: prune")
        raise await store.until_damaged()


async def _watch_others(outbox: Outbox) -> None:
    """Wake all transmitters when another program changed the store, such as `sosbridge outbox retry`."""
    mark = None
    while True:
        try:
            before, mark = mark, await outbox.change_mark()
        except StoreError as error:
            log.error("%s", error)
        else:
            if before is not None and before != mark:
                outbox.wakes.wake_all()
        await asyncio.sleep(_OTHERS_WRITE_S)


async def _prune(outbox: Outbox, clock: Clock) -> None:
    while True:
        await asyncio.sleep(_PRUNE_S)  # by then a receiver has shown if the clock is years ahead
        if clock.is_wrong:
            continue
        try:
            await outbox.prune(clock.now())
        except StoreError as error:
            log.error("%s", error)
