"""`sosbridge config`: print an example configuration or the JSON schema."""

from __future__ import annotations

import argparse
import json
from importlib.resources import files

from bridge.config.settings import Settings


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("config")
    kinds = parser.add_subparsers(metavar="KIND", required=True)
    example = kinds.add_parser(
        "example",
        help="print a commented example",
        epilog="example: sosbridge config example > sosbridge.toml",
    )
    example.set_defaults(run=print_example)
    schema = kinds.add_parser("schema", help="print the JSON schema, for editors that validate TOML")
    schema.set_defaults(run=print_schema)


async def print_example(_: argparse.Namespace) -> int:
    print(files("bridge.config").joinpath("example.toml").read_text("utf-8"), end="")
    return 0


async def print_schema(_: argparse.Namespace) -> int:
    print(json.dumps(Settings.model_json_schema(), indent=2))
    return 0
