"""`sosbridge mqtt clear`: remove what the bridge left on the broker."""

from __future__ import annotations

import argparse
import asyncio
import sys

from bridge import __version__
from bridge.app.build import broker
from bridge.cli.stores import is_running
from bridge.common.errors import BridgeError, BusyError, ConfigError
from bridge.common.text import clean, counted
from bridge.config.settings import Settings
from bridge.homeassistant.entity import Names
from bridge.mqtt import retained


async def clear(args: argparse.Namespace) -> int:
    """List the retained topics of this installation, ask, and remove them. Return 1 if the answer is no."""
    settings: Settings = args.load_settings()
    target, base = broker(settings), settings.mqtt.base_topic
    if (settings.store.url is not None or settings.store.path.exists()) and await is_running(settings):
        raise BusyError("the service runs and would publish its topics again; stop it first")
    found = await _topics(settings)
    where = f"{counted(len(found), 'retained topic')} on {target.host}:{target.port}"
    for topic in sorted(found):
        print(clean(topic))
    if found.get(f"{base}/bridge/state") == b"online":
        print(f"warning: a bridge is online below {base}; it publishes these topics again", file=sys.stderr)
    if not found or args.dry_run:
        print(where, file=sys.stderr)
        return 0
    if not (args.yes or await _agreed(f"Remove {where}? [y/N] ")):
        print("nothing was removed", file=sys.stderr)
        return 1
    await retained.clear(target, found)
    if left := await _topics(settings):
        raise BridgeError(f"{counted(len(left), 'topic')} remain; see the broker's access list")
    print(f"removed {where}", file=sys.stderr)
    return 0


async def _topics(settings: Settings) -> dict[str, bytes]:
    base, names = (
        settings.mqtt.base_topic,
        Names(settings.homeassistant.discovery_prefix, settings.mqtt.base_topic, __version__),
    )
    found = await retained.retained(broker(settings), (f"{base}/#", names.filter))
    return {topic: payload for topic, payload in found.items() if topic.startswith(f"{base}/") or names.is_ours(topic)}


async def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError("nobody can be asked here; add --yes or --dry-run")
    return (await asyncio.to_thread(input, question)).strip().lower() in ("y", "yes")
