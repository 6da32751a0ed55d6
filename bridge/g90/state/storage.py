"""A panel's state as JSON, and back. Times of the steady clock are stored as the seconds until them.

Only the wall clock continues over a restart. If it was set back meanwhile, no time is counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import datetime
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, TypeVar

from bridge.common.errors import DamagedError
from bridge.g90.state.ledger import Entry, Ledger, slot_of
from bridge.g90.state.model import (
    Hardware,
    KnownHistory,
    Link,
    Now,
    PanelState,
    Partition,
    Relay,
    Sensor,
    Signature,
)
from bridge.g90.wire.commands import HostInfo
from bridge.g90.wire.constants import type_name
from bridge.g90.wire.events import EventType, Form, PanelEvent

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_OLD_FAMILIES: Final = {"activity": EventType.SENSOR_ACTIVITY.value}
"""Of the first version, where they are not named like an event."""
_P = TypeVar("_P", Link, Hardware, Partition)
_NOT_STORED: Final = frozenset({"upstream_connected", "actor", "moved"})
_PLAIN: Final = ("guid", "name", "clock_offset")


def to_json(state: PanelState, now: Now) -> dict[str, object]:
    def left(moment: float | None) -> float | None:
        return None if moment is None else round(moment - now.steady, 3)

    return {
        **{name: getattr(state, name) for name in _PLAIN},
        **_part(state.link),
        **_part(state.hardware),
        **_part(state.partition),
        "contact": _text(state.contact),
        "sensors": [_sensor(sensor, left) for sensor in state.sensors.values()],
        "relays": [_part(relay) for relay in state.relays.values()],
        "ledger": [_entry(entry, left) for entry in state.ledger],
        "history": [list(record) for record in state.history.records],
        "history_at": _text(state.history.read_at),
        "stored_at": now.wall.isoformat(),
    }


def from_json(stored: Mapping[str, Any], now: Now) -> PanelState:
    """Return the state that `to_json` gave, or an earlier version; raise `DamagedError` for anything else."""
    try:
        return _state(_upgraded(stored, now) if "told" in stored else stored, now)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DamagedError(f"a stored panel state cannot be read: {error}") from error


def _state(stored: Mapping[str, Any], now: Now) -> PanelState:
    passed = max((now.wall - datetime.fromisoformat(stored["stored_at"])).total_seconds(), 0.0)

    def moment(left: float | None) -> float | None:
        return None if left is None else now.steady + left - passed

    sensors = [_read_sensor(sensor, moment) for sensor in stored["sensors"]]
    entries = tuple(_read_entry(entry, moment) for entry in stored["ledger"])
    waits = [entry.due for entry in entries] + [sensor.off_at for sensor in sensors]
    plain: dict[str, Any] = {name: stored[name] for name in _PLAIN}
    return PanelState(
        **plain,
        link=_read_part(Link, stored),
        hardware=_read_part(Hardware, stored),
        partition=_read_part(Partition, stored),
        contact=_time(stored["contact"]),
        sensors={sensor.index: sensor for sensor in sensors},
        relays={relay.number: relay for relay in (Relay(**relay) for relay in stored["relays"])},
        ledger=_ledger(entries),
        history=KnownHistory(tuple(map(_signature, stored["history"])), _time(stored["history_at"])),
        due=min((due for due in waits if due is not None), default=None),
    )


def _part(value: DataclassInstance) -> dict[str, object]:
    """Return the fields that are stored; `asdict` copies times and zones."""
    names, read = _accessors(type(value))
    return {name: _plain(each) for name, each in zip(names, read(value), strict=True)}


def _plain(field: object) -> object:
    return _text(field) if isinstance(field, datetime) else _part(field) if isinstance(field, HostInfo) else field


def _read_part(kind: type[_P], stored: Mapping[str, Any]) -> _P:
    names = [field.name for field in fields(kind) if field.name not in _NOT_STORED]
    found: dict[str, Any] = {name: _READ[name](stored[name]) if name in _READ else stored[name] for name in names}
    return kind(**found)


def _sensor(sensor: Sensor, left: Callable[[float | None], float | None]) -> dict[str, object]:
    return _part(sensor) | {"off_at": left(sensor.off_at), "open_since": left(sensor.open_since)}


def _read_sensor(stored: Mapping[str, Any], moment: Callable[[float | None], float | None]) -> Sensor:
    off_at, open_since = moment(stored["off_at"]), moment(stored["open_since"])
    changed = {"off_at": off_at, "open_since": open_since, "last_activity": _time(stored["last_activity"])}
    return Sensor(**{**stored, **changed})


def _entry(entry: Entry, left: Callable[[float | None], float | None]) -> dict[str, object]:
    return {
        "event": _part(entry.event),
        "forms": dict(entry.forms),
        "heard": left(entry.heard),
        "alarms": entry.alarms,
        "due": left(entry.due),
    }


def _read_entry(stored: Mapping[str, Any], moment: Callable[[float | None], float | None]) -> Entry:
    event = _read_event(stored["event"])
    forms = {Form(form): time for form, time in stored["forms"].items()}
    heard = moment(float(stored["heard"]))
    assert heard is not None  # noqa: S101 - of a number
    time = next((time for time in forms.values() if time is not None), None)
    return Entry(slot_of(event), event, forms, heard, bool(stored["alarms"]), moment(stored["due"]), time)


def _ledger(entries: tuple[Entry, ...]) -> Ledger:
    untimed = max((entry.heard for entry in entries if entry.time is None), default=-math.inf)
    return Ledger(entries, max((e.time for e in entries if e.time is not None), default=-math.inf), untimed)


def _read_event(stored: Mapping[str, Any]) -> PanelEvent:
    ended_by = tuple(EventType(each) for each in stored.get("ended_by", ()))
    read = {"type": EventType(stored["type"]), "at": datetime.fromisoformat(stored["at"]), "ended_by": ended_by}
    return PanelEvent(**{**stored, **read})


def _upgraded(stored: Mapping[str, Any], now: Now) -> dict[str, Any]:
    """Return a state of the first version, which had no history and no relays, in today's form.

    What waited is due now.
    """
    types = {sensor["index"]: type_name(sensor["type"]) for sensor in stored["sensors"]}
    held = [told["held"] for told in stored["told"] if told["held"]]
    if stored["alarm_due"]:
        held.append({"guid": stored["guid"], "type": "alarm", "at": now.wall.isoformat(), "source": "panel"})
    known = [_upgraded_entry(told, stored["guid"], types, now) for told in stored["told"] if not told["held"]]
    waiting = [{"event": event, "forms": {}, "heard": 0, "alarms": True, "due": 0} for event in held]
    signals = {name: stored[name] for name in ("battery_mv", "gsm_signal", "wifi_signal")}
    info = {"guid": stored["guid"], "product": stored["product"] or "", "firmware": "", **signals}
    missing = ("last_read", "alert_flags", "changed_by", "clock_offset", "history_at")
    return {
        **dict.fromkeys(missing),
        **stored,
        "info": info,
        "contact": stored["last_seen"],
        "sensors": [{**s, "off_at": 0 if s["off_at"] else None, "open_since": None} for s in stored["sensors"]],
        "relays": (),
        "ledger": (*known, *waiting),
        "history": (),
        "stored_at": now.wall.isoformat(),
    }


def _upgraded_entry(told: Mapping[str, Any], guid: str, types: Mapping[int, str | None], now: Now) -> dict[str, Any]:
    """Return an entry with its sensor's type, which was reported with it: a later form says nothing more."""
    family, _, action = told["slot"].split(":")
    sensor, time, at = told["sensor"], told["panel_time"], told["received"]
    event = {"guid": guid, "type": _OLD_FAMILIES.get(family, family), "at": at, "sensor": sensor, "panel_time": time}
    event |= {"sensor_type": types.get(sensor), "action": action or None}
    times = told.get("times") or [time] * len(told["forms"])
    return {
        "event": event,
        "forms": dict(zip(told["forms"], times, strict=True)),
        "heard": -max((now.wall - datetime.fromisoformat(at)).total_seconds(), 0.0),
        "alarms": family == "alarm",
        "due": None,
    }


@lru_cache
def _accessors(kind: type[DataclassInstance]) -> tuple[tuple[str, ...], attrgetter[tuple[Any, ...]]]:
    names = tuple(field.name for field in fields(kind) if field.name not in _NOT_STORED)
    return names, attrgetter(*names)


def _signature(stored: list[Any]) -> Signature:
    kind, event, source, state, time = stored
    return (kind, event, source, state, time)


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


_READ: Final[dict[str, Callable[[Any], object]]] = {
    **dict.fromkeys(("connected_since", "last_seen", "last_read"), _time),
    "arm": lambda stored: EventType(stored) if stored else None,
    "info": lambda stored: HostInfo(**stored) if stored else None,
}
"""How the fields are read that JSON holds as something else."""
