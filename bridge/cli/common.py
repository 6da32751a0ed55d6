"""What the commands share: where the settings are, and how results are shown."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bridge.common.errors import ConfigError
from bridge.config.settings import Settings, TransmitterSettings
from bridge.config.sources import load

_GREEN, _RED, _YELLOW, _PLAIN = "\033[32m", "\033[31m", "\033[33m", "\033[0m"


def add_config_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-c", "--config", type=Path, metavar="FILE", help="the configuration file")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting that goes before all others, such as mqtt.host=localhost; repeatable",
    )
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), help="how much is told")


def load_settings(args: argparse.Namespace) -> Settings:
    """Read the settings as the command line says. Raises ConfigError."""
    overrides = list(args.overrides)
    if args.log_level:
        overrides.append(f"log.level={args.log_level}")
    return load(args.config, overrides)


def add_transmitter_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-t", "--transmitter", metavar="NAME", help="which transmitter; not needed where there is one")


def find_transmitter(settings: Settings, name: str | None) -> TransmitterSettings:
    """Return the transmitter named, or the only one. Raises ConfigError."""
    names = ", ".join(each.name for each in settings.transmitters) or "none"
    if name is None and len(settings.transmitters) == 1:
        return settings.transmitters[0]
    if name is None:
        raise ConfigError(f"--transmitter is missing; configured: {names}")
    found = next((each for each in settings.transmitters if each.name == name), None)
    if found is None:
        raise ConfigError(f"--transmitter {name}: there is no such transmitter; configured: {names}")
    return found


def on_terminal() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def coloured(text: str, *, good: bool | None) -> str:
    """Return `text` green, red, or yellow for None; plain where there is no terminal."""
    if not on_terminal():
        return text
    colour = _YELLOW if good is None else _GREEN if good else _RED
    return f"{colour}{text}{_PLAIN}"


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print aligned columns on a terminal; elsewhere a line each with tabs between, for other programs to cut."""
    if not on_terminal():
        for row in rows:
            print("\t".join(row))
        return
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
