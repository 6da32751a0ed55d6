"""The programs, options and fuzz targets that tests/README.md names exist."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from chaos.command import _parser
from fuzz.targets import TARGETS

TOP = Path(__file__).parents[2]
TEXT = (TOP / "tests/README.md").read_text("utf-8")


@pytest.mark.parametrize("program", sorted(set(re.findall(r"(?:tests(?:/[a-z]+)?|\.ci)/run\b", TEXT))))
def test_programs_exist(program: str) -> None:
    assert os.access(TOP / program, os.X_OK)


def test_chaos_options() -> None:
    named = set(re.findall(r"`(--[a-z-]+)`", TEXT.split("| option |")[1].split("\n\n")[0]))
    known = {option for action in _parser()._actions for option in action.option_strings if option.startswith("--")}
    assert named == known - {"--help"}


def test_the_chaos_run_can_be_repeated() -> None:
    (options,) = re.findall(r"^`tests/chaos/run (.*)`$", TEXT, re.MULTILINE)
    _parser().parse_args(options.split())


def test_fuzz_targets() -> None:
    assert re.findall(r"^\| `([a-z0-9-]+)`: ", TEXT, re.MULTILINE) == list(TARGETS)
