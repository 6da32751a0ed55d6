"""The files of `[include]`: one configuration with the file that names them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from glob import glob
from os.path import isdir
from pathlib import Path
from typing import Any, Final

from bridge.common.errors import ConfigError
from bridge.common.suggest import closest
from bridge.common.text import clean
from bridge.config.faults import child
from bridge.config.types import Key

Values = dict[str, Any]
Origins = dict[Key, tuple[str, Key]]
"""By key: the file that it stands in, and its key there."""

_RULES: Final = ("forward",)
TABLES: Final = (("transmitters",), ("g90", "panels"), _RULES)
"""What may stand in an included file: tables by name, and rules in their order."""
_FORM = "[[transmitters]], [[g90.panels]] and [[forward]]"


def included(patterns: object, main: Path | None) -> list[Path]:
    """Return the files that `patterns` match, relative to the configuration file `main`.

    A directory means its `*.toml`. `main` itself is left out. Raises ConfigError.
    """
    folder = main.parent if main else Path()
    found: dict[Path, None] = {}
    for pattern in patterns if isinstance(patterns, list) else ():  # validation reports anything else
        if isinstance(pattern, str):
            try:
                found |= dict.fromkeys(_matched(pattern, folder, main))
            except ConfigError as error:
                raise ConfigError(f"{main or 'the configuration'}: include.files: {error}") from None
    return list(found)


def _matched(pattern: str, folder: Path, main: Path | None) -> list[Path]:
    wanted = str(Path(pattern) / "*.toml") if isdir(folder / pattern) else pattern  # noqa: PTH112 - it never raises
    matched = sorted(glob(wanted, root_dir=folder, recursive=True)) if "\0" not in pattern else []  # noqa: PTH207 - also of absolute patterns
    files = [path for path in (folder / name for name in matched) if main is None or path.absolute() != main.absolute()]
    if not files:
        raise ConfigError(f"no {'other ' if matched else ''}file matches {clean(wanted)!r} in {folder.absolute()}")
    if (directory := next(filter(isdir, files), None)) is not None:
        raise ConfigError(f"{clean(pattern)!r}: {directory} is a directory; use a pattern that matches files alone")
    return files


def add(values: Values, origins: Origins, file: Path, read: Callable[[Path], Values]) -> None:
    """Add the tables of `file` to `values`, and where they stand to `origins`. Raises ConfigError."""
    more = read(file)
    _check(more, file)
    for path in TABLES:
        tables = functools.reduce(child, path, more)
        if tables is None:
            continue
        above = functools.reduce(lambda table, name: table.setdefault(name, {}), path[:-1], values)
        below = above.setdefault(path[-1], type(tables)()) if isinstance(above, dict) else None
        if not isinstance(below, type(tables)):
            continue  # validation reports what the configuration file has in their place
        if isinstance(tables, list):
            origins |= {(*path, len(below) + at): (str(file), (*path, at)) for at in range(len(tables))}
            below += tables
            continue
        for name, table in tables.items():
            if name in below:
                other, _ = origins.get((*path, name), ("the configuration file", path))
                raise ConfigError(f"{file}: {path[-1]}: {clean(name)!r} is also in {other}; remove one of them")
            below[name], origins[*path, name] = table, (str(file), (*path, name))


def _check(values: Values, file: Path) -> None:
    """Raise ConfigError unless `values` contains nothing but the tables of an included file."""
    panels = values.get("g90", {})
    nested = {f"g90.{name}" for name in panels} if isinstance(panels, Mapping) else {"g90"}
    names = {".".join(path): path for path in TABLES}
    for name in sorted((values.keys() - {"g90"} | nested) - names.keys()):
        likely = closest(name, names)
        advice = f"did you mean {likely!r}?" if likely else f"only {_FORM} may be in an included file"
        raise ConfigError(f"{file}: {clean(name)}: {advice}")
    for name, path in names.items():
        tables = functools.reduce(child, path, values)
        if not isinstance(tables, list if path == _RULES else Mapping) and tables is not None:
            raise ConfigError(f"{file}: {path[-1]}: write [[{name}]], in double brackets")
