"""The table [web], and that nothing of it is loaded unless it is set."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.config import HOME

from bridge.common.errors import ConfigError
from bridge.config.sources import load


def _load(tmp_path: Path, table: str) -> None:
    path = tmp_path / "sosbridge.toml"
    path.write_text(f"{HOME}\n[web]\n{table}\n", "utf-8")
    load(path)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.5.0.1", "localhost", "[::1]"])
def test_loopback_needs_no_password(tmp_path: Path, host: str) -> None:
    _load(tmp_path, f'listen = "{host}:8099"')


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "[::]", "alarm.example.com", "localhost.example.com"])
def test_more_than_loopback_needs_a_password(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match="set username and password"):
        _load(tmp_path, f'listen = "{host}:8099"')
    _load(tmp_path, f'listen = "{host}:8099"\nusername = "reader"\npassword = "opensesame"')


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ('username = "reader"', "password is missing"),
        ('password = "opensesame"', "username is missing"),
        ('username = "a:b"\npassword = "opensesame"', "username"),
        ('username = "a"\npassword = "short"', "password"),
        ('listen = "8099"', "is not an address"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, table: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        _load(tmp_path, table)


def test_nothing_of_the_extra_is_imported_where_it_is_off(tmp_path: Path) -> None:
    config = tmp_path / "sosbridge.toml"
    config.write_text(f'{HOME}\n[store]\npath = "{tmp_path}/bridge.db"\n[mqtt]\nport = 1\n', "utf-8")
    program = f"""
import asyncio, sys
from pathlib import Path
from bridge.app.bridge import Bridge
from bridge.config.sources import load
from bridge.store.sqlite.database import SqliteStore
async def main():
    settings = load(Path({str(config)!r}))
    async with await SqliteStore.open(settings.store.path) as store:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.5, stop.set)
        await Bridge(settings, store).run(stop)
asyncio.run(main())
print([name for name in sys.modules if name.partition(".")[0] in ("aiohttp", "prometheus_client")
       or name.startswith("bridge.web")])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"
