"""Run by Home Assistant's own Python: tells what its schemas say of discovery payloads, a misspelt key included.

A list of device payloads as JSON on standard input; a line for each fault on standard output.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from typing import Any

from homeassistant.components.mqtt.schemas import DEVICE_DISCOVERY_SCHEMA
from homeassistant.core import HomeAssistant
from homeassistant.helpers import frame

_TAKEN_OUT_BEFORE = frozenset({"platform"})
_ENTITY_IDS = frozenset({"object_id", "default_entity_id"})
"""Of these a release knows one."""


def faults(payload: dict[str, Any]) -> list[str]:
    """Return what is wrong with one device's payload."""
    found = []
    try:
        DEVICE_DISCOVERY_SCHEMA(payload)
    except Exception as error:  # noqa: BLE001 - whatever the schema raises is told
        found.append(f"device: {error}")
    shared = {name: payload[name] for name in ("device", "origin")}
    for key, component in payload["components"].items():
        options = {name: value for name, value in component.items() if name not in _TAKEN_OUT_BEFORE}
        module = importlib.import_module(f"homeassistant.components.mqtt.{component['platform']}")
        unknown = {name for name in options if not _known(module, name)}
        if not unknown >= _ENTITY_IDS:
            unknown -= _ENTITY_IDS
        found += [f"{key}: {name} is no option of {component['platform']}" for name in sorted(unknown)]
        try:
            module.DISCOVERY_SCHEMA({**options, **shared})
        except Exception as error:  # noqa: BLE001 - whatever the schema raises is told
            found.append(f"{key}: {error}")
    return found


def _known(module: Any, name: str) -> bool:  # noqa: ANN401 - a module of Home Assistant
    schema = getattr(module, "_PLATFORM_SCHEMA_BASE", None) or module.PLATFORM_SCHEMA_MODERN
    return name in {str(getattr(each, "schema", each)) for each in schema.schema}


async def _main() -> None:
    frame.async_setup(HomeAssistant("."))  # templates are only checked where there is one
    for payload in json.load(sys.stdin):
        for fault in faults(payload):
            print(fault)


if __name__ == "__main__":
    asyncio.run(_main())
