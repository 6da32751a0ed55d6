"""What bridge/README.md and CONTRIBUTING.md name exists: files, modules, classes, and the tree is that of today."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from docs import tree

TOP = Path(__file__).parents[2]
PACKAGES = sorted(path.parent.name for path in TOP.glob("bridge/*/__init__.py"))
TEXT = "".join((TOP / name).read_text("utf-8") for name in ("bridge/README.md", ".github/CONTRIBUTING.md"))
PROSE = TEXT.replace(tree.shown(), "")


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(?:python )?((?:\.?\w+/)+[\w.-]*)`", PROSE))))
def test_paths_exist(path: str) -> None:
    assert (TOP / path).exists() or (TOP / "bridge" / path).exists()


@pytest.mark.parametrize("name", sorted(set(re.findall(rf"(?<![\w/])(?:{'|'.join(PACKAGES)})(?:\.\w+)+", PROSE))))
def test_modules_and_classes_exist(name: str) -> None:
    """A name is a package, modules, then attributes: `store.outbox.Outbox.add`."""
    found = importlib.import_module(f"bridge.{name.partition('.')[0]}")
    for part in name.split(".")[1:]:
        if hasattr(found, "__path__"):
            found = importlib.import_module(f"{found.__name__}.{part}")
        else:
            assert hasattr(found, part)
            found = getattr(found, part)


def test_every_package_is_described() -> None:
    assert sorted(re.findall(r"^\| `(\w+)` \|", PROSE, re.MULTILINE)) == PACKAGES


def test_the_tree_is_that_of_today() -> None:
    assert tree.shown() == tree.tree(), "run: python tests/docs/tree.py"
