"""A house whose broker all tests about security share."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.brokers import Mosquitto
from panels.house import House

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def broker_of_security(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture
def site(broker_of_security: Mosquitto, tmp_path: Path) -> House:
    return House(broker_of_security, tmp_path, f"security{next(_numbers)}")
