"""Commands on their way: on disk before they are acknowledged, until a receiver has them or a person drops them.

A command is a row of `command` until it ends; its result then goes to `history` in the same transaction, and stays
there unpublished until MQTT has it. So whatever moment the power fails in, a command is waiting, or its result is owed.
What is being sent needs no mark on disk: after a crash the row is simply still there.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from bridge.errors import StoreError
from bridge.models import ActiveAlarm, Alarm, AlarmIdentity, Command, Outcome, Reply, Request, Result
from bridge.store import Store
from bridge.topics import result_payload

_SAME_ALARM = """
    e.event_code = c.event_code
    AND (c.area || c.section || c.detector = '' OR e.area || e.section || e.detector = ''
         OR (e.area = c.area AND e.section = c.section AND e.detector = c.detector))
"""
# A restore never overtakes its alarm, nor a new alarm the restore of the one before.
_NEXT = f"""
    SELECT * FROM command c WHERE transmitter = :transmitter AND state = 'pending'
    AND (request IN ('ping', 'auth') OR :alarms)
    AND id NOT IN (SELECT value FROM json_each(:later))
    AND NOT EXISTS (
        SELECT 1 FROM command e WHERE e.transmitter = c.transmitter AND e.state = 'pending' AND e.id < c.id
        AND e.request <> c.request AND e.request IN ('alarm', 'restore') AND c.request IN ('alarm', 'restore')
        AND {_SAME_ALARM})
    ORDER BY request IN ('ping', 'auth'), id LIMIT 1
"""  # noqa: S608 - built from constants
_ALARMS = (Request.ALARM, Request.RESTORE)


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
    state: str
    attempts: int
    unauthorized: bool
    undelivered: bool
    """Whether the `undelivered` event was made for it."""
    error: str


@dataclass(frozen=True, slots=True)
class Owed:
    """A result that MQTT has not got yet."""

    id: int
    transmitter: str
    request: Request
    payload: str
    reply: Reply | None


@dataclass(frozen=True, slots=True)
class Counts:
    """What waits for one transmitter, alarms and restores only."""

    pending: int = 0
    oldest_at: datetime | None = None
    rejected: int = 0
    unauthorized: int = 0


class Outbox:
    """The queue of every transmitter, over one Store. Every method may raise StoreError."""

    def __init__(self, store: Store, max_commands: int = 100_000, history: timedelta = timedelta(days=30)) -> None:
        self._store = store
        self._max_commands = max_commands
        self._history = history

    async def add(self, entries: Sequence[Entry], confirmed: Collection[Delivery] = ()) -> set[str]:
        """Store `entries` together and return the transmitters that have something new; redeliveries add nothing.

        What finds the outbox full ends as an invalid command: its result says so. `confirmed` are earlier deliveries
        whose acknowledgement the broker has: it will not repeat them, so they are forgotten.
        """
        return await self._store.write(lambda db: self._add(db, entries, confirmed))

    def _add(self, db: sqlite3.Connection, entries: Sequence[Entry], confirmed: Collection[Delivery]) -> set[str]:
        db.executemany("DELETE FROM seen WHERE mid = ? AND digest = ?", [(d.mid, d.digest) for d in confirmed])
        room = self._max_commands - db.execute("SELECT count(*) FROM command").fetchone()[0]
        touched = set()
        for entry in entries:
            if entry.delivery and _seen_before(db, entry.delivery):
                continue
            touched.add(entry.transmitter)
            if entry.command and room > 0:
                room -= 1
                _insert(db, entry.command)
            else:
                result = entry.invalid or self._full(entry)
                _insert_result(db, entry.transmitter, None, result, entry.reply)
        return touched

    def _full(self, entry: Entry) -> Result:
        assert entry.command  # noqa: S101 - an entry is a command or an invalid one
        command = entry.command
        return Result(
            request=command.request,
            outcome=Outcome.INVALID,
            reference=command.reference,
            event_code=command.alarm.event_code if command.alarm else None,
            accepted_at=command.accepted_at,
            completed_at=command.accepted_at,
            error=f"the outbox is full ({self._max_commands} commands): nothing more is taken until it drains",
        )

    async def next(self, transmitter: str, later: Collection[int] = (), *, alarms: bool = True) -> Queued | None:
        """Return the command to send now: alarms in order, then pings and rotations; `later` are ids to leave out."""
        values = {"transmitter": transmitter, "later": json.dumps(list(later)), "alarms": alarms}
        row = await self._store.read(lambda db: db.execute(_NEXT, values).fetchone())
        return _queued(row) if row else None

    async def older_than(self, transmitter: str, moment: datetime) -> list[Queued]:
        """Return the pending alarms that were accepted before `moment`, oldest first, a thousand at most."""
        sql = (
            "SELECT * FROM command WHERE transmitter = ? AND state = 'pending' AND request IN ('alarm', 'restore')"
            " AND accepted_at < ? ORDER BY id LIMIT 1000"
        )
        rows = await self._store.read(lambda db: db.execute(sql, (transmitter, moment.timestamp())).fetchall())
        return [_queued(row) for row in rows]

    async def failed(self, queued: Queued, *, attempts: int, error: str, unauthorized: Result | None = None) -> None:
        """Keep a command for another round, with what went wrong; the `undelivered` event is owed from now on.

        `unauthorized` is the result that is told once, while the command goes on waiting for the password to be mended.
        """

        def work(db: sqlite3.Connection) -> None:
            db.execute(
                "UPDATE command SET attempts = attempts + ?, error = ?, undelivered = max(undelivered, 1),"
                " unauthorized = ? WHERE id = ?",
                (attempts, error, unauthorized is not None, queued.id),
            )
            if unauthorized and not queued.unauthorized:
                _insert_result(db, queued.command.transmitter, queued.id, unauthorized, queued.command.reply)

        await self._store.write(work)

    async def complete(self, queued: Queued, result: Result) -> None:
        """End a command: its result is owed to MQTT, a rejected alarm is set aside, the active alarms change."""

        def work(db: sqlite3.Connection) -> None:
            command = queued.command
            if result.outcome is Outcome.REJECTED and command.request in _ALARMS:
                db.execute(
                    "UPDATE command SET state = 'rejected', attempts = attempts + ?, error = ? WHERE id = ?",
                    (result.attempts or 0, result.error or "", queued.id),
                )
            else:
                db.execute("DELETE FROM command WHERE id = ?", (queued.id,))
            if result.outcome in (Outcome.ACCEPTED, Outcome.DUPLICATE):
                _follow(db, command)
            _insert_result(db, command.transmitter, queued.id, result, command.reply)

        await self._store.write(work)

    async def counts(self, transmitter: str) -> Counts:
        sql = (
            "SELECT state, count(*) AS n, min(accepted_at) AS oldest, sum(unauthorized) AS unauthorized FROM command"
            " WHERE transmitter = ? AND request IN ('alarm', 'restore') GROUP BY state"
        )
        rows = await self._store.read(lambda db: db.execute(sql, (transmitter,)).fetchall())
        by_state = {row["state"]: row for row in rows}
        pending, rejected = by_state.get("pending"), by_state.get("rejected")
        return Counts(
            pending=pending["n"] if pending else 0,
            oldest_at=_time(pending["oldest"]) if pending else None,
            rejected=rejected["n"] if rejected else 0,
            unauthorized=pending["unauthorized"] if pending else 0,
        )

    async def active(self, transmitter: str) -> list[ActiveAlarm]:
        """Return the alarms raised and not restored, oldest first."""
        sql = "SELECT * FROM active WHERE transmitter = ? ORDER BY since, event_code, section, detector, area"
        rows = await self._store.read(lambda db: db.execute(sql, (transmitter,)).fetchall())
        return [ActiveAlarm(_identity(row), _time(row["since"]), row["reference"]) for row in rows]

    async def owed_results(self, after: int = 0) -> list[Owed]:
        """Return the results that MQTT has not got, in order, with numbers above `after`."""
        sql = "SELECT * FROM history WHERE published = 0 AND id > ? ORDER BY id"
        rows = await self._store.read(lambda db: db.execute(sql, (after,)).fetchall())
        return [_owed(row) for row in rows]

    async def published(self, results: Sequence[Owed]) -> None:
        values = [(result.id,) for result in results]
        await self._store.write(lambda db: db.executemany("UPDATE history SET published = 1 WHERE id = ?", values))

    async def last_result(self, transmitter: str, requests: Collection[Request]) -> str | None:
        """Return the payload of the last result of these kinds that was published."""
        sql = (
            "SELECT result FROM history WHERE transmitter = ? AND published"
            " AND request IN (SELECT value FROM json_each(?)) ORDER BY id DESC LIMIT 1"
        )
        values = (transmitter, json.dumps(list(requests)))
        row = await self._store.read(lambda db: db.execute(sql, values).fetchone())
        return str(row["result"]) if row else None

    async def owed_undelivered(self) -> list[Queued]:
        """Return the commands whose `undelivered` event MQTT has not got."""
        rows = await self._store.read(
            lambda db: db.execute("SELECT * FROM command WHERE undelivered = 1 ORDER BY id LIMIT 1000").fetchall()
        )
        return [_queued(row) for row in rows]

    async def told_undelivered(self, queued: Queued) -> None:
        await self._store.write(lambda db: db.execute("UPDATE command SET undelivered = 2 WHERE id = ?", (queued.id,)))

    async def forget_deliveries(self) -> None:
        """Forget all deliveries: the broker began a new session and repeats none of them."""
        await self._store.write(lambda db: db.execute("DELETE FROM seen"))

    async def prune(self, now: datetime) -> None:
        """Drop results older than the history's age, and the oldest past its bound."""
        before, bound = (now - self._history).timestamp(), self._max_commands

        def work(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM history WHERE published AND completed_at < ?", (before,))
            db.execute("DELETE FROM history WHERE published AND id <= (SELECT max(id) FROM history) - ?", (bound,))

        await self._store.write(work)

    async def list(self, transmitter: str | None = None) -> list[Queued]:
        """Return all that is waiting or set aside, in order."""
        sql = "SELECT * FROM command WHERE ? IS NULL OR transmitter = ? ORDER BY id"
        rows = await self._store.read(lambda db: db.execute(sql, (transmitter, transmitter)).fetchall())
        return [_queued(row) for row in rows]

    async def get(self, number: int) -> Queued | None:
        row = await self._store.read(lambda db: db.execute("SELECT * FROM command WHERE id = ?", (number,)).fetchone())
        return _queued(row) if row else None

    async def retry(self, number: int, now: datetime) -> bool:
        """Put a rejected command back in the queue, as new as if it came `now`; False where there is none."""
        sql = (
            "UPDATE command SET state = 'pending', accepted_at = ?, undelivered = 0, error = ''"
            " WHERE id = ? AND state = 'rejected'"
        )
        values = (now.timestamp(), number)
        return bool(await self._store.write(lambda db: db.execute(sql, values).rowcount))

    async def drop(self, number: int) -> bool:
        """Delete a command for good; False where there is none."""
        return bool(
            await self._store.write(lambda db: db.execute("DELETE FROM command WHERE id = ?", (number,)).rowcount)
        )

    async def change_mark(self) -> int:
        """Return a number that changes when another program wrote to the store."""
        return int(await self._store.read(lambda db: db.execute("PRAGMA data_version").fetchone()[0]))


def _seen_before(db: sqlite3.Connection, delivery: Delivery) -> bool:
    known = db.execute("SELECT digest FROM seen WHERE mid = ?", (delivery.mid,)).fetchone()
    if delivery.duplicate and known and known["digest"] == delivery.digest:
        return True
    db.execute("INSERT OR REPLACE INTO seen (mid, digest) VALUES (?, ?)", (delivery.mid, delivery.digest))
    return False


def _insert(db: sqlite3.Connection, command: Command) -> None:
    identity, reply = command.identity, command.reply
    body = {
        "alarm": {k: v for k, v in asdict(command.alarm).items() if v is not None} if command.alarm else None,
        "reference": command.reference,
        "warnings": command.warnings,
    }
    db.execute(
        "INSERT INTO command (transmitter, request, event_code, area, section, detector, body, accepted_at,"
        " reply_topic, correlation) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            command.transmitter, command.request, identity.event_code, identity.area, identity.section,
            identity.detector, json.dumps(body), command.accepted_at.timestamp(),
            reply.topic if reply else None, reply.correlation if reply else None,
        ),
    )  # fmt: skip


def _insert_result(
    db: sqlite3.Connection, transmitter: str, command_id: int | None, result: Result, reply: Reply | None
) -> None:
    completed = result.completed_at.timestamp() if result.completed_at else 0
    db.execute(
        "INSERT INTO history (command_id, transmitter, request, completed_at, result, reply_topic, correlation)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            command_id, transmitter, result.request, completed, json.dumps(result_payload(result)),
            reply.topic if reply else None, reply.correlation if reply else None,
        ),
    )  # fmt: skip


def _follow(db: sqlite3.Connection, command: Command) -> None:
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


def _queued(row: sqlite3.Row) -> Queued:
    try:
        body = json.loads(row["body"])
        alarm = Alarm(**body["alarm"]) if body["alarm"] else None
        reference, warnings = body["reference"], tuple(body["warnings"])
    except (ValueError, LookupError, TypeError) as error:
        raise StoreError(f"the store: command {row['id']} cannot be read ({type(error).__name__}); drop it") from None
    command = Command(
        transmitter=row["transmitter"],
        request=Request(row["request"]),
        accepted_at=_time(row["accepted_at"]),
        alarm=alarm,
        identity=_identity(row),
        reference=reference,
        warnings=warnings,
        reply=_reply(row),
    )
    return Queued(
        id=row["id"],
        command=command,
        state=row["state"],
        attempts=row["attempts"],
        unauthorized=bool(row["unauthorized"]),
        undelivered=bool(row["undelivered"]),
        error=row["error"],
    )


def _owed(row: sqlite3.Row) -> Owed:
    return Owed(row["id"], row["transmitter"], Request(row["request"]), row["result"], _reply(row))


def _reply(row: sqlite3.Row) -> Reply | None:
    return Reply(row["reply_topic"], row["correlation"]) if row["reply_topic"] else None


def _identity(row: sqlite3.Row) -> AlarmIdentity:
    return AlarmIdentity(row["event_code"], row["area"], row["section"], row["detector"])


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds).astimezone()
