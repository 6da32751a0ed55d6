"""No configuration but the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the empty directory of the secret files; no configuration is found."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    monkeypatch.setenv("SOSBRIDGE_SECRETS_DIR", str(folder))
    monkeypatch.delenv("SOSBRIDGE_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    return folder
