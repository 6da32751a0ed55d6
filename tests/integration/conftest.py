"""What every test of the whole begins with."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.brokers import Mosquitto
from integration.harness import Site

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def shared_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """The broker of all tests that leave it running: their base topics differ."""
    with Mosquitto(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that a test may stop."""
    folder = tmp_path / "broker"
    folder.mkdir()
    with Mosquitto(folder) as broker:
        yield broker


@pytest.fixture
def base() -> str:
    return f"t{next(_numbers)}"


@pytest.fixture
def apart(own_broker: Mosquitto, tmp_path: Path, base: str) -> Site:
    """A site with a broker of its own."""
    return Site(own_broker, tmp_path, base)


@pytest.fixture
def site(shared_broker: Mosquitto, tmp_path: Path, base: str) -> Site:
    return Site(shared_broker, tmp_path, base)
