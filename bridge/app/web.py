"""Wires the status page to the bridge; imports the extra `web` only where `[web] listen` is set."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Protocol

from bridge import __version__
from bridge.app import build
from bridge.common.extras import require
from bridge.common.models import Secret
from bridge.common.problems import Kind, Problems
from bridge.config.settings import Settings, WebSettings
from bridge.config.types import host_port
from bridge.homeassistant.dashboard import dashboard
from bridge.record.months import Month
from bridge.record.reader import read_report
from bridge.store.database import Store
from bridge.store.outbox import Outbox

if TYPE_CHECKING:
    from bridge.web.board import Board
    from bridge.web.server import WebServer


class Served(Protocol):
    """What the page shows: one bridge, or a node with those that it runs."""

    def online(self) -> bool:
        """Whether the broker is there."""

    def reconnects(self) -> int:
        """Return the number of connections to the broker after the first."""

    async def hanging(self) -> list[str]:
        """Return the names of what hangs."""

    async def report(self, transmitter: str, month: Month) -> str | None:
        """Return a report as a page; None: no such transmitter here."""

    async def counters(self) -> Mapping[str, object]:
        """Return the counters by name (TOPICS.md, Bridge health). Raises StoreError."""

    def state(self) -> str:
        """Return what this node does in its cluster, such as standby; '' without one."""

    def owned(self) -> Mapping[int, bool]:
        """Return of each shard of a cluster whether this node owns it."""


def board(settings: Settings, problems: Problems) -> Board | None:
    """Return what collects the states; None without a page. Raises ConfigError."""
    if settings.web.listen is None:
        return None
    require("web", "web.listen", "aiohttp", "prometheus_client")
    from bridge.web.board import Board  # noqa: PLC0415

    return Board(settings.mqtt.base_topic, problems)


def server(settings: Settings, board: Board, served: Served) -> WebServer:
    """Return the server of the page."""
    from bridge.web.metrics import Metrics  # noqa: PLC0415
    from bridge.web.server import Sources, WebServer  # noqa: PLC0415

    board.problems.doubt(Kind.WEB_PORT_TAKEN)
    host, port = host_port(settings.web.listen or "")
    metrics = Metrics(board, served.reconnects, served.owned).text if settings.web.metrics else None
    sources = Sources(
        served.online,
        served.hanging,
        served.report,
        metrics,
        served.state,
        lambda: dashboard(json.loads(payload) for payload in board.devices.values()),
    )
    return WebServer(host, port, _login(settings.web), board, sources, partial(board.problems.set, Kind.WEB_PORT_TAKEN))


def _login(web: WebSettings) -> Secret | None:
    return Secret(f"{web.username}:{web.password.reveal()}") if web.username and web.password else None


async def report(settings: Settings, store: Store, outbox: Outbox, transmitter: str, month: Month) -> str | None:
    """Return the report of a transmitter as a page; None: no such transmitter. Raises StoreError."""
    from bridge.record.report import page  # noqa: PLC0415

    subjects = [each for each in build.subjects(settings) if each.name == transmitter]
    now = datetime.now().astimezone()
    months = await read_report(store, outbox, subjects, month, now.timestamp(), running=True)
    return page(months, __version__, now) if months else None
