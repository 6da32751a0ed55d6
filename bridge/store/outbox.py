"""The queue of commands: on disk before they are acknowledged, until they end (TOPICS.md, Commands).

A command is a row of `command` until it ends. The transaction that removes it adds its result to `history`, unpublished
until the broker has it. So at any power cut a command is pending, or its result is. Sending leaves no mark on disk:
after a crash the row is still pending.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol, TypeVar

from bridge.common.errors import DamagedError, StoreError
from bridge.common.models import Command, Moment, Outcome, Request, Result
from bridge.store.arrivals import Arrivals, Wakes
from bridge.store.database import Db, Store
from bridge.store.deliveries import Accepted, Deliveries, Delivery
from bridge.store.reader import OutboxReader
from bridge.store.records import (
    CommandEntry,
    Entry,
    InvalidEntry,
    PendingResult,
    Queued,
    State,
    count_pending,
    forget_repeatable,
    insert_command,
    insert_result,
    is_repeated,
    read_deliveries,
    read_queued,
    update_active,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

_SPAN = "SELECT (SELECT max(id) FROM command) - (SELECT min(id) FROM command) + 1 AS n"
"""No fewer than there are commands; to count them takes milliseconds where thousands wait."""
_KEEP_PANEL = (
    "INSERT INTO panel (guid, content) VALUES (?, ?) ON CONFLICT (guid) DO UPDATE SET content = excluded.content"
)
_REJECT = (
    "UPDATE command SET state = 'rejected', attempts = ?, error = ?, mid = NULL,"
    " undelivered = CASE WHEN undelivered = 0 THEN 1 ELSE undelivered END"
    " WHERE id = ? AND state = 'pending' RETURNING token"
)
_ALARMS = (Request.ALARM, Request.RESTORE)


class Elsewhere(Protocol):
    """The transmitters that another owner sends for."""

    def __contains__(self, transmitter: object, /) -> bool: ...

    def put(self, db: Db, command: Command) -> None:
        """Leave a command to its owner, within the transaction."""


@dataclass(frozen=True, slots=True)
class _Given:
    """What is to be stored."""

    entry: Entry
    key: Delivery | str | None
    """The message, or the key of a panel's event."""
    token: bytes = field(default_factory=partial(secrets.token_bytes, 16))


@dataclass(frozen=True, slots=True)
class _Added:
    transmitters: set[str] = field(default_factory=set)
    queued: list[Queued] = field(default_factory=list)
    rows: dict[Delivery | str, Accepted] = field(default_factory=dict)
    """By `_Given.key`."""

    def add(self, given: _Given, row: Accepted) -> None:
        self.transmitters.add(given.entry.transmitter)
        if given.key is not None:
            self.rows[given.key] = row


class Outbox(OutboxReader):
    """The queue of every transmitter, over one Store. Every method may raise StoreError."""

    def __init__(
        self,
        store: Store,
        max_commands: int = 100_000,
        history: timedelta = timedelta(days=30),
        elsewhere: Elsewhere | None = None,
    ) -> None:
        super().__init__(store)
        self._elsewhere: Elsewhere | tuple[()] = elsewhere or ()
        self._max_commands = max_commands
        self._history = history
        self.wakes = Wakes()
        self.deliveries = Deliveries()
        self._arrivals = Arrivals()
        store.on_failure.append(self._failure_changed)

    @property
    def failure(self) -> StoreError | None:
        """Why the store cannot be written now; None if it can. Meanwhile everything is kept in memory."""
        return self._store.failure

    def _failure_changed(self, failure: StoreError | None) -> None:
        if failure is None:
            self.deliveries.saved()

    async def add(self, entries: Sequence[Entry], claim: Callable[[Db], bool] = lambda _: True) -> set[str]:
        """Store `entries` in one transaction and return the transmitters with something new.

        A command that finds the outbox full ends `invalid`; the same as one before, by its caller's word, `duplicate`.
        Nothing is stored where `claim`, which is part of the transaction, returns False.
        """
        given = [_Given(entry, entry.delivery) for entry in entries]
        return await self._accept(given, lambda db: self._add(db, given) if claim(db) else _Added())

    async def _accept(self, given: Sequence[_Given], work: Callable[[Db], _Added]) -> set[str]:
        """Store what is given by `work`. What was begun is finished, also if the caller is cancelled."""
        task = asyncio.create_task(self._finish(given, work), name="outbox: accept commands")
        self.deliveries.accepting.add(task)
        task.add_done_callback(self._accepted)
        return await asyncio.shield(task)

    def _accepted(self, task: asyncio.Task[set[str]]) -> None:
        self.deliveries.accepting.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:  # its caller may have been cancelled
            log.debug("commands were not accepted: %s", error)

    async def _finish(self, given: Sequence[_Given], work: Callable[[Db], _Added]) -> set[str]:
        added = await self._store.write_surely(work, lambda db: _stored(db, given) or work(db))
        self.deliveries.add(added.rows, saved=self.failure is None)
        for queued in added.queued:
            self._arrivals.add(queued)
        self.wakes.wake(added.transmitters)
        return added.transmitters

    def _add(self, db: Db, all_given: Sequence[_Given]) -> _Added:
        mids = [(given.entry.delivery.mid,) for given in all_given if given.entry.delivery]
        db.executemany("UPDATE command SET mid = NULL WHERE mid = ?", mids)  # the broker has used these ids again
        pending = db.execute(_SPAN).fetchone()["n"] or 0
        if pending + len(all_given) > self._max_commands:
            pending = count_pending(db)
        added = _Added()
        for given in all_given:
            if self._elsewhere and isinstance(given.entry, CommandEntry) and given.entry.transmitter in self._elsewhere:
                self._elsewhere.put(db, given.entry.command)
                continue
            entry = self._admitted(db, given.entry, pending + len(added.queued))
            if isinstance(entry, InvalidEntry):
                number = insert_result(db, entry.transmitter, None, entry.result, entry.reply, given.token)
                added.add(given, Accepted(number, ended=True))
            else:
                added.queued.append(insert_command(db, entry.command, entry.delivery, given.token))
                added.add(given, Accepted(added.queued[-1].id))
        return added

    def _admitted(self, db: Db, entry: Entry, pending: int) -> Entry:
        """Return `entry`, or in place of a command that is not queued its result."""
        if isinstance(entry, InvalidEntry):
            return entry
        command, outcome = entry.command, Outcome.INVALID
        if pending >= self._max_commands:
            error = f"the outbox is full ({self._max_commands} commands); retry later, or raise store.max_commands"
        elif entry.repeatable and is_repeated(db, command):
            outcome = Outcome.DUPLICATE
            error = "not sent again: the same alarm with this reference and transmitter_time was accepted before"
        else:
            return entry
        result = command.ended(outcome, command.accepted_at, error=error)
        return InvalidEntry(entry.transmitter, result, entry.reply, entry.delivery)

    async def pending(self, transmitter: str) -> list[Queued]:
        """Return everything that waits, in order of acceptance; from then on `take` returns what is new."""
        found = await self._queued(
            "SELECT * FROM command WHERE transmitter = ? AND state = 'pending' ORDER BY id", (transmitter,)
        )
        self._arrivals.begin(transmitter, found)
        return found

    def news(self, transmitter: str) -> asyncio.Event:
        """Return what is set whenever `take` or `dropped` may return something; its one user clears it."""
        return self.wakes.of(transmitter)

    def take(self, transmitter: str) -> list[Queued]:
        """Return what was accepted, or put back by a person, since `pending` or the last call."""
        return self._arrivals.take(transmitter)

    def dropped(self, transmitter: str) -> set[int]:
        """Return the numbers that a person took out since the last call. Their results are stored."""
        return self._arrivals.dropped(transmitter)

    async def follow_others(self) -> None:
        """Take note of what another program changed, such as `sosbridge outbox drop`."""
        pending = await self._store.read(_pending_numbers)
        found: set[int] = set()
        for name in self._arrivals.transmitters:  # nothing is awaited: what is accepted meanwhile is not in `pending`
            gone, unknown = self._arrivals.compare(name, pending.get(name, set()))
            self.deliveries.ended(gone)
            found |= unknown
        for number in sorted(found):
            queued = await self.get(number)
            if queued is not None and queued.state is State.PENDING:
                self._arrivals.add(queued)
        self.wakes.wake_all()

    async def failed(self, queued: Queued, *, attempts: int, error: str, unauthorized: Result | None = None) -> None:
        """Keep a command for another round, with the error; its `undelivered` event is pending from now on.

        `attempts` are all since it was accepted. `unauthorized` is a result to publish once, while the command stays
        pending.
        """

        def work(db: Db) -> None:
            # unauthorized: 1 while the password is refused, 2 if it was refused before this other failure
            refused = unauthorized is not None
            before = db.execute("SELECT unauthorized FROM command WHERE id = ?", (queued.id,)).fetchone()
            db.execute(
                "UPDATE command SET attempts = ?, error = ?,"
                " undelivered = CASE WHEN undelivered = 0 THEN 1 ELSE undelivered END,"
                " unauthorized = CASE WHEN ? = 1 THEN 1 WHEN unauthorized > 0 THEN 2 ELSE 0 END WHERE id = ?",
                (attempts, error, int(refused), queued.id),
            )
            if unauthorized and before and not before["unauthorized"]:
                insert_result(db, queued.command.transmitter, queued.id, unauthorized, queued.command.reply)

        await self._store.write(work)

    async def undelivered(self, queued: Queued) -> None:
        """Let the `undelivered` event of a command be published, once."""
        sql = "UPDATE command SET undelivered = 1 WHERE id = ? AND undelivered = 0"
        await self._store.write(lambda db: db.execute(sql, (queued.id,)))

    async def complete(self, queued: Queued, result: Result) -> None:
        """End a command: store its result, keep a rejected alarm as `rejected`, update the active alarms."""

        def work(db: Db) -> None:
            command = queued.command
            if result.outcome is Outcome.REJECTED and command.request in _ALARMS:
                ended = db.execute(_REJECT, (result.attempts or 0, result.error or "", queued.id)).fetchone()
            else:
                ended = db.execute("DELETE FROM command WHERE id = ? RETURNING token", (queued.id,)).fetchone()
            if result.outcome in (Outcome.ACCEPTED, Outcome.DUPLICATE):
                update_active(db, command)
            else:
                forget_repeatable(db, command)
            if ended is not None:  # else it has its result: `outbox drop`, or this very call, when in doubt
                insert_result(db, command.transmitter, queued.id, result, command.reply, ended["token"])

        self.deliveries.ended({queued.id})  # also if the store fails: a new alarm may look like this one from here on
        await self._store.write(work)
        self._arrivals.end(queued)

    async def keep_fact(self, name: str, value: str) -> None:
        """Store what a later start has to know."""
        sql = "INSERT INTO fact (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        await self._store.write(lambda db: db.execute(sql, (name, value)))

    async def published(self, results: Sequence[PendingResult], undelivered: Sequence[Queued] = ()) -> None:
        """Note that the broker has these results, and the `undelivered` events of these commands."""

        def work(db: Db) -> None:
            db.executemany("UPDATE history SET published = 1 WHERE id = ?", [(result.id,) for result in results])
            db.executemany("UPDATE command SET undelivered = 2 WHERE id = ?", [(queued.id,) for queued in undelivered])

        rows = {Accepted(result.id, ended=True) for result in results}
        self.deliveries.published(rows | {Accepted(result.command_id) for result in results if result.command_id})
        await self._store.write(work)

    async def load_deliveries(self) -> None:
        """Read which messages the broker may deliver again; call it before the first connection."""
        self.deliveries.load(await self._store.read(read_deliveries))

    async def forget_confirmed(self) -> None:
        """Let the store forget the messages whose acknowledgement the broker has for certain."""
        if values := [(number,) for number in self.deliveries.confirmed()]:
            await self._store.write(lambda db: db.executemany("UPDATE command SET mid = NULL WHERE id = ?", values))

    async def prune(self, now: datetime) -> None:
        """Delete published results beyond the history's age or number, and the oldest rejected alarms."""
        before, bound = (now - self._history).timestamp(), self._max_commands

        def work(db: Db) -> None:
            db.execute("DELETE FROM history WHERE published = 1 AND completed_at < ?", (before,))
            db.execute("DELETE FROM forwarded WHERE at < ?", (before,))
            db.execute("DELETE FROM history WHERE published = 1 AND id <= (SELECT max(id) FROM history) - ?", (bound,))
            db.execute(
                "DELETE FROM command WHERE state = 'rejected' AND id NOT IN"
                " (SELECT id FROM command WHERE state = 'rejected' ORDER BY id DESC LIMIT ?)",
                (bound,),
            )

        await self._store.write(work)

    async def retry(self, number: int, now: datetime, moment: Moment) -> bool:
        """Make a rejected command pending, as if accepted `now`; return False if there is none."""
        sql = (
            "UPDATE command SET state = 'pending', accepted_at = ?, boot = ?, steady = ?, sure = ?,"
            " undelivered = 0, unauthorized = 0, error = '' WHERE id = ? AND state = 'rejected'"
        )
        values = (now.timestamp(), moment.boot, moment.steady, int(moment.sure), number)
        return bool(await self._store.write(lambda db: db.execute(sql, values).rowcount))

    async def drop(self, number: int, now: datetime) -> bool:
        """Delete a command; return False if there is none. One that was pending ends as `rejected`."""

        def work(db: Db) -> bool:
            row = db.execute("SELECT * FROM command WHERE id = ?", (number,)).fetchone()
            if row is None:
                return False
            if row["state"] == State.PENDING:
                with suppress(DamagedError):  # what cannot be read can be dropped
                    _end_dropped(db, read_queued(row), row["token"], now)
            db.execute("DELETE FROM command WHERE id = ?", (number,))
            return True

        return await self._store.write(work)

    async def keep_panel(self, guid: str, content: Mapping[str, Any], entries: Mapping[str, CommandEntry]) -> set[str]:
        """Store a panel's content and its events' commands in one transaction; `entries` are by key.

        A key that is stored already adds nothing: one physical event is one alarm. Returns as `add`. Raises StoreError
        where a command is in memory only: it is sent, but the panel is to report the event again until that is safe.
        """

        def work(db: Db) -> _Added:
            db.execute(_KEEP_PANEL, (guid, json.dumps(content)))
            sql = "INSERT INTO forwarded (key, at) VALUES (?, ?) ON CONFLICT DO NOTHING"
            times = {key: entry.command.accepted_at.timestamp() for key, entry in entries.items()}
            new = {key for key, at in times.items() if db.execute(sql, (key, at)).rowcount}
            return self._add(db, [each for each in given if each.key in new])

        given = [_Given(entry, key) for key, entry in entries.items()]
        changed = await self._accept(given, work)
        if not self.deliveries.are_safe(entries):
            raise StoreError(f"{self.failure}; the alarms of panel {guid} are sent, but not stored yet")
        return changed


def _stored(db: Db, all_given: Sequence[_Given]) -> _Added | None:
    """Return what an earlier attempt has stored of `all_given`, which is all; None: nothing.

    It writes, so that its commit waits for what the commit before may not have waited for.
    """
    added = _Added()
    for given in all_given:
        row = db.execute("UPDATE command SET token = token WHERE token = ? RETURNING *", (given.token,)).fetchone()
        if row is not None:
            added.queued.append(read_queued(row))
            added.add(given, Accepted(row["id"]))
            continue
        row = db.execute("UPDATE history SET token = token WHERE token = ? RETURNING id", (given.token,)).fetchone()
        if row is not None:
            added.add(given, Accepted(row["id"], ended=True))
    return added if added.transmitters else None


def _pending_numbers(db: Db) -> dict[str, set[int]]:
    """Return the numbers of what is pending, by transmitter."""
    found: defaultdict[str, set[int]] = defaultdict(set)
    for row in db.execute("SELECT transmitter, id FROM command WHERE state = 'pending'"):
        found[row["transmitter"]].add(row["id"])
    return found


def _end_dropped(db: Db, queued: Queued, token: bytes | None, now: datetime) -> None:
    command = queued.command
    attempts, error = queued.attempts or None, "dropped with `sosbridge outbox drop`"
    result = command.ended(Outcome.REJECTED, now, attempts=attempts, warnings=command.warnings, error=error)
    insert_result(db, command.transmitter, queued.id, result, command.reply, token)
    forget_repeatable(db, command)
