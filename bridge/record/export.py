"""Figures and results as JSON and CSV values. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence

from bridge.common.text import present
from bridge.record.alarms import AlarmEntry
from bridge.record.figures import Figures, iso

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet would calculate a cell that begins with one of these; texts of MQTT clients stand in cells."""


def as_json(month: Figures) -> dict[str, object]:
    """Return the figures with the days and the late alarms."""
    days = {
        part: [{"day": day.isoformat(), **found.as_json()} for day, found in each.days]
        for part, each in month.parts.items()
    }
    late = [alarm_as_json(each) for each in month.late]
    return {"transmitter": month.transmitter, **month.as_json(), "days": days, "late": late}


def alarm_as_json(alarm: AlarmEntry) -> dict[str, object]:
    """Return an alarm, restore, ping or test and how it ended; fields that do not apply are absent."""
    fields = {
        "accepted_at": iso(alarm.accepted_at),
        "completed_at": None if alarm.completed_at is None else iso(alarm.completed_at),
        "request": alarm.request,
        "event_code": alarm.event_code or None,
        "outcome": alarm.outcome,
        "seconds": None if alarm.seconds is None else round(alarm.seconds, 3),
        "receiver": alarm.receiver or None,
        "path": alarm.path or None,
        "attempts": alarm.attempts,
        "reference": alarm.reference or None,
        "error": alarm.error or None,
    }
    return present(fields)


def figures(month: Figures) -> Iterator[tuple[str, object]]:
    """Yield each value of `as_json` with a name such as `link.down_s` or `days.link.2026-11-30.down_s`."""
    for name, value in as_json(month).items():
        if name not in ("transmitter", "month"):
            yield from flat(value, name)


def flat(value: object, name: str) -> Iterator[tuple[str, object]]:
    """Yield the values in objects and lists with their names; rows of a list are named by day or number."""
    if isinstance(value, Mapping):
        for each, inner in value.items():
            if each != "day":
                yield from flat(inner, f"{name}.{each}")
    elif isinstance(value, list):
        for number, row in enumerate(value, 1):
            yield from flat(row, f"{name}.{row.get('day', number)}")
    else:
        yield name, value


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return CSV with a header."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value
