"""The site of the tests with panels: a house with panels."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.brokers import Mosquitto
from support.house import House


@pytest.fixture
def site(shared_broker: Mosquitto, tmp_path: Path, base: str) -> House:
    return House(shared_broker, tmp_path, base)
