"""No secret got out in the whole run of the tests, however it went; and the search for them finds what it should."""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from support.secrecy import GATHERED, Gathered


@pytest.fixture
def gathered() -> Gathered:
    """What a run left that gave away two secrets, in a folder that the last test does not look into."""
    found = Gathered()
    with TemporaryDirectory() as name:
        folder = Path(name)
        config = 'mqtt = {host = "h", password = "broker-secret"}\nauthentication = "old-passw0rd-15"'
        (folder / "bridge.toml").write_text(config)
        (folder / "bridge.passwords").mkdir()
        stored = json.dumps({"passwords": [{"value": "new-passw0rd-15"}]})
        (folder / "bridge.passwords" / "home.json").write_text(stored)
        (folder / "bridge.log").write_text("connected\nauthenticated with old-passw0rd-15\n")
        (folder / "bridge.db").write_bytes(b"\0SQLite\0new-passw0rd-15\xff")
        found.read(folder)
    return found


def test_the_search_finds_what_is_in_a_log_and_in_a_binary_file(gathered: Gathered) -> None:
    gathered.say("bridge/state", "online")
    lines = sorted(gathered.found())
    assert len(lines) == 2
    assert lines[0].startswith("bridge.db: 'new-passw0rd-15'")
    assert lines[1].startswith("bridge.log: 'old-passw0rd-15'")


def test_the_search_finds_what_was_published(gathered: Gathered) -> None:
    gathered.say("bridge/event", "it was broker-secret")
    assert any(line.startswith("bridge/event: ") for line in gathered.found())


@pytest.mark.last
def test_nobody_was_told_a_secret(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = os.environ.get("SECRECY_FOLDER")
    if folder is None:  # all tests ran in this process
        GATHERED.read(tmp_path_factory.getbasetemp())
        results = [{"secrets": len(GATHERED.secrets), "found": list(GATHERED.found())}]
    else:
        results = [json.loads(path.read_text("utf-8")) for path in Path(folder).glob("*.json")]
    assert results
    for result in results:
        assert result["secrets"]
        assert result["found"] == []
