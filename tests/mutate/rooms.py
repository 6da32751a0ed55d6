"""The pure modules, each with the tests of its room. `python -m mutate.rooms` prints all these tests."""

from __future__ import annotations

import tomllib
from pathlib import Path

TOP = Path(__file__).parents[2]
_CONTRACT = "pure modules do no input or output"


def rooms() -> dict[str, list[str]]:
    """Return the tests of each room, by the beginning of its modules' names."""
    found: dict[str, list[str]] = tomllib.loads(Path(__file__).with_name("rooms.toml").read_text("utf-8"))
    return found


def room(module: str) -> str:
    """Return the room of a module: the longest beginning of its name. Raises `LookupError` where there is none."""
    fitting = [name for name in rooms() if module == name or module.startswith(f"{name}.")]
    if not fitting:
        raise LookupError(f"{module} is in no room of tests/mutate/rooms.toml")
    return max(fitting, key=len)


def pure_modules() -> dict[str, Path]:
    """Return the file of each pure module, below the repository."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (listed,) = (each["source_modules"] for each in contracts if each["name"] == _CONTRACT)
    files: list[Path] = []
    for name in listed:
        place = TOP.joinpath(*name.split("."))
        files += sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    return {".".join(path.relative_to(TOP).with_suffix("").parts): path for path in files}


if __name__ == "__main__":
    print("\n".join(sorted({test for tests in rooms().values() for test in tests})))
