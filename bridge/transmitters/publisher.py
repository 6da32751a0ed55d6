"""From the outbox and the lines to MQTT: states when they change, each result once, the events."""

from __future__ import annotations

import asyncio
import json
import logging
import time

from bridge.common.errors import StoreError
from bridge.common.models import Outcome, Reply, Request, Result
from bridge.common.text import timestamp
from bridge.mqtt.session import Door
from bridge.store.outbox import Outbox
from bridge.store.records import Counts, Owed, Queued
from bridge.transmitters.topics import Topics, active_payload, alarm_state

log = logging.getLogger(__name__)

_GATHER_S = 0.5
"""Results that MQTT has are marked together after this time: a flash card is spared a write for each."""
_RETRY_S = 5.0
_AFTER_STORED_S = 0.03
_HEARTBEAT_TOLD_S = 600.0


class Publisher:
    """Keeps the topics of all transmitters as the outbox is; told of changes by `changed`."""

    def __init__(self, topics: Topics, outbox: Outbox) -> None:
        self._topics = topics
        self._outbox = outbox
        self._door: Door | None = None
        self._changed: set[str] = set(topics.transmitters)
        self._work = asyncio.Event()
        self._work.set()
        self._last_handed = 0
        self._owed = 0
        self._telling: set[int] = set()
        self._heartbeats: dict[str, tuple[Outcome, float]] = {}
        self._down: set[str] = set()
        self._published: list[Owed] = []

    def attach(self, door: Door) -> None:
        """Publish through `door`, which needs its handler first, which needs us."""
        self._door = door

    @property
    def door(self) -> Door:
        if self._door is None:
            raise RuntimeError("the publisher has no door yet")
        return self._door

    # Told by the transmitters and the intake

    def changed(self, transmitter: str) -> None:
        self._changed.add(transmitter)
        self._work.set()

    def changed_soon(self, transmitter: str) -> None:
        """Like `changed`, for what was stored just now: sending it goes before telling of it."""
        self._changed.add(transmitter)
        asyncio.get_running_loop().call_later(_AFTER_STORED_S, self._work.set)

    def link(self, transmitter: str, up: bool) -> None:  # noqa: FBT001 - a state, told by one caller
        self.door.state(self._topics.of(transmitter, "link"), "ON" if up else "OFF")
        if up:
            self._down.discard(transmitter)
        else:
            self._down.add(transmitter)
        self.changed(transmitter)

    def heartbeat(self, transmitter: str, result: Result) -> None:
        """Publish how a heartbeat ended, like a ping's result: when that changes, else every ten minutes at most."""
        now = time.monotonic()
        outcome, told_at = self._heartbeats.get(transmitter, (None, 0.0))
        if outcome != result.outcome or now - told_at >= _HEARTBEAT_TOLD_S:
            self._heartbeats[transmitter] = result.outcome, now
            topic = self._topics.response(transmitter, Request.PING)
            self.door.state(topic, json.dumps(result.as_json()))

    def event(self, kind: str, **details: object) -> None:
        self.door.publish(self._topics.bridge_event, json.dumps({"type": kind, **details}))

    def answer(self, reply: Reply, payload: str) -> None:
        """Answer to a command that belongs to no transmitter."""
        self.door.publish_reply(reply, payload)

    # The work

    async def restore(self) -> None:
        """Declare what was published last before this start: a broker that lost its store gets it again."""
        kinds = ((Request.ALARM, Request.RESTORE), (Request.PING,), (Request.AUTH,))
        for name in self._topics.transmitters:
            for requests in kinds:
                payload = await self._outbox.last_result(name, requests)
                if payload is not None:
                    self.door.state(self._topics.response(name, requests[0]), payload)
            await self._refresh(name)

    async def run(self) -> None:
        """Publish what changes until cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            try:
                await self._round()
            except StoreError as error:
                log.error("%s", error)
                await asyncio.sleep(_RETRY_S)
                self._work.set()

    async def _round(self) -> None:
        names, self._changed = self._changed, set()
        try:
            await self._hand_results()
            for name in names:
                await self._refresh(name)
            await self._tell_undelivered()
        except StoreError:
            self._changed |= names
            raise

    async def _refresh(self, name: str) -> None:
        active = await self._outbox.active(name)
        counts = await self._outbox.counts(name)
        self.door.state(self._topics.of(name, "alarm/active"), json.dumps(active_payload(active)))
        self.door.state(self._topics.of(name, "outbox"), json.dumps(_counts_payload(counts)))
        problem = name in self._down or counts.rejected or counts.unauthorized
        self.door.state(self._topics.of(name, "problem"), "ON" if problem else "OFF")
        for key, named in self._topics.transmitters[name].items():
            self.door.state(self._topics.of(name, f"alarm/{key}/state"), alarm_state(named, active))

    async def _hand_results(self) -> None:
        if self._owed:
            return
        portion = await self._outbox.owed_results(self._last_handed)
        for result in portion:
            self._last_handed = result.id
            if result.transmitter not in self._topics.transmitters:
                self._published.append(result)
                continue
            self._owed += 1

            async def done(result: Owed = result) -> None:
                self._published.append(result)
                self._owed -= 1
                if not self._owed:
                    self._work.set()

            if result.request in (Request.ALARM, Request.RESTORE):
                found = json.loads(result.payload)
                self._alarm_event(result.transmitter, found["outcome"], found)
            topic = self._topics.response(result.transmitter, result.request)
            self.door.publish(topic, result.payload, retain=True, reply=result.reply, done=done)
        if portion and not self._owed:  # all of transmitters that are configured no more: the next portion is due
            self._work.set()

    async def _tell_undelivered(self) -> None:
        owed = await self._outbox.owed_undelivered(self._topics.transmitters)
        self._telling &= {queued.id for queued in owed}  # what is noted as told is owed no more
        for queued in owed:
            if queued.id in self._telling:
                continue
            self._telling.add(queued.id)

            async def done(queued: Queued = queued) -> None:
                try:
                    await self._outbox.told_undelivered(queued)
                except StoreError as error:
                    log.error("%s", error)
                if queued is owed[-1]:
                    self._work.set()  # for the next portion

            name, found = queued.command.transmitter, _undelivered_payload(queued)
            self._alarm_event(name, "undelivered", found)
            self.door.publish(self._topics.of(name, "undelivered"), json.dumps(found), done=done)

    def _alarm_event(self, transmitter: str, kind: str, found: dict[str, object]) -> None:
        self.door.publish(self._topics.of(transmitter, "event"), json.dumps({"type": kind, **found}))

    async def mark(self) -> None:
        """Note on disk which results MQTT has, now and then, until cancelled."""
        while True:
            await asyncio.sleep(_GATHER_S)
            await self.flush()

    async def flush(self) -> None:
        """Note on disk which results MQTT has."""
        published = list(self._published)
        if not published:
            return
        try:
            await self._outbox.published(published)
        except StoreError as error:
            log.error("%s", error)
            return
        del self._published[: len(published)]


def _counts_payload(counts: Counts) -> dict[str, object]:
    oldest = timestamp(counts.oldest_at) if counts.oldest_at else None
    return {
        "pending": counts.pending,
        "oldest_at": oldest,
        "rejected": counts.rejected,
        "unauthorized": counts.unauthorized,
    }


def _undelivered_payload(queued: Queued) -> dict[str, object]:
    command = queued.command
    alarm = command.alarm.given() if command.alarm else {}
    return {
        "request": command.request,
        **alarm,
        "accepted_at": timestamp(command.accepted_at),
        "attempts": queued.attempts,
        "error": queued.error,
    }
