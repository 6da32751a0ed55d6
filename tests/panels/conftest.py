"""What every test of the whole with panels begins with."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.brokers import Mosquitto
from panels.house import House

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def panels_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """One broker: the tests' base topics differ."""
    with Mosquitto(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture
def site(panels_broker: Mosquitto, tmp_path: Path) -> House:
    return House(panels_broker, tmp_path, f"panels{next(_numbers)}")
