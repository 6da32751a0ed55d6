"""Turns payloads of MQTT (TOPICS.md) into what the page shows of transmitters, panels, events. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any

from bridge.common.problems import Problem
from bridge.common.text import clean
from bridge.record.availability import Availability

Json = dict[str, Any]

_MOST_PROBLEMS = 200
"""More do not fit a page; each transmitter shows its own."""
_RESULT = ("request", "outcome", "event_code", "completed_at", "receiver", "path", "error")
_INFO = ("name", "product", "firmware", "address", "last_seen", "ac_power", "battery_low", "wifi")
_EVENT = (
    "event_code",
    "event",
    "section_text",
    "detector_text",
    "receiver",
    "path",
    "name",
    "panel",
    "source",
    "topic",
)
_ENDS = ("reason", "error")


def transmitter(leaves: Mapping[str, str]) -> Json:
    """Return a transmitter; what is not known yet is None."""
    outbox = _load(leaves, "outbox") or {}
    return {
        "link": _up(leaves.get("link")),
        "receivers": _parts(leaves, "receiver"),
        "paths": _parts(leaves, "path"),
        "pending": outbox.get("pending"),
        "oldest_at": outbox.get("oldest_at"),
        "rejected": outbox.get("rejected"),
        "active": _load(leaves, "alarm/active") or [],
        "last_alarm": _chosen(_load(leaves, "alarm/response"), _RESULT),
        "last_test": _chosen(_load(leaves, "test/response"), _RESULT),
        "problems": _load(leaves, "problem/info") or [],
    }


def panel(leaves: Mapping[str, str]) -> Json:
    """Return a panel with its sensors."""
    indexes = sorted({leaf.split("/")[1] for leaf in leaves if leaf.startswith("sensor/")}, key=lambda i: (len(i), i))
    return {
        "online": None if "availability" not in leaves else leaves["availability"] == "online",
        "state": leaves.get("state"),
        **(_chosen(_load(leaves, "info"), _INFO) or {}),
        "sensors": [_sensor(leaves, index) for index in indexes],
    }


def _sensor(leaves: Mapping[str, str], index: str) -> Json:
    info = _load(leaves, f"sensor/{index}/info") or {}
    found = _chosen(info, ("name", "type", "enabled", "tamper", "battery_low")) or {}
    return {"index": index, "on": _up(leaves.get(f"sensor/{index}/state")), **found}


def day(when: date, found: Availability) -> Json:
    """Return the availability of a link on one day."""
    shares = {"up_s": found.up_s, "down_s": found.down_s, "unknown_s": found.unknown_s}
    return {"day": when.isoformat(), "percent": found.percent, **shares}


def problems(found: Iterable[Problem]) -> Json:
    """Return the first problems, and how many there are."""
    listed = [problem.as_json() for problem in found]
    return {"count": len(listed), "first": listed[:_MOST_PROBLEMS]}


def event_text(fields: Json) -> str:
    """Return what an event is about, in one line."""
    words = [str(fields[name]) for name in (*_EVENT, *_ENDS) if fields.get(name) not in (None, "")]
    return clean(" · ".join(words))


def took_s(result: Json) -> float | None:
    """Return the seconds from a command's acceptance to its end."""
    try:
        began, ended = (datetime.fromisoformat(result[name]) for name in ("accepted_at", "completed_at"))
    except (KeyError, TypeError, ValueError):
        return None
    return max((ended - began).total_seconds(), 0.0)


def _parts(leaves: Mapping[str, str], kind: str) -> Json:
    names = [leaf.split("/")[1] for leaf in leaves if leaf.startswith(f"{kind}/") and leaf.endswith("/info")]
    return {
        name: {**(_load(leaves, f"{kind}/{name}/info") or {}), "up": _up(leaves.get(f"{kind}/{name}/state"))}
        for name in names
    }


def _up(state: str | None) -> bool | None:
    return None if state is None else state == "ON"


def _load(leaves: Mapping[str, str], leaf: str) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(leaves.get(leaf, "null"))
    except ValueError:
        return None


def _chosen(fields: Json | None, names: Iterable[str]) -> Json | None:
    return None if fields is None else {name: fields[name] for name in names if name in fields}
