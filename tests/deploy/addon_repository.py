"""Reads an add-on repository with the Supervisor's own schemas, which are on the path; run by tests/deploy/run addon.

python tests/deploy/addon_repository.py FOLDER
"""

from __future__ import annotations

import logging
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

URL = "https://github.com/sosbridge/sosbridge#addon"


def schemas() -> dict[str, Any]:
    """Return the schemas of the Supervisor by what they are for; newer ones call an add-on an app."""
    try:
        module, name = import_module("supervisor.apps.validate"), "APP"
    except ModuleNotFoundError:
        module, name = import_module("supervisor.addons.validate"), "ADDON"
    store = import_module("supervisor.store.validate")
    return {
        "url": store.validate_repository,
        "repository": store.SCHEMA_REPOSITORY_CONFIG,
        "config": getattr(module, f"SCHEMA_{name}_CONFIG"),
        "translation": getattr(module, f"SCHEMA_{name}_TRANSLATIONS"),
    }


def main() -> None:
    logging.basicConfig(format="the Supervisor says: %(message)s")
    folder = Path(sys.argv[1])
    schema = schemas()
    schema["url"](URL)
    repository = schema["repository"](_read(folder / "repository.yaml"))
    # Everything of that name is an add-on to the Supervisor.
    [config] = [path for path in folder.glob("**/config.*") if ".git" not in path.parts]
    addon = schema["config"](_read(config))
    for path in (config.parent / "translations").iterdir():
        schema["translation"](_read(path))
    names = {"CHANGELOG.md", "DOCS.md", "Dockerfile", "README.md", "icon.png", "logo.png"}
    missing = names - {path.name for path in config.parent.iterdir()}
    if missing:
        raise SystemExit(f"missing: {sorted(missing)}")
    print(f"{repository['name']}: add-on {addon['slug']} {addon['version']}, for {', '.join(addon['arch'])}")


def _read(path: Path) -> Any:  # noqa: ANN401
    return yaml.safe_load(path.read_text("utf-8"))


if __name__ == "__main__":
    main()
