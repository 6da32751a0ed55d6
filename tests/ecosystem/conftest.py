"""What every test of the ecosystem begins with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ecosystem.home import Home


@pytest.fixture(scope="session", autouse=True)
def _home_assistant() -> None:
    assert os.environ.get("HASS"), "HASS is not set: these tests are started by tests/ecosystem/run"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)
