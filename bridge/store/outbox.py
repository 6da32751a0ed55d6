"""The queue of commands: on disk before they are acknowledged, until they end (TOPICS.md, Commands).

A command is a row of `command` until it ends. The transaction that removes it adds its result to `history`, unpublished
until the broker has it. So at any power cut a command is pending, or its result is. Sending leaves no mark on disk:
after a crash the row is still pending.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from bridge.common.clock import Cutoff
from bridge.common.models import ActiveAlarm, Command, Moment, Outcome, Request, Result
from bridge.store.database import Store
from bridge.store.records import (
    CommandEntry,
    Counts,
    Delivery,
    Entry,
    InvalidEntry,
    PendingResult,
    Queued,
    insert_command,
    insert_result,
    is_known,
    read_active,
    read_panel,
    read_pending_result,
    read_queued,
    read_time,
    seen_before,
    update_active,
)

Touched = Mapping[str, Queued | None]
"""The transmitters with something new, each with the first of its new commands."""

_SAME_ALARM = """
    e.event_code = c.event_code
    AND (c.area || c.section || c.detector = '' OR e.area || e.section || e.detector = ''
         OR (e.area = c.area AND e.section = c.section AND e.detector = c.detector))
"""
# A restore never overtakes its alarm, nor a new alarm the restore before it (sos_access/PROTOCOL.md, Order of alarms).
# The order of the index avoids a sort, which would compare all pending commands with each other.
_NEXT_ALARM = f"""
    SELECT * FROM command c WHERE transmitter = :transmitter AND state = 'pending' AND request NOT IN ('ping', 'auth')
    AND id NOT IN (SELECT value FROM json_each(:later))
    AND NOT EXISTS (
        SELECT 1 FROM command e WHERE e.transmitter = c.transmitter AND e.state = 'pending' AND e.id < c.id
        AND e.id NOT IN (SELECT value FROM json_each(:ended))
        AND e.request <> c.request AND e.request IN ('alarm', 'restore') AND {_SAME_ALARM})
    ORDER BY id LIMIT 1
"""  # noqa: S608 - built from constants
_NEXT_OTHER = """
    SELECT * FROM command WHERE transmitter = :transmitter AND state = 'pending' AND request IN ('ping', 'auth')
    AND id NOT IN (SELECT value FROM json_each(:later))
    ORDER BY id LIMIT 1
"""
_HELD = (
    "UPDATE command SET undelivered = 1, error = ? WHERE transmitter = ? AND state = 'pending' AND undelivered = 0"
    " AND request IN ('alarm', 'restore')"
)
_OWED_UNDELIVERED = """
    SELECT * FROM command WHERE undelivered = 1 AND transmitter IN (SELECT value FROM json_each(?))
    ORDER BY id LIMIT 1000
"""
_ALARMS = (Request.ALARM, Request.RESTORE)


class Wakes:
    """Who waits for something to be stored: each transmitter, and who follows them all."""

    def __init__(self) -> None:
        self.any = asyncio.Event()
        """Set while `take` has names to return."""
        self._events: dict[str, asyncio.Event] = {}
        self._names: set[str] = set()

    def of(self, transmitter: str) -> asyncio.Event:
        """Return the event that is set whenever something is stored for a transmitter; its one user clears it."""
        return self._events.setdefault(transmitter, asyncio.Event())

    def wake(self, transmitters: Iterable[str]) -> None:
        """Wake those of `transmitters`: something is stored for them, or may be."""
        for name in transmitters:
            self._names.add(name)
            self.of(name).set()
            self.any.set()

    def wake_all(self) -> None:
        """Wake all who have ever waited: anything may have changed."""
        self.wake(list(self._events))

    def take(self) -> set[str]:
        """Return the transmitters that were woken since this was last called."""
        self.any.clear()
        names, self._names = self._names, set()
        return names


class Outbox:
    """The queue of every transmitter, over one Store. Every method may raise StoreError."""

    def __init__(self, store: Store, max_commands: int = 100_000, history: timedelta = timedelta(days=30)) -> None:
        self._store = store
        self._max_commands = max_commands
        self._history = history
        self.wakes = Wakes()

    async def add(self, entries: Sequence[Entry], confirmed: Collection[Delivery] = ()) -> Touched:
        """Store `entries` in one transaction and return what is new; redeliveries add nothing.

        A command that finds the outbox full ends `invalid`. `confirmed` are deliveries whose acknowledgement the broker
        has; it does not repeat them, so they are forgotten.
        """
        return await self._write_entries(entries, lambda db: self._add(db, entries, confirmed))

    async def _write_entries(self, entries: Iterable[Entry], work: Callable[[sqlite3.Connection], Touched]) -> Touched:
        """Store `entries` by `work`, and wake their transmitters."""
        try:
            touched = await self._store.write(work)
        except asyncio.CancelledError:
            # It may be written all the same: then nothing newer goes before it.
            self.wakes.wake(entry.transmitter for entry in entries)
            raise
        self.wakes.wake(touched)
        return touched

    def _add(self, db: sqlite3.Connection, entries: Sequence[Entry], confirmed: Collection[Delivery]) -> Touched:
        db.executemany("DELETE FROM seen WHERE mid = ? AND digest = ?", [(d.mid, d.digest) for d in confirmed])
        room = self._max_commands - db.execute("SELECT count(*) FROM command").fetchone()[0]
        touched: dict[str, Queued | None] = {}
        for entry in entries:
            if entry.delivery and seen_before(db, entry.delivery):
                continue
            touched.setdefault(entry.transmitter, None)
            if isinstance(entry, InvalidEntry):
                insert_result(db, entry.transmitter, None, entry.result, entry.reply)
            elif room > 0:
                room -= 1
                queued = insert_command(db, entry.command)
                touched[entry.transmitter] = touched[entry.transmitter] or queued
            else:
                insert_result(db, entry.transmitter, None, self._full(entry.command), entry.reply)
        return touched

    def _full(self, command: Command) -> Result:
        return Result(
            request=command.request,
            outcome=Outcome.INVALID,
            reference=command.reference,
            event_code=command.alarm.event_code if command.alarm else None,
            accepted_at=command.accepted_at,
            completed_at=command.accepted_at,
            error=f"the outbox is full ({self._max_commands} commands); retry later, or raise store.max_commands",
        )

    async def next(
        self, transmitter: str, later: Collection[int] = (), *, ended: Collection[int] = (), alarms: bool = True
    ) -> Queued | None:
        """Return the command to send now: alarms in order, then pings and rotations.

        `later` are ids to skip. `ended` are skipped as well and hold nothing back: only their result is not stored yet.
        """
        values = {
            "transmitter": transmitter,
            "later": json.dumps([*later, *ended]),
            "ended": json.dumps(list(ended)),
        }

        def work(db: sqlite3.Connection) -> Queued | None:
            for sql in (_NEXT_ALARM, _NEXT_OTHER) if alarms else (_NEXT_OTHER,):
                row = db.execute(sql, values).fetchone()
                if row is not None:
                    return read_queued(row)
            return None

        return await self._store.read(work)

    async def _queued(self, sql: str, values: Mapping[str, Any] | Sequence[Any] = ()) -> list[Queued]:
        return await self._store.read(lambda db: [read_queued(row) for row in db.execute(sql, values)])

    async def older_than(self, transmitter: str, cutoff: Cutoff) -> list[Queued]:
        """Return the pending alarms that are certainly older than `cutoff`, oldest first, at most 1000."""
        sql = (
            "SELECT * FROM command WHERE transmitter = :transmitter AND state = 'pending'"
            " AND request IN ('alarm', 'restore') AND CASE WHEN boot = :boot THEN steady < :steady"
            " ELSE :steady > 0 OR (sure AND accepted_at < :wall) END ORDER BY id LIMIT 1000"
        )
        return await self._queued(sql, {"transmitter": transmitter, **asdict(cutoff)})

    async def first(self, transmitter: str) -> Queued | None:
        """Return the oldest pending alarm."""
        sql = (
            "SELECT * FROM command WHERE transmitter = ? AND state = 'pending' AND request IN ('alarm', 'restore')"
            " ORDER BY id LIMIT 1"
        )
        found = await self._queued(sql, (transmitter,))
        return found[0] if found else None

    async def failed(
        self, queued: Queued, *, attempts: int, error: str, unauthorized: Result | None = None, held: bool = False
    ) -> None:
        """Keep a command for another round, with the error; its `undelivered` event is pending from now on.

        `unauthorized` is a result to publish once, while the command stays pending. With `held`, the alarms behind it
        wait as well, so they are undelivered, too.
        """

        def work(db: sqlite3.Connection) -> None:
            # unauthorized: 1 while the password is refused, 2 if it was refused before this other failure
            refused = unauthorized is not None
            before = db.execute("SELECT unauthorized FROM command WHERE id = ?", (queued.id,)).fetchone()
            db.execute(
                "UPDATE command SET attempts = attempts + ?, error = ?, undelivered = max(undelivered, 1),"
                " unauthorized = CASE WHEN ? THEN 1 WHEN unauthorized THEN 2 ELSE 0 END WHERE id = ?",
                (attempts, error, refused, queued.id),
            )
            if held:
                db.execute(_HELD, (error, queued.command.transmitter))
            if unauthorized and before and not before["unauthorized"]:
                insert_result(db, queued.command.transmitter, queued.id, unauthorized, queued.command.reply)

        await self._store.write(work)

    async def complete(self, queued: Queued, result: Result) -> None:
        """End a command: store its result, keep a rejected alarm as `rejected`, update the active alarms."""

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
                update_active(db, command)
            insert_result(db, command.transmitter, queued.id, result, command.reply)

        await self._store.write(work)

    async def counts(self, transmitter: str) -> Counts:
        sql = (
            "SELECT state, count(*) AS n, min(accepted_at) AS oldest, sum(unauthorized = 1) AS unauthorized"
            " FROM command WHERE transmitter = ? AND request IN ('alarm', 'restore') GROUP BY state"
        )
        rows = await self._store.read(lambda db: db.execute(sql, (transmitter,)).fetchall())
        by_state = {row["state"]: row for row in rows}
        pending, rejected = by_state.get("pending"), by_state.get("rejected")
        return Counts(
            pending=pending["n"] if pending else 0,
            oldest_at=read_time(pending["oldest"]) if pending else None,
            rejected=rejected["n"] if rejected else 0,
            unauthorized=pending["unauthorized"] if pending else 0,
        )

    async def active(self, transmitter: str) -> list[ActiveAlarm]:
        """Return the active alarms, oldest first."""
        sql = "SELECT * FROM active WHERE transmitter = ? ORDER BY since, event_code, section, detector, area"
        return await self._store.read(lambda db: [read_active(row) for row in db.execute(sql, (transmitter,))])

    async def owed_results(self, after: int = 0) -> list[PendingResult]:
        """Return the unpublished results with ids above `after`, in order, at most 500."""
        sql = "SELECT * FROM history WHERE published = 0 AND id > ? ORDER BY id LIMIT 500"
        return await self._store.read(lambda db: [read_pending_result(row) for row in db.execute(sql, (after,))])

    async def published(self, results: Sequence[PendingResult]) -> None:
        values = [(result.id,) for result in results]
        await self._store.write(lambda db: db.executemany("UPDATE history SET published = 1 WHERE id = ?", values))

    async def last_result(self, transmitter: str, requests: Collection[Request]) -> str | None:
        """Return the payload of the last published result of these requests."""
        sql = (
            "SELECT result FROM history WHERE transmitter = ? AND published"
            " AND request IN (SELECT value FROM json_each(?)) ORDER BY id DESC LIMIT 1"
        )
        values = (transmitter, json.dumps(list(requests)))
        row = await self._store.read(lambda db: db.execute(sql, values).fetchone())
        return str(row["result"]) if row else None

    async def owed_undelivered(self, transmitters: Iterable[str]) -> list[Queued]:
        """Return commands whose `undelivered` event is not published, oldest first, at most 1000."""
        return await self._queued(_OWED_UNDELIVERED, [json.dumps(list(transmitters))])

    async def told_undelivered(self, queued: Queued) -> None:
        await self._store.write(lambda db: db.execute("UPDATE command SET undelivered = 2 WHERE id = ?", (queued.id,)))

    async def known(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Return those of `deliveries` that are stored already."""
        return await self._store.read(lambda db: [each for each in deliveries if is_known(db, each)])

    async def forget_deliveries(self) -> None:
        """Forget all deliveries: a new session of the broker repeats none."""
        await self._store.write(lambda db: db.execute("DELETE FROM seen"))

    async def prune(self, now: datetime) -> None:
        """Delete published results past the history's age or number."""
        before, bound = (now - self._history).timestamp(), self._max_commands

        def work(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM history WHERE published AND completed_at < ?", (before,))
            db.execute("DELETE FROM forwarded WHERE at < ?", (before,))
            db.execute("DELETE FROM history WHERE published AND id <= (SELECT max(id) FROM history) - ?", (bound,))

        await self._store.write(work)

    async def list(self, transmitter: str | None = None) -> list[Queued]:
        """Return all pending and rejected commands, in order."""
        sql = "SELECT * FROM command WHERE ? IS NULL OR transmitter = ? ORDER BY id"
        return await self._queued(sql, (transmitter, transmitter))

    async def get(self, number: int) -> Queued | None:
        found = await self._queued("SELECT * FROM command WHERE id = ?", (number,))
        return found[0] if found else None

    async def retry(self, number: int, now: datetime, moment: Moment) -> bool:
        """Make a rejected command pending, as if accepted `now`; return False if there is none."""
        sql = (
            "UPDATE command SET state = 'pending', accepted_at = ?, boot = ?, steady = ?, sure = ?,"
            " undelivered = 0, unauthorized = 0, error = '' WHERE id = ? AND state = 'rejected'"
        )
        values = (now.timestamp(), moment.boot, moment.steady, moment.sure, number)
        return bool(await self._store.write(lambda db: db.execute(sql, values).rowcount))

    async def drop(self, number: int) -> bool:
        """Delete a command; return False if there is none."""
        return bool(
            await self._store.write(lambda db: db.execute("DELETE FROM command WHERE id = ?", (number,)).rowcount)
        )

    async def keep_panel(self, guid: str, content: Mapping[str, Any], entries: Mapping[str, CommandEntry]) -> Touched:
        """Store a panel's content and the commands that its events raise, in one transaction; `entries` by key.

        A key that is stored already adds nothing: one physical event is one alarm. Returns as `add`.
        """

        def work(db: sqlite3.Connection) -> Touched:
            db.execute("INSERT OR REPLACE INTO panel (guid, content) VALUES (?, ?)", (guid, json.dumps(content)))
            new: list[Entry] = []
            for key, entry in entries.items():
                values = (key, entry.command.accepted_at.timestamp())
                if db.execute("INSERT OR IGNORE INTO forwarded (key, at) VALUES (?, ?)", values).rowcount:
                    new.append(entry)
            return self._add(db, new, ())

        return await self._write_entries(entries.values(), work)

    async def panels(self) -> dict[str, Any]:
        """Return the stored content of each panel, by GUID."""
        sql = "SELECT guid, content FROM panel"
        return await self._store.read(lambda db: {row["guid"]: read_panel(row) for row in db.execute(sql)})

    async def change_mark(self) -> int:
        """Return a number that changes when another program writes to the store."""
        return int(await self._store.read(lambda db: db.execute("PRAGMA data_version").fetchone()[0]))
