"""The configuration file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from fuzz.target import MARK, Target, hidden

from bridge.app import build, panels
from bridge.common.errors import ConfigError
from bridge.config.settings import Settings
from bridge.config.sources import load
from bridge.g90.connections import Connections

_SECRET = rb"\n(?:password|authentication|code) = \""
_FOLDER = tempfile.TemporaryDirectory(prefix="sosbridge-fuzz-")
_LONGEST_LINE = 1000


def configuration(data: bytes) -> str:
    """Read the file as the bridge does when it starts, and make of it what it makes."""
    path = Path(_FOLDER.name) / "fuzz.toml"
    path.write_bytes(data)
    with _no_other_source():
        try:
            settings = load(path)
            _built(settings)
        except ConfigError as error:
            _lines(str(error))
            _quiet(data, error)
            return str(error).replace(str(path), "")
    _quiet(data, settings, settings.model_dump())
    return f"taken {' '.join(sorted(settings.model_fields_set))}"


def _built(settings: Settings) -> None:
    build.topics(settings)
    repr(build.broker(settings))
    if settings.g90:
        repr(panels.known_panels(settings.g90, Connections()).configured)


def _quiet(data: bytes, *shown: object) -> None:
    """Say no secret; what stands between other quotes, or behind a hash, is none."""
    if not (b"'''" in data or b'"""' in data or b"#" in data):
        hidden(data, _SECRET, *shown)


def _lines(error: str) -> None:
    for line in error.splitlines():
        assert line.isprintable(), f"not one line: {line!r}"
        assert len(line) <= _LONGEST_LINE, f"{len(line)} characters of error"


@contextmanager
def _no_other_source() -> Iterator[None]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SOSBRIDGE_")}
    with mock.patch.dict(os.environ, {**kept, "SOSBRIDGE_SECRETS_DIR": _FOLDER.name}, clear=True):
        yield


_WORDS = (
    b"[mqtt]\n", b"[store]\n", b"[log]\n", b"[homeassistant]\n", b"[[transmitters]]\n", b"[[transmitters.alarms]]\n",
    b"[g90]\n", b"[[g90.panels]]\n", b"[[forward]]\n", b"[mqtt.tls]\n", b"[transmitters]\n", b"[g90.panels]\n",
    b'name = "', b'key = "', b'guid = "', b'host = "', b'heartbeat = "', b'event = "', b"port = ", b" = [",
    b" = {", b"}",    b"\n", b'"', b"'", b"'''", b"2026-01-01", b"2026-13-01T00:00:00Z", b"0x", b"inf",
    b"nan", b"true", b"a.b.c = 1\n",
    b'"90s"', b'"5h"', b'"999999999999d"', b"127.0.0.1:1", b"[::1]:1", b"10.0.0.0/8", b"{sensor}",
    b"sha256:", MARK.encode(),
)  # fmt: skip
TARGETS = (Target("toml", configuration, _WORDS),)
