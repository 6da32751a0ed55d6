"""Rows of the store to values and back."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from bridge.common.errors import DamagedError
from bridge.common.models import ActiveAlarm, AlarmIdentity, Command, Moment, PreparedAlarm, Reply, Request, Result
from bridge.store.database import Db, Row
from bridge.store.deliveries import Delivery

_REPEATED_S = 86400.0
"""How long a caller's reference and time identify an alarm."""


class State(StrEnum):
    """State of a command in the outbox."""

    PENDING = "pending"
    REJECTED = "rejected"
    """Kept until a person retries or drops it."""


@dataclass(frozen=True, slots=True)
class CommandEntry:
    command: Command
    delivery: Delivery | None = None
    repeatable: bool = False
    """Whether the caller gave reference and time: the same within a day is a duplicate (TOPICS.md, Commands)."""

    @property
    def transmitter(self) -> str:
        return self.command.transmitter

    @property
    def reply(self) -> Reply | None:
        return self.command.reply


@dataclass(frozen=True, slots=True)
class InvalidEntry:
    """The result of an invalid command, to store and publish."""

    transmitter: str
    result: Result
    reply: Reply | None = None
    delivery: Delivery | None = None


Entry = CommandEntry | InvalidEntry


@dataclass(frozen=True, slots=True)
class Queued:
    id: int
    command: Command
    state: State
    attempts: int
    unauthorized: bool
    undelivered: bool
    """Whether its `undelivered` event is stored (TOPICS.md, Transmitter events)."""
    error: str

    @property
    def urgent(self) -> bool:
        """Whether it goes before what is not."""
        return self.command.alarm is not None and self.command.alarm.urgent


@dataclass(frozen=True, slots=True)
class PendingResult:
    id: int
    transmitter: str
    request: Request
    payload: str
    """As published: JSON of `fields`."""
    fields: dict[str, Any]
    reply: Reply | None
    command_id: int | None


@dataclass(frozen=True, slots=True)
class Counts:
    """Alarms and restores of one transmitter, by state (TOPICS.md, Transmitter states)."""

    pending: int = 0
    oldest_at: datetime | None = None
    rejected: int = 0
    unauthorized: int = 0
    undelivered: int = 0
    """Pending ones whose `undelivered` event is due or published."""


class LineStatus(NamedTuple):
    """What is known of one transmitter's alarms."""

    active: list[ActiveAlarm]
    counts: Counts


class LastKnown(NamedTuple):
    """What is known of one transmitter at a start."""

    results: dict[Request, str]
    """The payload of the last published result of each request, oldest first."""
    tests: list[dict[str, Any]]
    """The fields of the results of the last test alarms, oldest first."""
    status: LineStatus


class ToPublish(NamedTuple):
    """What the publisher reads at once."""

    results: list[PendingResult]
    lines: dict[str, LineStatus]
    """By transmitter."""


def count_pending(db: Db) -> int:
    return int(db.execute("SELECT count(*) AS n FROM command WHERE state = 'pending'").fetchone()["n"])


def read_deliveries(db: Db) -> dict[int, tuple[bytes, int]]:
    """Return the digest and the command of each packet id that the broker may deliver again."""
    sql = "SELECT mid, digest, id FROM command WHERE mid IS NOT NULL"
    return {row["mid"]: (row["digest"], row["id"]) for row in db.execute(sql)}


def _key(command: Command) -> str:
    """Return what identifies a command that its caller sends again, for the table `forwarded`."""
    alarm = command.alarm.given() if command.alarm else {}
    content = json.dumps([command.transmitter, command.request, alarm], sort_keys=True)
    return f"reference:{hashlib.sha256(content.encode()).hexdigest()}"


def is_repeated(db: Db, command: Command) -> bool:
    """Whether the same command was accepted within a day; note this one if not."""
    key, at = _key(command), command.accepted_at.timestamp()
    row = db.execute("SELECT at FROM forwarded WHERE key = ?", (key,)).fetchone()
    if row is not None and abs(at - row["at"]) < _REPEATED_S:
        return True
    db.execute(
        "INSERT INTO forwarded (key, at) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET at = excluded.at", (key, at)
    )
    return False


def forget_repeatable(db: Db, command: Command) -> None:
    """Let the caller of a command that was not delivered send it again."""
    db.execute("DELETE FROM forwarded WHERE key = ?", (_key(command),))


def columns(command: Command) -> dict[str, Any]:
    """Return the columns of a command, but for those of its MQTT message."""
    identity, reply, moment = command.identity, command.reply, command.moment
    body = {
        "alarm": command.alarm.given() if command.alarm else None,
        "reference": command.reference,
        "warnings": command.warnings,
        **({"route": command.route} if command.route else {}),
    }
    return {
        "transmitter": command.transmitter, "request": command.request, "event_code": identity.event_code,
        "area": identity.area, "section": identity.section, "detector": identity.detector, "body": json.dumps(body),
        "accepted_at": command.accepted_at.timestamp(), "reply_topic": reply.topic if reply else None,
        "correlation": reply.correlation if reply else None, "boot": moment.boot, "steady": moment.steady,
        "sure": int(moment.sure),
    }  # fmt: skip


_INSERT_COMMAND = (
    "INSERT INTO command (transmitter, request, event_code, area, section, detector, body, accepted_at,"
    " reply_topic, correlation, boot, steady, sure, mid, digest, token)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id"
)


def insert_command(db: Db, command: Command, delivery: Delivery | None, token: bytes) -> Queued:
    """`token` identifies this command where it is not known whether it was stored."""
    values = (*columns(command).values(), *(delivery or (None, None)), token)
    number = db.execute(_INSERT_COMMAND, values).fetchone()["id"]
    return Queued(number, command, State.PENDING, attempts=0, unauthorized=False, undelivered=False, error="")


def insert_result(
    db: Db,
    transmitter: str,
    command_id: int | None,
    result: Result,
    reply: Reply | None,
    token: bytes | None = None,
) -> int:
    """Store a result to publish; return its number. `token` is that of the command that it ends."""
    completed = result.completed_at.timestamp() if result.completed_at else 0
    row = db.execute(
        "INSERT INTO history (command_id, transmitter, request, completed_at, result, reply_topic, correlation, token)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
        (
            command_id, transmitter, result.request, completed, json.dumps(result.as_json()),
            reply.topic if reply else None, reply.correlation if reply else None, token,
        ),
    ).fetchone()  # fmt: skip
    return int(row["id"])


def update_active(db: Db, command: Command) -> None:
    """Apply an accepted command to the active alarms (TOPICS.md, Commands)."""
    identity = command.identity
    key = (command.transmitter, identity.event_code, identity.area, identity.section, identity.detector)
    if command.request is Request.ALARM:
        db.execute(
            "INSERT INTO active (transmitter, event_code, area, section, detector, since, reference)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (*key, command.accepted_at.timestamp(), command.reference),
        )
    elif command.request is Request.RESTORE and identity.whole_code:
        db.execute("DELETE FROM active WHERE transmitter = ? AND event_code = ?", key[:2])
    elif command.request is Request.RESTORE:
        sql = (
            "DELETE FROM active WHERE transmitter = ? AND event_code = ? AND area = ? AND section = ? AND detector = ?"
        )
        db.execute(sql, key)


def read_command(row: Row) -> Command:
    """Return what `columns` returned. Raises ValueError, LookupError, TypeError, OverflowError, OSError."""
    body = json.loads(row["body"])
    return Command(
        transmitter=row["transmitter"],
        request=Request(row["request"]),
        accepted_at=read_time(row["accepted_at"]),
        moment=Moment(row["boot"], float(row["steady"]), sure=bool(row["sure"])),
        alarm=PreparedAlarm(**body["alarm"]) if body["alarm"] else None,
        identity=read_identity(row),
        reference=body["reference"],
        warnings=tuple(body["warnings"]),
        reply=_reply(row),
        route=(str(body["route"][0]), str(body["route"][1])) if body.get("route") else None,
    )


def read_queued(row: Row) -> Queued:
    """Raises DamagedError if a column has what was never written."""
    try:
        command = read_command(row)
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


def read_pending_result(row: Row) -> PendingResult:
    """Raises DamagedError."""
    try:
        fields = json.loads(row["result"])
        return PendingResult(
            row["id"], row["transmitter"], Request(row["request"]), row["result"], fields, _reply(row),
            row["command_id"],
        )  # fmt: skip
    except (ValueError, TypeError) as error:
        raise DamagedError(f"the store: result {row['id']} cannot be read ({type(error).__name__})") from None


def read_active(row: Row) -> ActiveAlarm:
    """Raises DamagedError."""
    try:
        return ActiveAlarm(read_identity(row), read_time(row["since"]), row["reference"])
    except (ValueError, TypeError, OverflowError, OSError) as error:
        raise DamagedError(f"the store: an active alarm cannot be read ({type(error).__name__})") from None


def read_counts(row: Row) -> Counts:
    counts = {name: row[name] for name in ("pending", "rejected", "unauthorized", "undelivered")}
    return Counts(**counts, oldest_at=None if row["oldest"] is None else read_time(row["oldest"]))


def read_panel(row: Row) -> dict[str, Any]:
    """Return the stored content of a panel. Raises DamagedError."""
    try:
        content: dict[str, Any] = json.loads(row["content"])
    except (ValueError, TypeError) as error:
        raise DamagedError(f"the store: a panel's state cannot be read ({type(error).__name__})") from None
    return content


def _reply(row: Row) -> Reply | None:
    return Reply(row["reply_topic"], row["correlation"]) if row["reply_topic"] else None


def read_identity(row: Row) -> AlarmIdentity:
    return AlarmIdentity(row["event_code"], row["area"], row["section"], row["detector"])


def read_time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds).astimezone()
