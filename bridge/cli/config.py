"""`sosbridge config`: print an example configuration or the JSON schema."""

from __future__ import annotations

import argparse
import json
from importlib import import_module
from importlib.resources import files


def print_example(_: argparse.Namespace) -> int:
    print(files("bridge.config").joinpath("example.toml").read_text("utf-8"), end="")
    return 0


def print_schema(_: argparse.Namespace) -> int:
    settings = import_module("bridge.config.settings").Settings  # pydantic, which the example does without
    print(json.dumps(settings.model_json_schema(), indent=2))
    return 0
