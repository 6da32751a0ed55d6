"""Shared by the commands: options for the settings, and the output of results."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.cli.logs import setup_logging
from bridge.common.errors import ConfigError, StoreError

if TYPE_CHECKING:  # pydantic takes longer than some commands
    from bridge.config.settings import Settings
    from bridge.config.transmitters import TransmitterSettings

say = partial(print, flush=True)
_GREEN, _RED, _YELLOW, _PLAIN = "\033[32m", "\033[31m", "\033[33m", "\033[0m"


def execute(run: Callable[[argparse.Namespace], Coroutine[None, None, int]], args: argparse.Namespace) -> int:
    """Run a command and return its exit status."""
    args.load_settings = lambda: load_settings(args)
    setup_logging(args.log_level or "warning", "human")
    try:
        return asyncio.run(run(args))
    finally:
        logging.shutdown()


def load_settings(args: argparse.Namespace) -> Settings:
    """Read the settings with the overrides of the command line. Raises ConfigError."""
    overrides = list(args.overrides)
    if args.log_level:
        overrides.append(f"log.level={args.log_level}")
    file = Path(args.config) if args.config else None
    found: Settings = import_module("bridge.config.sources").load(file, overrides)
    return found


def existing_store(settings: Settings) -> Path:
    """Return the path of the store. Raises StoreError where there is none: reading creates nothing."""
    path = settings.store.path
    if settings.store.url is None and not path.exists():
        raise StoreError(f"no store at {path}; the service creates it")
    return path


def find_transmitter(settings: Settings, name: str | None) -> TransmitterSettings:
    """Return the transmitter `name`, or the only one for None. Raises ConfigError."""
    names = ", ".join(each.name for each in settings.transmitters) or "none"
    if name is None and len(settings.transmitters) == 1:
        return settings.transmitters[0]
    if name is None:
        raise ConfigError(f"--transmitter is missing; configured: {names}")
    found = next((each for each in settings.transmitters if each.name == name), None)
    if found is None:
        raise ConfigError(f"--transmitter {name}: unknown transmitter; configured: {names}")
    return found


def on_terminal() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def coloured(text: str, *, good: bool | None) -> str:
    """Return `text` in green, red, or yellow for None; unchanged if the output is not a terminal."""
    if not on_terminal():
        return text
    colour = _YELLOW if good is None else _GREEN if good else _RED
    return f"{colour}{text}{_PLAIN}"


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print aligned columns on a terminal; elsewhere rows with tabs and no header, for other programs."""
    if not on_terminal():
        for row in rows:
            print("\t".join(row))
        return
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_json(found: object) -> None:
    print(json.dumps(found, indent=2, ensure_ascii=False))
