"""The site of the tests of the whole product."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.brokers import Mosquitto
from support.harness import Site


@pytest.fixture
def apart(own_broker: Mosquitto, tmp_path: Path, base: str) -> Site:
    """A site with a broker of its own."""
    return Site(own_broker, tmp_path, base)


@pytest.fixture
def site(shared_broker: Mosquitto, tmp_path: Path, base: str) -> Site:
    return Site(shared_broker, tmp_path, base)
