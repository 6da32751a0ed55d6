"""`sosbridge healthcheck`, for Docker and other supervisors.

It imports little, as it may run each minute.
"""

from __future__ import annotations

import os
from importlib import import_module

from bridge.app.health_client import HealthReport, UnhealthyError, ask
from bridge.common.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

_NEEDS_A_PERSON = 4
_DEFAULT_STORE = "/data/sosbridge.db"
_DEFAULT_FILES = ("/config/sosbridge.toml", "sosbridge.toml")
_DEFAULT_SECRETS = "/run/secrets"


def run(args: argparse.Namespace) -> int:
    return check(args.config, args.overrides, strict=args.strict, as_json=args.json)


def check(config: str | None, overrides: list[str], *, strict: bool, as_json: bool = False) -> int:
    """Print what is wrong and return the exit status. Raises UnhealthyError if the bridge does not work."""
    report = ask(store_path(config, overrides))
    good = not (report.hanging or report.problems or report.unknown)
    if as_json:
        problems = [dict(zip(("kind", "owner", "since", "text"), each, strict=True)) for each in report.problems]
        found = {
            "healthy": good,
            "state": report.state,
            "hanging": report.hanging,
            "problems": problems,
            "unknown": report.unknown,
        }
        print(import_module("json").dumps(found, indent=2, ensure_ascii=False))
    else:
        _show(report)
    if report.hanging:
        raise UnhealthyError(f"the bridge hangs: {', '.join(report.hanging)}")
    return _NEEDS_A_PERSON if strict and not good else 0


def _show(report: HealthReport) -> None:
    for kind, owner, since, text in report.problems:
        print(f"{owner}: {kind} since {since[:19].replace('T', ' ')}: {text}")
    for owner in report.unknown:
        print(f"{owner}: not checked yet")
    if not (report.hanging or report.problems or report.unknown):
        print("healthy, standby" if report.state == "standby" else "healthy")


def store_path(config: str | None, overrides: list[str]) -> str:
    """Return the store's path as `bridge.config.sources` finds it. Raises ConfigError."""
    for override in reversed(overrides):
        key, _, value = override.partition("=")
        if key.strip().lower() == "store.path":
            return value
    environment = {name.upper(): value for name, value in os.environ.items()}
    if (path := environment.get("SOSBRIDGE_STORE__PATH")) is not None:
        return path
    if "path" in (table := environment.get("SOSBRIDGE_STORE", "")):
        try:
            return str(import_module("json").loads(table)["path"])
        except (ValueError, LookupError, TypeError):
            raise ConfigError("the environment: SOSBRIDGE_STORE: not JSON, or it has no `path`") from None
    secrets = os.environ.get("SOSBRIDGE_SECRETS_DIR") or _DEFAULT_SECRETS
    for name in os.listdir(secrets) if os.path.isdir(secrets) else ():
        if name.lower() == "store__path":
            with open(f"{secrets}/{name}", encoding="utf-8") as secret:
                return secret.read().rstrip("\r\n")
    file = config or os.environ.get("SOSBRIDGE_CONFIG") or next(filter(os.path.exists, _DEFAULT_FILES), None)
    return _in_file(file) if file else _DEFAULT_STORE


def _in_file(path: str) -> str:
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    if b"store" not in text.replace(b"restore", b"") and b"\\u" not in text.lower():
        return _DEFAULT_STORE
    tomllib = import_module("tomllib")  # as large as all the rest; most files do not name the store
    try:
        return str(tomllib.loads(text.decode()).get("store", {}).get("path", _DEFAULT_STORE))
    except (ValueError, AttributeError):
        raise ConfigError(f"{path}: not TOML, or its `store` is not a table") from None
