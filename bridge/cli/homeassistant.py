"""`sosbridge homeassistant`: print a dashboard for Home Assistant."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime

from bridge.app import build
from bridge.cli.stores import opened
from bridge.common.errors import ConfigError
from bridge.config.settings import Settings
from bridge.g90.state.model import Now, PanelState
from bridge.g90.state.storage import from_json
from bridge.homeassistant.dashboard import dashboard
from bridge.mqtt.outgoing import Outgoing
from bridge.store.outbox import Outbox


async def show_dashboard(args: argparse.Namespace) -> int:
    settings: Settings = args.load_settings()
    if not settings.homeassistant.enabled:
        raise ConfigError("homeassistant.enabled is false: Home Assistant has no entities of sosbridge to show")
    announcer = build.announcer(settings, Outgoing(asyncio.Event()))
    await build.announce(settings, build.topics(settings), announcer)
    for panel in (panels := await _panels(settings)):
        announcer.announce_panel(panel)
    made = dashboard(announcer.devices.values())
    if not made:
        raise ConfigError("nothing to show; configure a transmitter or a panel")
    print(made, end="")
    for panel in panels:
        if not panel.sensors:
            text = f"the sensors of {panel.name or panel.guid} are not known yet; run this again once it has connected"
            print(text, file=sys.stderr)  # standard output is the file
    return 0


async def _panels(settings: Settings) -> list[PanelState]:
    """Return the panels as the store knows them, else as they are configured."""
    if settings.g90 is None:
        return []
    stored = {}
    if settings.store.url is not None or settings.store.path.exists():
        async with opened(settings) as store:
            stored = await Outbox(store).panels()
    now = Now(time.monotonic(), datetime.now(UTC))
    names = {panel.guid: panel.name for panel in settings.g90.panels}
    others = stored.keys() - names.keys() if settings.g90.unknown_panels == "accept" else ()
    guids = [*names, *sorted(others)]
    found = (from_json(stored[guid]["state"], now) if guid in stored else PanelState(guid=guid) for guid in guids)
    return [replace(state, name=names.get(state.guid)) for state in found]
