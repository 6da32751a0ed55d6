"""Read the settings from all sources.

Precedence: command line, environment (SOSBRIDGE_MQTT__HOST), secret files (mqtt__host), the TOML file, defaults. While
sources are merged, lists of transmitters, alarms and panels are tables by name, so that a single value can come from
any source: SOSBRIDGE_TRANSMITTERS__HOME__AUTHENTICATION, or a file transmitters__home__authentication. The files of
`[include]` are part of the TOML file.
"""

from __future__ import annotations

import functools
import os
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource, SettingsError

from bridge.common.errors import ConfigError
from bridge.common.suggest import closest
from bridge.common.text import clean
from bridge.config import risks
from bridge.config.faults import child, fields_at, header, lines, settings_at
from bridge.config.included import Origins, Values, add, included
from bridge.config.settings import Settings
from bridge.config.types import Key

_DEFAULT_FILES = (Path("/config/sosbridge.toml"), Path("sosbridge.toml"))
_DEFAULT_SECRETS = Path("/run/secrets")
_NAMED = {
    ("transmitters",): "name",
    ("transmitters", "*", "alarms"): "key",
    ("transmitters", "*", "paths"): "name",
    ("g90", "panels"): "guid",
}
_PATTERNS = ("include", "files")
_OTHER_VARIABLES = {"SOSBRIDGE_CONFIG", "SOSBRIDGE_SECRETS_DIR"}
_TOML_ADVICE = {
    "Cannot declare": "tables in lists have double brackets, such as [[transmitters]]",
    "Cannot overwrite": "is it there twice, or is the header of a table missing above it?",
    "Invalid value": "texts need quotes",
}
_LARGEST_SECRET = 4096
"""Characters read of a secret file."""
_DEEPEST = 16
"""Levels of nested tables; deeper ones are not settings, and would exhaust the stack."""


@dataclass(frozen=True, slots=True)
class _Source:
    """Values and their origin, in words for the user."""

    name: str
    values: Values

    def names(self, key: Key) -> bool:
        return functools.reduce(child, key, self.values) is not None


def load(file: Path | None = None, overrides: Sequence[str] = ()) -> Settings:
    """Read the settings; `overrides` are `mqtt.host=value` from the command line.

    Raises ConfigError with a line for each error: source, key, what is wrong, and what to use.
    """
    path = file or find()
    origins: Origins = {}
    sources = [
        _Source("the command line", _overrides(overrides)),
        _Source("the environment", _keyed(_environment(), "the environment")),
        *_secret_files(),
        _Source(str(path) if path else "the configuration", _toml(path) if path else {}),
    ]
    if path is None and not any(source.values.keys() - {"log"} for source in sources):
        looked = f"--config FILE, $SOSBRIDGE_CONFIG, {', '.join(map(str, _DEFAULT_FILES))} in {Path.cwd()}"
        text = f"no configuration: looked for {looked}; write one with: sosbridge config example > sosbridge.toml"
        raise ConfigError("\n".join([text, *_ignored()]))
    patterns = next(filter(None, (functools.reduce(child, _PATTERNS, each.values) for each in sources)), None)
    for each in included(patterns, path):
        add(sources[-1].values, origins, each, _toml)
    merged: Values = {}
    for source in reversed(sources):
        _merge(merged, source.values)

    try:
        settings = Settings(**_listed(merged))
    except ValidationError as error:
        found = lines(error.errors(include_url=False), merged, functools.partial(_origin, sources, origins))
        raise ConfigError("\n".join(dict.fromkeys(found))) from None
    settings.warn([*_ignored(), *risks.of(settings)])
    return settings


def _origin(sources: Sequence[_Source], origins: Origins, key: Key, whole: bool) -> tuple[str, Key]:  # noqa: FBT001
    """Return the name of the source that `key` comes from, and its key there."""
    # No source has a missing value; then the source of the table that it is missing in is named.
    in_list = key[:1] == ("forward",)  # all of it comes from one source
    depths = (1,) if in_list else range(len(key), 0, -1)
    found = ([each.name for each in sources if each.names(key[:depth])] for depth in depths)
    # A table is written in the file, even if a value of it comes from another source.
    name = next(filter(None, found), [sources[-1].name])[-1 if whole and not in_list else 0]
    for depth in (2, 3) if name == sources[-1].name else ():
        if key[:depth] in origins:
            file, own = origins[key[:depth]]
            return file, (*own, *key[depth:])
    return name, key


def find() -> Path | None:
    named = os.environ.get("SOSBRIDGE_CONFIG")
    if named:
        return Path(named)
    return next((path for path in _DEFAULT_FILES if path.exists()), None)


def _toml(path: Path) -> Values:
    try:
        with path.open("rb") as file:
            values = tomllib.load(file)
    except OSError as error:
        advice = "; write one with: sosbridge config example > sosbridge.toml" * isinstance(error, FileNotFoundError)
        raise ConfigError(f"{path}: {error.strerror}{advice}") from None
    except (ValueError, RecursionError) as error:  # ValueError also for a number with thousands of digits
        advice = next((f"; {advice}" for text, advice in _TOML_ADVICE.items() if text in str(error)), "")
        raise ConfigError(f"{path}: not TOML: {clean(error)}{advice}") from None
    keyed: Values = _keyed(values, str(path))
    return keyed


def _environment() -> Values:
    try:
        return EnvSettingsSource(Settings)()
    except SettingsError as error:  # its text names the table; its cause may contain a password
        table = next((name for name in Settings.model_fields if f'"{name}"' in str(error)), "")
        raise ConfigError(
            f"the environment: SOSBRIDGE_{table.upper()}: not JSON, which a whole table needs; "
            "set single values instead, such as SOSBRIDGE_MQTT__HOST=localhost"
        ) from None


def _overrides(assignments: Sequence[str]) -> Values:
    values: Values = {}
    for assignment in assignments:
        key, sign, value = assignment.partition("=")
        if not sign or not key:
            raise ConfigError(
                f"the command line: --set {clean(key)}: the value is missing; use for example --set mqtt.host=localhost"
            )
        _put(values, key.strip().lower().split("."), value)
    return values


def _secrets() -> list[Path]:
    """Return the files of the secrets directory. Raises ConfigError if one is named that cannot be read."""
    directory = Path(os.environ.get("SOSBRIDGE_SECRETS_DIR") or _DEFAULT_SECRETS)
    try:
        return sorted(path for path in directory.iterdir() if path.is_file())
    except OSError as error:
        if "SOSBRIDGE_SECRETS_DIR" in os.environ:
            raise ConfigError(f"SOSBRIDGE_SECRETS_DIR: {directory}: {error.strerror}") from None
        return []


def _secret_files() -> Iterator[_Source]:
    for path in _secrets():
        if "__" not in path.name:
            continue
        try:
            text = path.read_text("utf-8")[:_LARGEST_SECRET].rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"the secret file {path}: {clean(getattr(error, 'strerror', None) or 'not UTF-8 text')}"
            ) from None
        values: Values = {}
        _put(values, path.name.lower().split("__"), text)
        yield _Source(f"the secret file {path}", values)


def _put(values: Values, path: Sequence[str], value: object) -> None:
    for part in path[:-1]:
        if not isinstance(values.get(part), dict):  # the later of two contradicting values counts
            values[part] = {}
        values = values[part]
    values[path[-1]] = value


def _merge(below: Values, above: Values) -> None:
    for key, value in above.items():
        if isinstance(value, dict):  # a copy: merging must not change the source
            below[key] = below[key] if isinstance(below.get(key), dict) else {}
            _merge(below[key], value)
        else:
            below[key] = value


def _keyed(values: Any, source: str, path: tuple[str, ...] = ()) -> Any:  # noqa: ANN401 - whatever a source holds
    """Return `values` with lists of named tables as tables by name; anything else is left for validation."""
    if len(path) > _DEEPEST:
        raise ConfigError(f"{source}: {clean('.'.join(path[:2]))}: more than {_DEEPEST} levels of nested tables")
    if isinstance(values, dict):
        if path in _NAMED and any(_is_setting(key, value, path) for key, value in values.items()):
            raise ConfigError(f"{source}: {path[-1]}: write {header(path)}, in double brackets")
        step = "*" if path in _NAMED else None
        return {key: _keyed(value, source, (*path, step or key)) for key, value in values.items()}
    if path not in _NAMED or not isinstance(values, list | tuple):
        return values
    name, tables = _NAMED[path], {}
    for number, table in enumerate(values, 1):
        if isinstance(table, dict) and name not in table:  # its number is not a name
            typo = closest(name, table.keys() - fields_at((*path, 0)).keys())
            advice = f"{clean(typo)!r} looks like a typo of it" if typo else "it is required"
            raise ConfigError(f"{source}: {path[-1]}: table {number}: {name}: is missing; {advice}")
        key = str(table[name]).lower() if isinstance(table, dict) else str(number)
        if key in tables:
            raise ConfigError(f"{source}: {path[-1]}: duplicate {name} {clean(table[name])!r}")
        tables[key] = _keyed(table, source, (*path, "*"))
    return tables


def _is_setting(key: str, value: object, path: tuple[str, ...]) -> bool:
    """Return whether `key` is a setting where the name of a table is expected."""
    return key in fields_at((*path, 0)) and not isinstance(value, dict)


def _listed(values: Any, path: tuple[str, ...] = ()) -> Any:  # noqa: ANN401 - whatever a source holds
    """Undo `_keyed`: tables by name become lists again."""
    if not isinstance(values, dict):
        return values
    if path in _NAMED:
        name = _NAMED[path]
        tables = [{name: key, **table} if isinstance(table, dict) else table for key, table in values.items()]
        return [_listed(table, (*path, "*")) for table in tables]
    return {key: _listed(value, (*path, key)) for key, value in values.items()}


def _ignored() -> Iterator[str]:
    """Yield a line for each SOSBRIDGE_ variable and secret file that is not the source of any setting."""
    for variable in sorted(os.environ):
        name = variable.lower().removeprefix("sosbridge_")
        if variable.upper().startswith("SOSBRIDGE_") and variable not in _OTHER_VARIABLES:
            if (likely := _likely(name)) and likely != name:
                yield f"{variable} is ignored; did you mean SOSBRIDGE_{likely.upper()}?"
            elif (table := name.split("__")[0]) not in Settings.model_fields:
                near = closest(table, Settings.model_fields)
                advice = (
                    f"did you mean SOSBRIDGE_{name.replace(table, near, 1).upper()}?" if near else "no such setting"
                )
                yield f"{variable} is ignored; {advice}"
    for path in _secrets():
        if "__" not in path.name and (likely := _likely(path.name.lower())):
            yield f"the secret file {path} is ignored; did you mean {likely}?"


def _likely(name: str) -> str | None:
    """Return the setting that `name` would be with `__` between table and setting, such as mqtt__password."""
    for key in settings_at():
        pattern = "_+".join("(.+?)" if isinstance(part, int) else re.escape(part) for part in key)
        if key[0] != "forward" and (match := re.fullmatch(pattern, name)):
            names = iter(match.groups())
            return "__".join(next(names) if isinstance(part, int) else part for part in key)
    return None
