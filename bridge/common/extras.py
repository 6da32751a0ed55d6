"""Libraries that only some installations have."""

from __future__ import annotations

from importlib.util import find_spec

from bridge.common.errors import ConfigError


def require(extra: str, setting: str, *modules: str) -> None:
    """Raise ConfigError if one of `modules`, which `setting` needs, is not installed."""
    for name in modules:
        if find_spec(name) is None:
            raise ConfigError(f'{setting} is set, but {name} is not installed; use: pip install "sosbridge[{extra}]"')
