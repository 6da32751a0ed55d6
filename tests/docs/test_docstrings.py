"""The first line of a docstring is a summary: at most 100 characters, read alone in the tree and in editors."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
LONGEST = 100
WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def too_long(source: str) -> list[str]:
    nodes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, WITH_DOCSTRING))
    first = ((ast.get_docstring(node) or "").partition("\n")[0] for node in nodes)
    return [line for line in first if len(line) > LONGEST]


@pytest.mark.parametrize("path", sorted(str(path.relative_to(TOP)) for path in TOP.glob("bridge/**/*.py")))
def test_docstrings_begin_with_a_short_line(path: str) -> None:
    assert too_long((TOP / path).read_text("utf-8")) == []


def test_a_long_first_line_is_found() -> None:
    assert too_long(f'def f() -> None:\n    """{"x" * (LONGEST + 1)}\n\n    More.\n    """\n') == ["x" * (LONGEST + 1)]
