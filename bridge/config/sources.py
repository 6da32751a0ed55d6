"""Read the settings from all sources, and turn validation errors into lines for the user.

Precedence: command line, environment (SOSBRIDGE_MQTT__HOST), secret files (mqtt__host), the TOML file, defaults. While
sources are merged, lists of transmitters, alarms and panels are tables by name, so that a single value can come from
any source: SOSBRIDGE_TRANSMITTERS__HOME__AUTHENTICATION, or a file transmitters__home__authentication.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_settings import EnvSettingsSource, SettingsError

from bridge.common.errors import ConfigError
from bridge.common.text import clean
from bridge.config.settings import Settings

_DEFAULT_FILES = (Path("/config/sosbridge.toml"), Path("sosbridge.toml"))
_DEFAULT_SECRETS = Path("/run/secrets")
_NAMED = {
    ("transmitters",): "name",
    ("transmitters", "*", "alarms"): "key",
    ("transmitters", "*", "paths"): "name",
    ("g90", "panels"): "guid",
}
_SECRET = frozenset({"password", "authentication", "code"})
_LARGEST_SECRET = 4096
"""Characters read of a secret file."""
_DEEPEST = 16
"""Levels of nested tables; deeper ones are no settings, and would exhaust the stack."""
_LONGEST_FAULT = 600
"""Characters of one message, which may quote a value."""

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Source:
    """Values and their origin, in words for the user."""

    name: str
    values: Values

    def names(self, path: Sequence[str]) -> bool:
        found: object = self.values
        for part in path:
            if not isinstance(found, Mapping) or part not in found:
                return False
            found = found[part]
        return True


def load(file: Path | None = None, overrides: Sequence[str] = ()) -> Settings:
    """Read the settings; `overrides` are `mqtt.host=value` from the command line.

    Raises ConfigError with a line for each error: source, key, what is wrong, and what to use.
    """
    path = file or find()
    sources = [
        _Source("the command line", _overrides(overrides)),
        _Source("the environment", _keyed(_environment(), "the environment")),
        *_secret_files(),
        _Source(str(path) if path else "the configuration", _toml(path) if path else {}),
    ]
    merged: Values = {}
    for source in reversed(sources):
        _merge(merged, source.values)
    try:
        return Settings(**_listed(merged))
    except ValidationError as error:
        lines = [_fault(fault, sources, merged) for fault in error.errors(include_url=False)]
        raise ConfigError("\n".join(dict.fromkeys(lines))) from None


def find() -> Path | None:
    """Return the path of the configuration file, None if there is none."""
    named = os.environ.get("SOSBRIDGE_CONFIG")
    if named:
        return Path(named)
    return next((path for path in _DEFAULT_FILES if path.exists()), None)


def _toml(path: Path) -> Values:
    try:
        with path.open("rb") as file:
            values = tomllib.load(file)
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}; write one with: sosbridge config example > sosbridge.toml"
        ) from None
    except (ValueError, RecursionError) as error:  # ValueError also for a number with thousands of digits
        raise ConfigError(f"{path}: not TOML: {clean(error)}") from None
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


def _secret_files() -> Iterator[_Source]:
    directory = Path(os.environ.get("SOSBRIDGE_SECRETS_DIR") or _DEFAULT_SECRETS)
    try:
        files = sorted(path for path in directory.iterdir() if "__" in path.name and path.is_file())
    except OSError as error:
        if "SOSBRIDGE_SECRETS_DIR" in os.environ:
            raise ConfigError(f"SOSBRIDGE_SECRETS_DIR: {directory}: {error.strerror}") from None
        return
    for path in files:
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
        step = "*" if path in _NAMED else None
        return {key: _keyed(value, source, (*path, step or key)) for key, value in values.items()}
    if path not in _NAMED or not isinstance(values, list | tuple):
        return values
    name, tables = _NAMED[path], {}
    for number, table in enumerate(values):
        if isinstance(table, dict) and name not in table:  # its number is not a name
            raise ConfigError(f"{source}: {path[-1]}.{number}.{name}: is missing; it is required")
        key = str(table[name]).lower() if isinstance(table, dict) else str(number)
        if key in tables:
            raise ConfigError(f"{source}: {path[-1]}: duplicate {name} {clean(table[name])!r}")
        tables[key] = _keyed(table, source, (*path, "*"))
    return tables


def _listed(values: Any, path: tuple[str, ...] = ()) -> Any:  # noqa: ANN401 - whatever a source holds
    """Undo `_keyed`: tables by name become lists again."""
    if not isinstance(values, dict):
        return values
    if path in _NAMED:
        name = _NAMED[path]
        tables = [{name: key, **table} if isinstance(table, dict) else table for key, table in values.items()]
        return [_listed(table, (*path, "*")) for table in tables]
    return {key: _listed(value, (*path, key)) for key, value in values.items()}


def _fault(fault: Any, sources: Sequence[_Source], merged: Values) -> str:  # noqa: ANN401 - a pydantic error
    path = _path(fault["loc"], merged)
    # No source has a missing value; then the source of the table that it is missing in is named.
    found = (names for depth in range(len(path), 0, -1) if (names := _naming(sources, path[:depth])))
    names = next(found, [sources[-1].name])
    # A table is written in the file, even if a value of it comes from another source.
    source = names[-1 if isinstance(fault.get("input"), dict) else 0]
    key = clean(".".join(path))
    return f"{source}: {key}: {_words(fault, path)}" if key else f"{source}: {_words(fault, path)}"


def _naming(sources: Sequence[_Source], path: Sequence[str]) -> list[str]:
    return [source.name for source in sources if source.names(path)]


def _path(loc: Sequence[str | int], merged: Values) -> list[str]:
    """Return the key as the user wrote it: names instead of the numbers of tables."""
    path: list[str] = []
    found: object = merged
    for part in loc:
        if isinstance(found, dict):
            key = list(found)[part] if isinstance(part, int) and part < len(found) else str(part)
            found = found.get(key)
            path.append(key)
        elif isinstance(part, int) and isinstance(found, list | tuple) and part < len(found):
            found = found[part]
            path.append(str(part))
        elif isinstance(part, int) or found is not None or not path or str(part) in _fields_at(path):
            path.append(str(part))
    return path


def _words(fault: Any, path: Sequence[str]) -> str:  # noqa: ANN401 - a pydantic error
    message = clean(str(fault["msg"]).removeprefix("Value error, "), _LONGEST_FAULT)
    if fault["type"] == "extra_forbidden":
        return f"unknown setting; known here: {', '.join(_fields_at(path[:-1]))}"
    if fault["type"] == "missing":
        return "is missing; it is required"
    if fault["type"] in ("string_too_short", "string_too_long", "too_short", "too_long"):
        limits = {"min_length": "at least", "max_length": "at most"}
        wanted = [f"{words} {fault['ctx'][name]}" for name, words in limits.items() if name in fault["ctx"]]
        return f"has {len(fault['input'])} characters; it must have {' and '.join(wanted)}"
    value = fault.get("input")
    if fault["type"] == "value_error" or path[-1] in _SECRET or not isinstance(value, str | int | float):
        return message[:1].lower() + message[1:]
    return f"{clean(value)!r}: {message[:1].lower()}{message[1:]}"


def _fields_at(path: Sequence[str]) -> list[str]:
    """Return the names of the settings at `path`."""
    model: type[BaseModel] = Settings
    for part in path:
        field = model.model_fields.get(part)
        if field is not None:
            model = next(_models(field.annotation), model)
    return list(model.model_fields)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401 - any type expression
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
