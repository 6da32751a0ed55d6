"""Wires the status page to the bridge; imports the extra `web` only where `[web] listen` is set."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from bridge import __version__
from bridge.app import build
from bridge.common.errors import ConfigError
from bridge.common.models import Secret
from bridge.common.problems import Kind, Problems
from bridge.config.settings import Settings, WebSettings
from bridge.config.types import host_port
from bridge.homeassistant.dashboard import dashboard
from bridge.mqtt.outgoing import Outgoing
from bridge.mqtt.session import Session
from bridge.record.months import Month
from bridge.record.reader import read_report
from bridge.store.database import Store
from bridge.store.outbox import Outbox

if TYPE_CHECKING:
    from bridge.web.board import Board
    from bridge.web.server import WebServer


def board(settings: Settings, outgoing: Outgoing, problems: Problems) -> Board | None:
    """Return what collects the states from now on; None without a page. Raises ConfigError."""
    if settings.web.listen is None:
        return None
    for name in ("aiohttp", "prometheus_client"):
        if find_spec(name) is None:
            raise ConfigError(f'web.listen is set, but {name} is not installed; use: pip install "sosbridge[web]"')
    from bridge.web.board import Board  # noqa: PLC0415

    found = Board(settings.mqtt.base_topic, problems)
    outgoing.follow(found.published)
    return found


def server(
    settings: Settings,
    board: Board,
    store: Store,
    outbox: Outbox,
    session: Session,
    hanging: Callable[[], Awaitable[list[str]]],
) -> WebServer:
    """Return the server of the page."""
    from bridge.web.metrics import Metrics  # noqa: PLC0415
    from bridge.web.server import Sources, WebServer  # noqa: PLC0415

    board.problems.doubt(Kind.WEB_PORT_TAKEN)
    host, port = host_port(settings.web.listen or "")
    metrics = Metrics(board, lambda: max(0, session.connects - 1))
    sources = Sources(
        session.connected.is_set,
        hanging,
        partial(_report, settings, store, outbox),
        metrics.text if settings.web.metrics else None,
        dashboard=lambda: dashboard(json.loads(payload) for payload in board.devices.values()),
    )
    return WebServer(host, port, _login(settings.web), board, sources, partial(board.problems.set, Kind.WEB_PORT_TAKEN))


def _login(web: WebSettings) -> Secret | None:
    return Secret(f"{web.username}:{web.password.reveal()}") if web.username and web.password else None


async def _report(settings: Settings, store: Store, outbox: Outbox, transmitter: str, month: Month) -> str | None:
    from bridge.record.report import page  # noqa: PLC0415

    subjects = [each for each in build.subjects(settings) if each.name == transmitter]
    now = datetime.now().astimezone()
    months = await read_report(store, outbox, subjects, month, now.timestamp(), running=True)
    return page(months, __version__, now) if months else None
