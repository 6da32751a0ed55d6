"""The tree in CONTRIBUTING.md: each file of bridge/ with one line about it, taken from the file.

`python tests/docs/tree.py` writes it after files or their first lines have changed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TOP = Path(__file__).parents[2]
GUIDE = TOP / ".github/CONTRIBUTING.md"
_BLOCK = re.compile(r"(?<=```text\n)bridge/\n.*?(?=```)", re.DOTALL)
_CITATION = re.compile(r"\s*\([^()]*\.md\b[^()]*\)")
_COLUMN = 28


def tree() -> str:
    return "bridge/\n" + "".join(_lines(TOP / "bridge", 1))


def shown() -> str:
    """Return the tree that CONTRIBUTING.md has."""
    return str(_BLOCK.findall(GUIDE.read_text("utf-8"))[0])


def _lines(folder: Path, depth: int) -> Iterator[str]:
    """Return the lines of a folder: its files, then its packages."""
    for path in sorted(folder.iterdir(), key=lambda path: (path.is_dir(), path.name)):
        if path.is_dir() and (path / "__init__.py").exists():
            yield _line(f"{path.name}/", _about(path / "__init__.py"), depth)
            yield from _lines(path, depth + 1)
        elif path.suffix in (".py", ".md") and path.name != "__init__.py":
            yield _line(path.name, _about(path), depth)


def _line(name: str, about: str, depth: int) -> str:
    return f"{'  ' * depth + name:{_COLUMN}}{about}\n"


def _about(path: Path) -> str:
    """Return the first line of a module's docstring, the title of a document."""
    text = path.read_text("utf-8")
    first = (ast.get_docstring(ast.parse(text)) or "") if path.suffix == ".py" else text.lstrip("# ")
    return _CITATION.sub("", first.partition("\n")[0]).removesuffix(".")


if __name__ == "__main__":
    GUIDE.write_text(_BLOCK.sub(lambda _: tree(), GUIDE.read_text("utf-8")), "utf-8")
