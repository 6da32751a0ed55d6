"""Validation errors in terms of the configuration: the setting as written, what is wrong, what to use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bridge.common.models import Secret
from bridge.common.suggest import closest
from bridge.common.text import clean
from bridge.config.settings import Settings
from bridge.config.types import Key, TableError, duration

Fault = Mapping[str, Any]
"""An error as pydantic describes it."""

_SECRET = frozenset({"password", "authentication", "code", "url"})
_LARGEST = 2**63
_LONGEST = 600
"""Characters of one message, which may quote a value."""
_TEXT = "a text in quotes"
_KINDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a duration, such as 90s, 5m, 24h or 7d",
    str: _TEXT,
    Secret: _TEXT,
    Path: "a path in quotes",
    dict[str, str]: "a table of texts",
    dict[str, float]: "a table of numbers",
    list[str]: "a list of texts",
}


def lines(
    faults: Iterable[Fault], values: Mapping[str, Any], source: Callable[[Key, bool], tuple[str, Key]]
) -> Iterator[str]:
    """Yield one line for each fault of `values`.

    `source` returns where a key comes from, and the key that it has there; its second argument says whether the key is
    a whole table.
    """
    unknown: dict[tuple[Key, str, Key], list[str]] = {}
    others: dict[Key, Fault] = {}
    for fault in faults:
        key = _key(fault["loc"], values)
        if fault["type"] == "extra_forbidden":
            origin, own = source(key, False)  # noqa: FBT003
            unknown.setdefault((key[:-1], origin, own[:-1]), []).append(str(key[-1]))
        else:
            others.setdefault(key, fault)  # of the members of a union, each has its own
    for (_, origin, table), names in unknown.items():
        for some, words in _unknown(table, names):
            yield f"{origin}: {written((*table, ', '.join(some)))}: {words}"
    typos = {(*table, closest(name, fields_at(table))) for (table, *_), names in unknown.items() for name in names}
    for key, fault in others.items():
        if fault["type"] == "missing" and key in typos:  # the same fault
            continue
        if isinstance(error := fault.get("ctx", {}).get("error"), TableError):
            yield from _of_tables(error, source)
            continue
        origin, own = source(key, isinstance(fault.get("input"), dict))
        for words in _words(fault, key):
            yield f"{origin}: {written(own)}: {words}" if key else f"{origin}: {words}"


def _of_tables(error: TableError, source: Callable[[Key, bool], tuple[str, Key]]) -> Iterator[str]:
    """Yield one line for each file and fault, with all rules that have it."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for key, words in error.faults:
        origin, own = source(key, True)  # noqa: FBT003
        table, _, rule = written(own).partition(": rule ")
        found.setdefault((origin, table, words), []).append(rule)
    for (origin, table, words), rules in found.items():
        which = f": rule{'s' * (len(rules) > 1)} {', '.join(rules)}" if any(rules) else ""
        yield f"{origin}: {table}{which}: {words}"


def written(key: Key) -> str:
    """Return a key as users write it: `transmitters.home.receiver`, `forward: rule 1: event`."""
    text = ""
    for part in key:
        if isinstance(part, int):
            text = f"{text}: {'rule' if text == 'forward' else 'table'} {part + 1}: "
        else:
            text += part if not text or text.endswith(" ") else f".{part}"
    return clean(text.removesuffix(": "))


def header(key: Key) -> str:
    """Return the header of the table at `key`: `[mqtt]`, `[[transmitters.alarms]]`."""
    *_, last = walk = list(_walk(key))
    return ("[[{}]]" if _is_list(last[1]) else "[{}]").format(".".join(name for name, _ in walk))


def fields_at(key: Key) -> dict[str, FieldInfo]:
    """Return the settings of the table at `key`."""
    model: type[BaseModel] = Settings
    for _, field in _walk(key):
        model = next(_models(field.annotation), model)
    return model.model_fields


def _walk(key: Key) -> Iterator[tuple[str, FieldInfo]]:
    """Yield the settings on the way to `key`, without the names and numbers of tables in a list."""
    fields, in_list = Settings.model_fields, False
    for part in key:
        if in_list or isinstance(part, int) or part not in fields:
            in_list = False
            continue
        field = fields[part]
        yield part, field
        in_list = _is_list(field)
        fields = next((model.model_fields for model in _models(field.annotation)), {})


def _is_list(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is tuple


def _tables(key: Key = ()) -> Iterator[Key]:
    for name, field in fields_at(key).items():
        if any(_models(field.annotation)):
            inner = (*key, name, *([0] if _is_list(field) else []))
            yield inner
            yield from _tables(inner)


def child(values: object, part: str | int) -> Any:  # noqa: ANN401 - whatever a source holds
    """Return what is at `part` of a table or a list, None if there is nothing."""
    if isinstance(values, Mapping):
        return values.get(part)
    return values[part] if isinstance(values, list | tuple) and isinstance(part, int) and part < len(values) else None


def settings_at(table: Key = ()) -> Iterator[Key]:
    """Yield the key of each setting below `table`; 0 stands for the name of a table in a list."""
    for key in (table, *_tables(table)):
        yield from ((*key, name) for name, field in fields_at(key).items() if not any(_models(field.annotation)))


def _key(loc: Iterable[str | int], values: Mapping[str, Any]) -> Key:
    """Return the key of a location: names instead of numbers, without pydantic's names of union members."""
    key: Key = ()
    found: Any = values
    for part in loc:
        if isinstance(part, int) and isinstance(found, Mapping):
            part = list(found)[part]  # noqa: PLW2901
        elif isinstance(part, str) and (field := fields_at(key).get(part)) and not any(_models(field.annotation)):
            return (*key, part)
        key = (*key, part)
        found = child(found, part)
    return key


def _unknown(table: Key, names: list[str]) -> Iterator[tuple[list[str], str]]:
    """Yield groups of unknown settings at `table`, each with what to do about it.

    Settings that lack the same header above them are one group.
    """
    here = fields_at(table)
    homes = {header(key): [name for name in names if name in fields_at(key)] for key in _tables()}
    home = max(homes, key=lambda each: len(homes[each]))
    moved = homes[home] if len(homes[home]) > 1 else []
    if moved:
        yield moved, f"unknown settings; put them below {home}"
    for name in names:
        if name in moved:
            continue
        if likely := closest(name, here):
            words = f"did you mean {likely!r}?"
        elif found := [each for each, theirs in homes.items() if name in theirs]:
            words = f"put it below {' or '.join(found)}"
        else:
            words = f"known here: {', '.join(here)}"
        yield [name], f"unknown setting; {words}"


def _words(fault: Fault, key: Key) -> list[str]:
    """Return what is wrong with a value and what to use, one line for each fault of a whole table."""
    kind, value = fault["type"], fault["input"]
    if kind == "value_error":
        found = str(fault["ctx"]["error"]).removeprefix(f"{key[-1] if key else ''}: ").split("\n")
        return [clean(line, _LONGEST) for line in found]
    if kind == "missing":
        return ["is missing; it is required"]
    name, field = list(_walk(key))[-1]
    if name != key[-1]:
        required = [each for each, its in fields_at(key).items() if its.is_required()]
        return [f"is not a table with {', '.join(required)}"]
    if any(_models(field.annotation)):
        brackets = "double" if _is_list(field) else "single"
        return [f"is not a table; write its settings below {header(key)}, in {brackets} brackets"]
    return [_value_words(kind, value, field, secret=name in _SECRET)]


def _value_words(kind: str, value: Any, field: FieldInfo, *, secret: bool) -> str:  # noqa: ANN401
    bounds = _bounds(field)
    if "too_short" in kind or "too_long" in kind:
        return f"has {len(value)} characters; it must have {bounds}"
    if kind.startswith(("greater", "less")):
        shown = duration(value) if isinstance(value, float) and _is_duration(field) else _shown(value)
        return f"{shown} is out of range ({bounds})"
    shown = f"{_shown(value)} " if isinstance(value, str | int | float) and not secret else ""
    return f"{shown}is not {_expected(field)}" + (f" ({bounds})" if bounds and kind.startswith("int") else "")


def _shown(value: str | float) -> str:
    if isinstance(value, str):
        return repr(clean(value))
    return str(value).lower() if abs(value) < _LARGEST else "this number"  # Python converts no thousands of digits


def _bounds(field: FieldInfo) -> str:
    """Return what a number, a duration or a length is limited to."""
    limits = ("ge", "gt", "le", "lt", "min_length", "max_length")
    found = {name: getattr(each, name) for each in field.metadata for name in limits if hasattr(each, name)}
    written = duration if _is_duration(field) else str
    shown = {name: written(limit) for name, limit in found.items()}
    low, high = (shown.get(name) or shown.get(other) for name, other in (("ge", "min_length"), ("le", "max_length")))
    if low and high:
        return low if low == high else f"{low} to {high}"
    words = (("at least", low), ("above", shown.get("gt")), ("at most", high), ("below", shown.get("lt")))
    return ", ".join(f"{word} {limit}" for word, limit in words if limit)


def _is_duration(field: FieldInfo) -> bool:
    return _KINDS[float] in _expected(field)


def _expected(field: FieldInfo) -> str:
    annotation: Any = field.annotation
    found: dict[str, None] = {}
    for member in get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,):
        plain = get_args(member)[0] if get_origin(member) is Annotated else member
        if get_origin(plain) is Literal:
            found["one of: " + ", ".join(get_args(plain))] = None
        elif plain is not NoneType:
            found[_KINDS[plain]] = None
    *others, last = found
    return f"{', '.join(others)} or {last}" if others else last


def _models(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401 - any type expression
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
