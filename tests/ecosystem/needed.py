"""Run by Home Assistant's own Python: prints what the integrations that are used need; it would install it itself."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

USED = {
    "mqtt",
    "frontend",
    "api",
    "history",
    "logbook",
    "automation",
    "persistent_notification",
    "input_boolean",
    "template",
}


def needed(components: Path, used: set[str]) -> set[str]:
    """Return the requirements of integrations and of all that they depend on."""
    found: set[str] = set()
    seen: set[str] = set()
    while used - seen:
        name = (used - seen).pop()
        seen.add(name)
        path = components / name / "manifest.json"
        manifest = json.loads(path.read_text("utf-8")) if path.exists() else {}
        found.update(manifest.get("requirements", []))
        used |= {*manifest.get("dependencies", [])}
    return found


def main() -> None:
    from homeassistant.bootstrap import DEFAULT_INTEGRATIONS  # noqa: PLC0415 - there is none where the tests are checked

    spec = importlib.util.find_spec("homeassistant")
    assert spec is not None
    assert spec.origin is not None
    print("\n".join(sorted(needed(Path(spec.origin).parent / "components", USED | set(DEFAULT_INTEGRATIONS)))))


if __name__ == "__main__":
    main()
