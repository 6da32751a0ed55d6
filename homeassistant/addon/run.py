"""Starts sosbridge as an add-on: turns the add-on's options into settings, then drops root."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, NoReturn

DATA = Path("/data")
SUPERVISOR = "http://supervisor"
USER = 10001
"""User and group of the image (deploy/Dockerfile)."""
_LONGEST_WAIT_S = 20
_PAGE = "0.0.0.0:8099"
"""As in config.yaml. Home Assistant's ingress needs no password; nobody else gets to know it."""
_TABLES = ("transmitters", "alarms", "panels", "forward")

Options = dict[str, Any]


class OptionsError(Exception):
    """The options are invalid; the message is for their author."""


def main(data: Path = DATA, supervisor: str = SUPERVISOR) -> NoReturn:
    """Replace this process with `sosbridge run`."""
    file = data / "sosbridge.toml"
    try:
        options = read(data / "options.json")
        write(file, translate(options, broker(options, supervisor, file), data))
    except OptionsError as error:
        sys.exit(f"sosbridge: the add-on's configuration: {error}")
    os.environ["SOSBRIDGE_CONFIG"] = str(file)
    drop_root(data)
    restore(data)
    os.execvp("sosbridge", ["sosbridge", "run"])  # noqa: S606, S607


def read(file: Path) -> Options:
    """Return the options without empty ones. Raises OptionsError."""
    try:
        options = _given(json.loads(file.read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise OptionsError(f"{file.name} cannot be read: {error}") from None
    if not isinstance(options, dict):
        raise OptionsError(f"{file.name} is not a JSON object")
    for name in _TABLES:
        tables = options.setdefault(name, [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise OptionsError(f"{name}: expected a list, each entry with its own options")
    if not isinstance(options.setdefault("mqtt", {}), dict):
        raise OptionsError("mqtt: expected host, port, username and password below it, or nothing")
    return options


def _given(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return `value` without empty fields: the form sends a cleared field as an empty string."""
    if isinstance(value, list):
        return [_given(each) for each in value]
    if isinstance(value, dict):
        return {name: _given(each) for name, each in value.items() if each not in (None, "")}
    return value


def broker(options: Options, supervisor: str, last: Path) -> Options:
    """Return the broker settings: from the options, else from the Supervisor. Raises OptionsError.

    If the Supervisor has none now, use those of the last start, in the file `last`: panels' alarms need no broker.
    """
    own = dict(options["mqtt"])
    ca_file = {"ca_file": own.pop("ca_file")} if "ca_file" in own else {}
    tls: Options = {"tls": ca_file} if own.pop("tls", False) or ca_file else {}
    if "host" in own:
        return own | tls
    try:
        found = _service(supervisor)
    except OptionsError as error:
        found = _last_known(last)
        if not found:
            raise
        print(f"sosbridge: {error}; using {found['host']}, as at the last start", file=sys.stderr)
    return found | own | tls


def _service(supervisor: str) -> Options:
    request = urllib.request.Request(f"{supervisor}/services/mqtt")  # noqa: S310 - our own address
    request.add_header("Authorization", f"Bearer {os.environ.get('SUPERVISOR_TOKEN', '')}")
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    advice = "install and start the Mosquitto broker add-on, or set mqtt: host"
    try:
        with direct.open(request, timeout=_LONGEST_WAIT_S) as answer:
            data = json.load(answer)["data"]
            found = {name: data[name] for name in ("host", "port", "username", "password") if data.get(name)}
            tls: Options = {"tls": {}} if data.get("ssl") else {}
    except urllib.error.HTTPError as error:
        with error:
            raise OptionsError(f"mqtt: Home Assistant offers no broker (HTTP {error.code}): {advice}") from None
    except (OSError, HTTPException, ValueError, LookupError, TypeError, AttributeError) as error:
        raise OptionsError(f"mqtt: the Supervisor gave no valid broker address ({error}): {advice}") from None
    if "host" not in found:
        raise OptionsError(f"mqtt: Home Assistant offers no broker: {advice}")
    return found | tls


def _last_known(file: Path) -> Options:
    try:
        found = tomllib.loads(file.read_text("utf-8")).get("mqtt")
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and "host" in found else {}


def translate(options: Options, mqtt: Options, data: Path = DATA) -> Options:
    """Return the settings for the options. Raises OptionsError for faults that sosbridge could not name by option."""
    transmitters = {str(each.get("name", "")): {**each, "alarms": []} for each in options["transmitters"]}
    if len(transmitters) < len(options["transmitters"]):
        raise OptionsError("transmitters: each needs its own name")
    for number, alarm in enumerate(options["alarms"], 1):
        name = str(alarm.get("transmitter", ""))
        if name not in transmitters:
            known = ", ".join(transmitters) or "none"
            raise OptionsError(f"alarms: entry {number}: transmitter: unknown name {name!r}; use one of: {known}")
        transmitters[name]["alarms"].append({key: value for key, value in alarm.items() if key != "transmitter"})
    if not options["panels"] and options["forward"]:
        raise OptionsError("forward: requires a panel; add one to panels")
    if options["panels"] and "announce" not in options:
        raise OptionsError("announce: is required with panels: they cannot reach the add-on's own address")
    if not options["panels"] and "announce" in options:
        raise OptionsError("announce: requires a panel; add one to panels")
    if not options["panels"] and not transmitters:
        raise OptionsError("transmitters and panels are empty: add at least one")
    settings: Options = {"mqtt": mqtt, "store": {"path": str(data / "sosbridge.db")}}
    settings["web"] = {"listen": _PAGE, "username": "ingress", "password": secrets.token_urlsafe(24)}
    if "log_level" in options:
        settings["log"] = {"level": options["log_level"]}
    settings |= {"transmitters": list(transmitters.values()), "forward": options["forward"]}
    if options["panels"]:
        settings["g90"] = {"panels": options["panels"], "announce": options["announce"]}
    return settings


def write(file: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings atomically, readable by their owner only. Raises OptionsError."""
    text = "".join(f"{name} = {toml(value)}\n" for name, value in settings.items())
    try:
        content = text.encode()
    except UnicodeEncodeError:
        raise OptionsError("a text contains half a character (a lone surrogate); enter it again") from None
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(content)
    new.replace(file)


def toml(value: Any) -> str:  # noqa: ANN401 - JSON
    """Return a value as TOML; strings are as in JSON, except that TOML requires DEL to be escaped."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{toml(str(name))} = {toml(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def drop_root(data: Path) -> None:
    """Remove the token, give all files below `data` except the options to the image's user, and become that user."""
    for name in ("SUPERVISOR_TOKEN", "HASSIO_TOKEN"):
        os.environ.pop(name, None)
    if os.geteuid() != 0:
        return
    for path in (data, *data.rglob("*")):
        if path.name != "options.json":
            os.chown(path, USER, USER, follow_symlinks=False)
    os.setgroups([])
    os.setgid(USER)
    os.setuid(USER)


def restore(data: Path) -> None:
    """Restore the store if a Home Assistant backup was restored: it has backup.tar but excludes the database."""
    backup = data / "backup.tar"
    if not backup.exists() or (data / "sosbridge.db").exists():
        return
    if subprocess.run(["sosbridge", "restore-backup", str(backup)], check=False).returncode == 0:  # noqa: S603, S607
        backup.unlink()


if __name__ == "__main__":
    main()
