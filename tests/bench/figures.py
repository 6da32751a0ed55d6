"""Rows of the figures in tests/README.md; `tests/bench/run` collects the lines that begin with a bar."""

from __future__ import annotations

HEAD = "| figure | beside | measured | goal |\n|---|---|---|---|"


def row(figure: str, beside: str, measured: str, goal: str = "", *, met: bool = True) -> None:
    """Print one row; a goal that is missed is said in it, and is no failure: it may be the machine's."""
    print(f"| {figure} | {beside} | {measured} | {goal}{'' if met else ' (missed)'} |", flush=True)


def wide(*cells: object) -> None:
    """Print a row of a table of its own; without a bar at its beginning it is not collected."""
    print("", *(f"| {cell}" for cell in cells), "|", flush=True)


def at_most(figure: str, beside: str, ratio: float, goal: float, measured: str = "{:.2f} x") -> None:
    row(figure, beside, measured.format(ratio), f"at most {goal:g} x", met=round(ratio, 2) <= goal)


def at_least(figure: str, beside: str, ratio: float, goal: float, measured: str = "{:.1f} x") -> None:
    row(figure, beside, measured.format(ratio), f"at least {goal:g} x", met=round(ratio, 1) >= goal)


if __name__ == "__main__":
    print(HEAD)
