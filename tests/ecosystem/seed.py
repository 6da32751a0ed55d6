"""A configuration directory for Home Assistant past its first steps: an owner, a token, the MQTT integration."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HTTP_IN_STORE = 2026
"""From this release on the HTTP settings are no YAML any more."""
_MOMENT = "2026-01-01T00:00:00+00:00"
_OWNER, _LOGIN = secrets.token_hex(16), secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class Login:
    """What one who has logged in holds: the tests a long-lived token, the browser one of a session."""

    access: str
    refresh: str


@dataclass(frozen=True, slots=True)
class Seeded:
    """How to get in."""

    tests: Login
    browser: Login


def seed(folder: Path, port: int, mqtt_port: int, year: int, extra: str = "") -> Seeded:
    """Write what Home Assistant needs to listen on `port` and to know the broker; `extra` is more of its YAML."""
    store = _Store(folder / ".storage")
    http = "" if year >= HTTP_IN_STORE else f"http:\n  server_host: 127.0.0.1\n  server_port: {port}\n"
    text = f"homeassistant:\n{http}frontend:\nhistory:\nlogbook:\nautomation: !include automations.yaml\n"
    logger = "logger:\n  default: warning\n  logs:\n    homeassistant.components.mqtt: info\n"
    folder.joinpath("configuration.yaml").write_text(text + logger + extra)
    folder.joinpath("automations.yaml").touch()
    if year >= HTTP_IN_STORE:
        store.write("http", 3, {"pending": None, "yaml_migration_done": True, "stable": _http(port)})
    store.write("onboarding", 4, {"done": ["user", "core_config", "analytics", "integration"]})
    core = {"latitude": 59.33, "longitude": 18.07, "elevation": 0, "unit_system_v2": "metric", "location_name": "House"}
    more = {"time_zone": "UTC", "currency": "SEK", "country": "SE", "language": "en", "radius": 100}
    store.write("core.config", 1, core | more | {"external_url": None, "internal_url": None}, minor=4)
    store.write("core.config_entries", 1, {"entries": [_mqtt(mqtt_port)]}, minor=5)
    return _owner(store, f"http://127.0.0.1:{port}/")


class _Store:
    """Home Assistant's own files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True)

    def write(self, key: str, version: int, data: dict[str, Any], minor: int = 1) -> None:
        content = {"version": version, "minor_version": minor, "key": key, "data": data}
        (self._folder / key).write_text(json.dumps(content))


def _http(port: int) -> dict[str, Any]:
    return {
        "server_port": port,
        "server_host": ["127.0.0.1"],
        "cors_allowed_origins": [],
        "login_attempts_threshold": -1,
        "ip_ban_enabled": False,
        "ssl_profile": "intermediate_v6",
        "use_x_frame_options": True,
        "created_at": _MOMENT,
        "error": None,
        "error_message": None,
    }


def _mqtt(port: int) -> dict[str, Any]:
    return {
        "entry_id": secrets.token_hex(13).upper(),
        "domain": "mqtt",
        "title": "broker",
        "version": 1,
        "minor_version": 2,
        "data": {"broker": "127.0.0.1", "port": port},
        "options": {"discovery": True, "discovery_prefix": "homeassistant"},
        "created_at": _MOMENT,
        "modified_at": _MOMENT,
        "disabled_by": None,
        "discovery_keys": {},
        "pref_disable_new_entities": False,
        "pref_disable_polling": False,
        "source": "user",
        "subentries": [],
        "unique_id": None,
    }


def _owner(store: _Store, url: str) -> Seeded:
    tests, browser = _token(None, "long_lived_access_token"), _token(url, "normal")
    names = ("system-admin", "Administrators"), ("system-users", "Users"), ("system-read-only", "Read Only")
    user = {"id": _OWNER, "group_ids": ["system-admin"], "is_owner": True, "is_active": True, "name": "Owner"}
    login = {"id": _LOGIN, "user_id": _OWNER, "auth_provider_type": "homeassistant", "auth_provider_id": None}
    found = {
        "users": [user | {"system_generated": False, "local_only": False}],
        "groups": [{"id": key, "name": name} for key, name in names],
        "credentials": [login | {"data": {"username": "owner"}}],
        "refresh_tokens": [tests, browser],
    }
    store.write("auth", 1, found)
    return Seeded(*(Login(_signed(each), each["token"]) for each in (tests, browser)))


def _token(client: str | None, kind: str) -> dict[str, Any]:
    return {
        "id": secrets.token_hex(16),
        "user_id": _OWNER,
        "client_id": client,
        "client_name": None if client else "tests",
        "client_icon": None,
        "token_type": kind,
        "created_at": _MOMENT,
        "access_token_expiration": 86400.0 * 365,
        "token": secrets.token_hex(64),
        "jwt_key": secrets.token_hex(64),
        "last_used_at": None,
        "last_used_ip": None,
        "expire_at": None,
        "credential_id": _LOGIN if client else None,
        "version": "2025.1.0",
    }


def _signed(token: dict[str, Any]) -> str:
    """Return the access token of a refresh token: a JSON Web Token with HMAC-SHA256."""
    now = int(time.time())
    parts = {"alg": "HS256", "typ": "JWT"}, {"iss": token["id"], "iat": now - 60, "exp": now + 86400 * 365}
    body = ".".join(_base64(json.dumps(part).encode()) for part in parts)
    return f"{body}.{_base64(hmac.digest(token['jwt_key'].encode(), body.encode(), hashlib.sha256))}"


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
