"""The references in deploy/settings.md and TOPICS.md are those of the code, and every row has a description."""

from __future__ import annotations

import re

import pytest
from docs import reference

from bridge.config.faults import settings_at
from bridge.config.sources import load


@pytest.mark.parametrize("name", reference.REFERENCES)
def test_it_is_that_of_today(name: str) -> None:
    assert reference.shown(name) == reference.made(name), "run: python tests/docs/reference.py"


@pytest.mark.parametrize("name", reference.REFERENCES)
def test_every_row_has_all_its_cells_but_a_default_or_variable(name: str) -> None:
    rows = [row.strip("|").split(" | ") for row in reference.made(name).splitlines() if row.startswith("| `")]
    assert len(rows) > 10
    assert [row for row in rows if not all(cell.strip() for cell in (*row[:2], *row[3:4])) or "None" in row] == []


def test_every_setting_has_a_row() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", reference.made("settings"), re.MULTILINE)
    assert rows == [key[-1] for key in settings_at() if len(key) > 1]


def test_a_variable_sets_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each table one variable, with the names that stand for the table's own."""
    values = {
        "MQTT__PORT": "1884", "MQTT__TLS__ENABLED": "false", "STORE__MAX_COMMANDS": "7",
        "TRANSMITTERS__NAME__TRANSMITTER_CODE": "IK1", "TRANSMITTERS__NAME__TRANSMITTER_TYPE": "SV301",
        "TRANSMITTERS__NAME__AUTHENTICATION": "012345678912345", "TRANSMITTERS__NAME__RECEIVER_ID": "OPER",
        "TRANSMITTERS__NAME__RECEIVER": "localhost:1", "TRANSMITTERS__NAME__USE_SINGLE_RECEIVER": "true",
        "TRANSMITTERS__NAME__ALARMS__KEY__NAME": "Fire", "TRANSMITTERS__NAME__ALARMS__KEY__EVENT_CODE": "FA",
        "TRANSMITTERS__NAME__PATHS__NAME__INTERFACE": "eth0", "G90__PANELS__GUID__NAME": "House",
    }  # fmt: skip
    listed = reference.made("settings")
    for name, value in values.items():
        assert f"`SOSBRIDGE_{name}`" in listed
        monkeypatch.setenv(f"SOSBRIDGE_{name}", value)
    found = load()
    (home,) = found.transmitters
    assert (found.mqtt.port, found.store.max_commands, home.name, home.transmitter_code) == (1884, 7, "name", "IK1")
    assert (home.alarms[0].key, home.paths[0].interface) == ("key", "eth0")
    assert found.g90 is not None
    assert (found.g90.panels[0].guid.lower(), found.g90.panels[0].name) == ("guid", "House")
