"""Every module has a floor: the contracts in pyproject.toml, which `tests/run` proves, leave none out."""

from __future__ import annotations

import pkgutil
import tomllib
from pathlib import Path

import bridge


def test_every_module_stands_in_a_contract() -> None:
    contracts = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text("utf-8"))
    named = str(contracts["tool"]["importlinter"]["contracts"])
    modules = {found.name for found in pkgutil.walk_packages(bridge.__path__, "bridge.") if not found.ispkg}
    missing = {name for name in modules if f"{name}'" not in named.replace(" | ", "' ") and "bridge.cli." not in name}
    assert missing == set()
