"""A site of several nodes, with a database of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.brokers import Mosquitto
from support.nodes import Nodes
from support.postgres import PostgresServer


@pytest.fixture
def site(shared_broker: Mosquitto, postgres: PostgresServer, tmp_path: Path, base: str) -> Iterator[Nodes]:
    postgres.create(base)
    yield Nodes(shared_broker, postgres, base, tmp_path, base)
    postgres.drop(base)
