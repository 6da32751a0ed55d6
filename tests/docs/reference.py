"""The references that are made of the code: settings in deploy/settings.md, panel events and sensors in TOPICS.md.

`python tests/docs/reference.py` writes them, between their markers, after the code has changed.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic.fields import FieldInfo

from bridge.config.faults import _bounds, _expected, _is_duration, _models, _tables, fields_at, header
from bridge.config.settings import Settings
from bridge.config.sources import _NAMED
from bridge.config.types import Key, duration
from bridge.g90.wire.constants import SensorType
from bridge.g90.wire.events import EventType
from bridge.homeassistant.panel import _DEVICE_CLASSES, _STATELESS

TOP = Path(__file__).parents[2]
_KINDS = {
    "a text in quotes": "text",
    "a path in quotes": "path",
    "a whole number": "number",
    "a duration, such as 90s, 5m, 24h or 7d": "duration",
}


def settings() -> Iterator[str]:
    """Yield a table for each table of the configuration."""
    for key in _tables():
        yield f"### `{header(key)}`\n"
        model = next(_models(Settings.model_fields[str(key[0])].annotation))
        for part in (each for each in key[1:] if each != 0):
            model = next(_models(model.model_fields[str(part)].annotation))
        yield inspect.cleandoc(model.__doc__ or "") + "\n"
        yield "| setting | value | default | | environment |\n|---|---|---|---|---|"
        for name, field in fields_at(key).items():
            if not any(_models(field.annotation)):
                cells = f"`{name}`", _value(field), _default(field), field.description, _variable(key, name)
                yield f"| {' | '.join(str(cell) for cell in cells)} |"
        yield ""


def _value(field: FieldInfo) -> str:
    found, bounds = _expected(field), _bounds(field)
    if found == "true or false":
        return "`true`, `false`"
    if found.startswith("one of: "):
        return ", ".join(f"`{each}`" for each in found.removeprefix("one of: ").split(", "))
    for words, short in _KINDS.items():
        found = found.replace(words, short)
    if found == "text":
        return f"{found}, {bounds} characters" if bounds not in ("", "at least 1") else found
    return f"{found}, {bounds}" if bounds else found


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory or field.default is None:
        return ""
    if _is_duration(field):
        return f"`{duration(field.default)}`"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def _variable(key: Key, name: str) -> str:
    """Return the environment variable; a table in a list has its name in it, and needs one."""
    path, parts = tuple("*" if part == 0 else str(part) for part in key), []
    for depth, part in enumerate(path, 1):
        identity = _NAMED.get(path[: depth - 1]) if part == "*" else part
        if identity is None or (part == "*" and depth == len(path) and identity == name):
            return ""
        parts.append(identity)
    return f"`SOSBRIDGE_{'__'.join([*parts, name]).upper()}`"


def panel_events() -> Iterator[str]:
    """Yield a row for each type, with the docstring below it in the source."""
    source = inspect.getsource(EventType)
    about = dict(re.findall(r'^    \w+ = "(\w+)"\n    """(.*)\."""$', source, re.MULTILINE))
    yield "| `type` | event |\n|---|---|"
    yield from (f"| `{each}` | {about[each]} |" for each in EventType)


def sensor_types() -> Iterator[str]:
    """Yield a row for each type, with what it is in Home Assistant."""
    yield "| `type` | number | in Home Assistant |\n|---|---|---|"
    for each in SensorType:
        shown = "events only" if each in _STATELESS else f"binary sensor, `{_DEVICE_CLASSES[each]}`"
        yield f"| `{each.name.lower()}` | {each:d} | {shown} |"


REFERENCES: dict[str, tuple[str, Callable[[], Iterator[str]]]] = {
    "settings": ("deploy/settings.md", settings),
    "panel events": ("bridge/TOPICS.md", panel_events),
    "sensor types": ("bridge/TOPICS.md", sensor_types),
}
"""By the name in the marker: the document, and what yields the lines."""


def made(name: str) -> str:
    return "\n".join(REFERENCES[name][1]()) + "\n"


def shown(name: str) -> str:
    """Return what the document has."""
    return str(_block(name).findall((TOP / REFERENCES[name][0]).read_text("utf-8"))[0])


def write(name: str) -> None:
    path = TOP / REFERENCES[name][0]
    path.write_text(_block(name).sub(lambda _: made(name), path.read_text("utf-8"), count=1), "utf-8")


def _block(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<=<!-- {name}: python tests/docs/reference.py -->\n).*?(?=<!-- end -->)", re.DOTALL)


if __name__ == "__main__":
    for each in REFERENCES:
        write(each)
