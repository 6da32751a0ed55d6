"""What a process shows of itself, whatever it runs: the health check, the watchdog, the status page."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from bridge.app import health, watchdog, web
from bridge.common.problems import Problems
from bridge.config.settings import Settings

if TYPE_CHECKING:
    from bridge.web.board import Board

Work = Coroutine[Any, Any, None]


def front(
    settings: Settings,
    served: web.Served,
    problems: Problems,
    manager: watchdog.Manager,
    ready: asyncio.Event,
    board: Board | None,
) -> dict[str, Work]:
    """Return what runs, by name. `ready`: the start is over."""
    path, state = settings.store.path, served.state
    found = {
        "health": health.serve(path, served.hanging, problems, state, served.counters),
        "watchdog": watchdog.watch(manager, ready, served.hanging, state if settings.store.url else None),
    }
    if board is not None:
        found["web"] = web.server(settings, board, served).run()
    return found
