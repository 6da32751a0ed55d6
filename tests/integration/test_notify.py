"""The real service under a service manager: it hears when we are online, alive and stopping."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.harness import Site, live
from support.service_manager import Listener


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    heard = Listener(str(tmp_path / "notify"))
    for name, value in (heard.environment | {"WATCHDOG_USEC": "200000"}).items():
        monkeypatch.setenv(name, value)
    with heard.socket:
        yield heard


@live
async def test_ready_alive_stopping(site: Site, heard: Listener) -> None:
    await site.start()
    await heard.until("READY")
    for _ in range(3):
        assert (await heard.next()) == {"WATCHDOG": "1", "STATUS": "online"}
    assert await site.bridge.stop(5) == 0
    assert "READY" not in [name for message in await heard.until("STOPPING") for name in message]


@live
async def test_a_broker_that_is_away_is_no_hang(site: Site, heard: Listener) -> None:
    proxy = await site.behind_proxy()
    await proxy.cut()
    site.launch()
    for _ in range(10):
        assert (await heard.next())["STATUS"] == "the broker is away"
    await proxy.open()
    told = await heard.until("READY")
    assert all("EXTEND_TIMEOUT_USEC" in message for message in told[:-1])
    await proxy.cut()
    await site.bridge.logs("next try in")
    for _ in range(10):
        assert "WATCHDOG" in await heard.next()
