"""What `check` and `cluster status` found, as a table or JSON, and the exit status that follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from bridge.cli.common import coloured, print_json, print_table

Finding = tuple[str, Literal["ok", "FAILED", "warning", "-"], str]
"""What was tested, whether it works ("-": not tested), details."""
_COLOURS: Final = {"ok": True, "FAILED": False, "warning": None}
_WORDS: Final = {"FAILED": "failed", "-": "not tested"}
"""In JSON, where they differ."""


def print_findings(header: Sequence[str], rows: Sequence[Sequence[str]], *, as_json: bool) -> int:
    """Print rows that end with whether it works, and details; return the exit status."""
    if as_json:
        print_json([dict(zip(header, _with(row, _WORDS.get(row[-2], row[-2])), strict=True)) for row in rows])
    else:
        print_table(header, [_with(row, _coloured(row[-2])) for row in rows])
    return 1 if any(row[-2] == "FAILED" for row in rows) else 0


def _with(row: Sequence[str], works: str) -> tuple[str, ...]:
    return *row[:-2], works, row[-1]


def _coloured(works: str) -> str:
    return coloured(works, good=_COLOURS[works]) if works in _COLOURS else works
