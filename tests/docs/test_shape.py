"""The measures of CONTRIBUTING.md: no long file or function, no class name twice, nothing loose at the top."""

from __future__ import annotations

import ast
import subprocess
from collections import Counter
from pathlib import Path

import bridge

ROOM = Path(bridge.__file__).parent
TOP = Path(__file__).parents[2]
TREES = {path: ast.parse(path.read_text("utf-8")) for path in sorted(ROOM.rglob("*.py"))}
LONGEST_FILE = 400
LONGEST_FUNCTION = 40


def test_no_file_is_long() -> None:
    assert [path for path in TREES if len(path.read_text("utf-8").splitlines()) > LONGEST_FILE] == []


def test_no_function_is_long() -> None:
    functions = [
        (path.name, node.name, node.end_lineno - node.lineno + 1)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
    ]
    assert len(functions) > 1000
    assert [each for each in functions if each[-1] > LONGEST_FUNCTION] == []


def test_no_class_name_stands_twice() -> None:
    names = Counter(node.name for tree in TREES.values() for node in tree.body if isinstance(node, ast.ClassDef))
    assert [name for name, count in names.items() if count > 1] == []


def test_nothing_is_loose() -> None:
    """Beside these there are dotfiles, and what a tool has left."""
    listed = subprocess.run(["git", "ls-files"], cwd=TOP, capture_output=True, text=True, check=False)
    if listed.returncode:  # an unpacked sdist
        return
    tracked = [Path(line) for line in listed.stdout.splitlines()]
    top = {path.parts[0] for path in tracked if path.parts[0][0] != "."}
    assert top == {"LICENSE", "README.md", "bridge", "deploy", "homeassistant", "pyproject.toml", "tests"}
    loose = {path.name for path in tracked if path.parent == Path("bridge")}
    assert loose == {"README.md", "TOPICS.md", "__init__.py", "__main__.py", "py.typed"}
