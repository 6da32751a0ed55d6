"""Every key of every discovered component is one that Home Assistant knows: it drops others in silence."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

from homeassistant.payloads import devices

STRICT = Path(__file__).with_name("strict.py").read_text("utf-8")


def faults(payloads: list[dict[str, Any]]) -> list[str]:
    """Ask the Python of the Home Assistant that is tested."""
    *before, program = shlex.split(os.environ["HASS"])
    python = str(Path(program).with_name("python"))
    told = subprocess.run(
        [*before, python, "-c", STRICT],
        input=json.dumps(payloads),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return told.stdout.splitlines()


def test_home_assistant_knows_every_key() -> None:
    assert faults(list(devices().values())) == []


def test_a_misspelt_key_and_a_wrong_value_are_found() -> None:
    payload = json.loads(json.dumps(devices()["panel"]))
    payload["components"]["mains"]["entity_categorie"] = "diagnostic"
    payload["components"]["last_contact"]["device_class"] = "moment"
    found = faults([payload])
    assert [fault.split(":")[0] for fault in found] == ["mains", "last_contact"], found
