"""Rows of the store as values, and values as rows."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from bridge.common.errors import DamagedError
from bridge.common.models import ActiveAlarm, Alarm, AlarmIdentity, Command, Moment, Reply, Request, Result


class State(StrEnum):
    """Of a command in the outbox."""

    PENDING = "pending"
    REJECTED = "rejected"
    """Set aside for a person."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """How an MQTT message came, so that its redelivery is recognised."""

    mid: int
    duplicate: bool
    digest: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One message to store: a command, or the result of one that was wrong from the start."""

    transmitter: str
    command: Command | None = None
    invalid: Result | None = None
    reply: Reply | None = None
    delivery: Delivery | None = None


@dataclass(frozen=True, slots=True)
class Queued:
    """A command in the outbox."""

    id: int
    command: Command
    state: State
    attempts: int
    unauthorized: bool
    undelivered: bool
    """Whether the `undelivered` event was made for it."""
    error: str


@dataclass(frozen=True, slots=True)
class PendingResult:
    """A result that MQTT has not got yet."""

    id: int
    transmitter: str
    request: Request
    payload: str
    """As published: JSON of `fields`."""
    fields: dict[str, Any]
    reply: Reply | None


@dataclass(frozen=True, slots=True)
class Counts:
    """What waits for one transmitter, alarms and restores only."""

    pending: int = 0
    oldest_at: datetime | None = None
    rejected: int = 0
    unauthorized: int = 0


def is_known(db: sqlite3.Connection, delivery: Delivery) -> bool:
    known = db.execute("SELECT digest FROM seen WHERE mid = ?", (delivery.mid,)).fetchone()
    return bool(delivery.duplicate and known and known["digest"] == delivery.digest)


def seen_before(db: sqlite3.Connection, delivery: Delivery) -> bool:
    if is_known(db, delivery):
        return True
    db.execute("INSERT OR REPLACE INTO seen (mid, digest) VALUES (?, ?)", (delivery.mid, delivery.digest))
    return False


def insert_command(db: sqlite3.Connection, command: Command) -> Queued:
    identity, reply = command.identity, command.reply
    body = {
        "alarm": {k: v for k, v in asdict(command.alarm).items() if v is not None} if command.alarm else None,
        "reference": command.reference,
        "warnings": command.warnings,
    }
    number = db.execute(
        "INSERT INTO command (transmitter, request, event_code, area, section, detector, body, accepted_at,"
        " reply_topic, correlation, boot, steady, sure) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            command.transmitter, command.request, identity.event_code, identity.area, identity.section,
            identity.detector, json.dumps(body), command.accepted_at.timestamp(),
            reply.topic if reply else None, reply.correlation if reply else None,
            command.moment.boot, command.moment.steady, command.moment.sure,
        ),
    ).lastrowid or 0  # fmt: skip
    return Queued(number, command, State.PENDING, attempts=0, unauthorized=False, undelivered=False, error="")


def insert_result(
    db: sqlite3.Connection, transmitter: str, command_id: int | None, result: Result, reply: Reply | None
) -> None:
    completed = result.completed_at.timestamp() if result.completed_at else 0
    db.execute(
        "INSERT INTO history (command_id, transmitter, request, completed_at, result, reply_topic, correlation)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            command_id, transmitter, result.request, completed, json.dumps(result.as_json()),
            reply.topic if reply else None, reply.correlation if reply else None,
        ),
    )  # fmt: skip


def follow(db: sqlite3.Connection, command: Command) -> None:
    """Change the active alarms as an accepted command says."""
    identity = command.identity
    key = (command.transmitter, identity.event_code, identity.area, identity.section, identity.detector)
    if command.request is Request.ALARM:
        db.execute(
            "INSERT OR IGNORE INTO active (transmitter, event_code, area, section, detector, since, reference)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*key, command.accepted_at.timestamp(), command.reference),
        )
    elif command.request is Request.RESTORE and identity.whole_code:
        db.execute("DELETE FROM active WHERE transmitter = ? AND event_code = ?", key[:2])
    elif command.request is Request.RESTORE:
        sql = (
            "DELETE FROM active WHERE transmitter = ? AND event_code = ? AND area = ? AND section = ? AND detector = ?"
        )
        db.execute(sql, key)


def read_queued(row: sqlite3.Row) -> Queued:
    """Raises DamagedError: what we wrote can be read."""
    try:
        body = json.loads(row["body"])
        command = Command(
            transmitter=row["transmitter"],
            request=Request(row["request"]),
            accepted_at=read_time(row["accepted_at"]),
            moment=Moment(row["boot"], float(row["steady"]), sure=bool(row["sure"])),
            alarm=Alarm(**body["alarm"]) if body["alarm"] else None,
            identity=read_identity(row),
            reference=body["reference"],
            warnings=tuple(body["warnings"]),
            reply=_reply(row),
        )
        state = State(row["state"])
    except (ValueError, LookupError, TypeError, OverflowError, OSError) as error:
        raise DamagedError(f"the store: command {row['id']} cannot be read ({type(error).__name__})") from None
    return Queued(
        id=row["id"],
        command=command,
        state=state,
        attempts=row["attempts"],
        unauthorized=row["unauthorized"] == 1,
        undelivered=bool(row["undelivered"]),
        error=row["error"],
    )


def read_pending_result(row: sqlite3.Row) -> PendingResult:
    """Raises DamagedError."""
    try:
        fields = json.loads(row["result"])
        return PendingResult(row["id"], row["transmitter"], Request(row["request"]), row["result"], fields, _reply(row))
    except (ValueError, TypeError) as error:
        raise DamagedError(f"the store: result {row['id']} cannot be read ({type(error).__name__})") from None


def read_active(row: sqlite3.Row) -> ActiveAlarm:
    """Raises DamagedError."""
    try:
        return ActiveAlarm(read_identity(row), read_time(row["since"]), row["reference"])
    except (ValueError, TypeError, OverflowError, OSError) as error:
        raise DamagedError(f"the store: an active alarm cannot be read ({type(error).__name__})") from None


def read_panel(row: sqlite3.Row) -> dict[str, Any]:
    """Return what is known of a panel. Raises DamagedError."""
    try:
        content: dict[str, Any] = json.loads(row["content"])
    except (ValueError, TypeError) as error:
        raise DamagedError(f"the store: a panel's state cannot be read ({type(error).__name__})") from None
    return content


def _reply(row: sqlite3.Row) -> Reply | None:
    return Reply(row["reply_topic"], row["correlation"]) if row["reply_topic"] else None


def read_identity(row: sqlite3.Row) -> AlarmIdentity:
    return AlarmIdentity(row["event_code"], row["area"], row["section"], row["detector"])


def read_time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds).astimezone()
