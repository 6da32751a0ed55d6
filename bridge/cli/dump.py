"""`sosbridge dump`: what a bug report needs, in one file without passwords."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import sqlite3
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from bridge import __version__
from bridge.app import build
from bridge.app.health_client import UnhealthyError, ask
from bridge.cli.common import existing_store
from bridge.cli.stores import homes, opened
from bridge.common.errors import BridgeError, ConfigError
from bridge.common.files import write_private
from bridge.common.models import Secret
from bridge.config.settings import Settings
from bridge.config.sources import find
from bridge.store.outbox import Outbox

_HEAD: Final = """\
sosbridge dump of {now}

Not in this file: passwords, keys, panel codes, the contents of alarms, earlier log lines than those below, and the log
of the broker. In it: names, addresses, transmitter codes and GUIDs. Read it before you publish it.
"""
_LIBRARIES: Final = (
    "aiomqtt", "paho-mqtt", "pydantic", "pydantic-settings", "xmltodict", "aiohttp", "prometheus-client", "amqtt",
)  # fmt: skip
_SHORTEST_MASKED: Final = 6
"""Characters of a secret that is masked wherever it stands; a code of four digits would hit times and counters."""
_IN_URL: Final = re.compile("://[^/@]*?:([^/]*)@")
"""The password in the address of a database."""
_JOURNAL: Final = ("journalctl", "--unit=sosbridge", "--lines=300", "--no-pager", "--output=cat")
_JOURNAL_S: Final = 10.0


async def write(args: argparse.Namespace) -> int:
    now = datetime.now().astimezone()
    path = Path(args.file or f"sosbridge-dump-{now:%Y%m%d-%H%M%S}.txt")
    try:
        settings: Settings | None = args.load_settings()
        fault = ""
    except ConfigError as error:
        settings, fault = None, str(error)
    parts: dict[str, list[str]] = {"versions": _versions(), "settings": [fault], "log": []}
    if settings is not None:
        parts["settings"] = _settings(args, settings)
        parts["service"], parts["log"] = await asyncio.to_thread(_service, settings)
        try:
            parts["store"] = await _store(settings)
        except BridgeError as error:
            parts["store"] = [str(error)]
    parts["log"] = parts.pop("log") or await asyncio.to_thread(_journal)  # the longest comes last
    text = _HEAD.format(now=f"{now:%Y-%m-%d %H:%M:%S %z}")
    for title, lines in parts.items():
        text += "\n".join([f"\n== {title} ==", *lines, ""])
    for secret in await _secrets(settings):
        text = secret.mask(text)
    if args.file == "-":
        print(text, end="")
        return 0
    try:
        await asyncio.to_thread(write_private, path, text.encode())
    except OSError as error:
        raise BridgeError(f"{path}: {error.strerror}") from None
    print(f"wrote {path}; read it before you publish it")
    return 0


def _versions() -> list[str]:
    system = ""
    with suppress(OSError):
        system = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    found = {
        "sosbridge": __version__,
        "python": platform.python_version(),
        "system": f"{platform.platform()} {system}".strip(),
        "sqlite": sqlite3.sqlite_version,
        "openssl": ssl.OPENSSL_VERSION,
    }
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return [f"{name}: {value}" for name, value in found.items()]


def _settings(args: argparse.Namespace, settings: Settings) -> list[str]:
    variables = ", ".join(sorted(name for name in os.environ if name.upper().startswith("SOSBRIDGE_"))) or "none"
    return [
        f"file: {args.config or find() or 'none'}",
        f"environment variables: {variables}",
        *(f"warning: {line}" for line in settings.warnings),
        json.dumps(settings.model_dump(mode="json", exclude_unset=True), indent=2, ensure_ascii=False),
    ]


def _service(settings: Settings) -> tuple[list[str], list[str]]:
    """Return the state of the running service, and its log."""
    try:
        report = ask(settings.store.path, details=True)
    except UnhealthyError as error:
        return [str(error)], []
    lines = [f"{name}: {value}" for name, value in report.counters.items()]
    lines += [f"hangs: {name}" for name in report.hanging]
    lines += [f"problem: {' '.join(fields)}" for fields in report.problems]
    return [*lines, *(f"not checked yet: {owner}" for owner in report.unknown)], report.log


async def _store(settings: Settings) -> list[str]:
    path = existing_store(settings)
    lines = [f"{file.name}: {file.stat().st_size} bytes" for file in sorted(path.parent.glob(f"{path.name}*"))]
    async with opened(settings, path) as store:
        outbox = Outbox(store)
        names = [each.name for each in settings.transmitters]
        counts = {name: (await outbox.status(name)).counts for name in names}
        stray = await outbox.unconfigured(names)
    lines += [f"{name}: {each.pending} pending, {each.rejected} rejected" for name, each in counts.items()]
    return [*lines, *(f"{name}, not configured: {count} pending" for name, count in stray.items())]


def _journal() -> list[str]:
    """Return the last lines of the service's log in the journal of systemd, or why there are none."""
    try:
        done = subprocess.run(_JOURNAL, capture_output=True, timeout=_JOURNAL_S, check=False)  # noqa: S603 - a constant
        lines = done.stdout.decode(errors="replace").splitlines()
    except (OSError, subprocess.TimeoutExpired):
        lines = []
    return lines or ["not available: no service answers, and the journal has no lines of it; add those you have"]


async def _secrets(settings: Settings | None) -> list[Secret]:
    """Return the configured passwords and codes, and the rotated passwords."""
    if settings is None:
        return []
    found = list(_within(settings))
    at = None
    with suppress(BridgeError):  # no library for the database
        at = await homes(settings)
    for each in build.lines(settings, homes=at):
        found += each.passwords.candidates()
    return [secret for secret in found if len(secret.reveal()) >= _SHORTEST_MASKED]


def _within(value: object) -> Iterator[Secret]:
    if isinstance(value, Secret):
        yield value
        yield from map(Secret, _IN_URL.findall(value.reveal()))
    elif isinstance(value, BaseModel):
        for _, each in value:
            yield from _within(each)
    elif isinstance(value, tuple):
        for each in value:
            yield from _within(each)
