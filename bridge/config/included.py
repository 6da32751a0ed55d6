"""The files of `[include]`: one configuration with the file that names them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from glob import glob
from pathlib import Path
from typing import Any, Final

from bridge.common.errors import ConfigError
from bridge.common.suggest import closest
from bridge.common.text import clean
from bridge.config.faults import Key, child

Values = dict[str, Any]

TABLES: Final = (("transmitters",), ("g90", "panels"))
"""What may stand in an included file."""
_FORM = "[[transmitters]] and [[g90.panels]]"


def included(patterns: object, main: Path | None) -> list[Path]:
    """Return the files that `patterns` match, relative to the configuration file. Raises ConfigError."""
    folder = main.parent if main else Path()
    found: dict[Path, None] = {}
    for pattern in patterns if isinstance(patterns, list) else ():  # validation reports anything else
        if not isinstance(pattern, str):
            continue
        matched = sorted(glob(pattern, root_dir=folder)) if "\0" not in pattern else []  # noqa: PTH207 - also of absolute patterns
        if not matched:
            origin = main or "the configuration"
            raise ConfigError(f"{origin}: include.files: no file matches {clean(pattern)!r} in {folder.absolute()}")
        found |= dict.fromkeys(folder / name for name in matched)
    return list(found)


def add(values: Values, origins: dict[Key, str], file: Path, read: Callable[[Path], Values]) -> None:
    """Add the tables of `file` to `values`; `origins` has the file of each. Raises ConfigError."""
    more = read(file)
    _check(more, file)
    for path in TABLES:
        tables = functools.reduce(child, path, more)
        if not isinstance(tables, Mapping):
            continue
        below = functools.reduce(lambda table, name: table.setdefault(name, {}), path, values)
        for name, table in tables.items():
            if name in below:
                other = origins.get((*path, name), "the configuration file")
                raise ConfigError(f"{file}: {path[-1]}: {clean(name)!r} is also in {other}; remove one of them")
            below[name], origins[*path, name] = table, str(file)


def _check(values: Values, file: Path) -> None:
    """Raise ConfigError unless `values` contains nothing but the tables of an included file."""
    panels = values.get("g90", {})
    nested = {f"g90.{name}" for name in panels} if isinstance(panels, Mapping) else {"g90"}
    for name in sorted(values.keys() - {"g90"} | nested):
        if name not in {".".join(path) for path in TABLES}:
            likely = closest(name, ["transmitters", "g90.panels"])
            advice = f"did you mean {likely!r}?" if likely else f"only {_FORM} may be in an included file"
            raise ConfigError(f"{file}: {clean(name)}: {advice}")
    for path in TABLES:
        tables = functools.reduce(child, path, values)
        if not isinstance(tables, Mapping | None):
            raise ConfigError(f"{file}: {path[-1]}: write [[{'.'.join(path)}]], in double brackets")
