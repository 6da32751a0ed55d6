"""From the outbox and the lines to MQTT: states when they change, each result once, the events."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from bridge.common.errors import StoreError
from bridge.common.lasting import LASTS, tolerated
from bridge.common.models import Outcome, Reply, Request, Result
from bridge.common.problems import About, Kind, Problem, Problems
from bridge.common.text import clean, counted, timestamp
from bridge.mqtt.outgoing import Outgoing
from bridge.record.recorder import Recorder
from bridge.store.outbox import Outbox
from bridge.store.records import Counts, LineStatus, PendingResult, Queued
from bridge.transmitters.reachability import Reachability
from bridge.transmitters.routes import Routes
from bridge.transmitters.supervision import Supervision
from bridge.transmitters.topics import Topics, active_payload, alarm_state

log = logging.getLogger(__name__)

_GATHER_S = 0.5
"""What MQTT has is noted on disk together after this time: a flash card is spared a write for each."""
_RETRY_S = 5.0
_AFTER_STORED_S = 0.03
"""What was stored just now is sent before the states that count it are read and published."""
_LINES_AT_ONCE = 50
"""Transmitters that are read at once: alarms wait for it."""
_HEARTBEAT_EACH_S = 600.0
_LAST_TESTS = 32
"""Enough for the last one of each route."""


class Publisher:
    """Keeps the topics of all transmitters as the outbox is."""

    def __init__(
        self, topics: Topics, outbox: Outbox, outgoing: Outgoing, problems: Problems, recorder: Recorder
    ) -> None:
        self._topics = topics
        self._outbox = outbox
        self._outgoing = outgoing
        self._recorder = recorder
        self._changed: set[str] = set(topics.transmitters)
        self._work = asyncio.Event()
        self._work.set()
        self._sent_results: set[int] = set()
        """The results that were handed over, until the store has them as published."""
        self._waiting_results = 0
        """Those in `_outgoing`."""
        self._results_due = False
        """Whether more may be owed once the broker has those."""
        self._sent_undelivered: set[int] = set()
        """Commands whose `undelivered` event is in `_outgoing`, or was, and is not noted on disk yet."""
        self._troubled: set[str] = set()
        """Transmitters with alarms that are not delivered in time, or rejected; no others owe such an event."""
        self._heartbeats: dict[str, tuple[Outcome, float]] = {}
        self._reachability = {name: Reachability(topics.reach(name)) for name in topics.transmitters}
        self._problems = problems
        problems.follow(self._problem_changed)
        self._unconfigured = False
        """Whether alarms wait for transmitters that are not configured; none are added while the bridge runs."""
        self._published: list[PendingResult | Queued] = []
        """Results that the broker has, and commands of which it has the `undelivered` event; not noted on disk yet."""
        self._unnoted = asyncio.Event()
        """Set while there is such a one."""

    # For the transmitters and the command handler

    def changed(self, transmitter: str) -> None:
        """Results, active alarms or the waiting ones have changed in the outbox."""
        self._changed.add(transmitter)
        self._work.set()

    def routes(self, transmitter: str, routes: Routes, supervision: Supervision) -> None:
        """Publish the state of receivers, paths and link, at the start and when a route's health changes.

        The first call declares the state before the start: it publishes no events.
        """
        now, wall = asyncio.get_running_loop().time(), datetime.now().astimezone()
        change = self._reachability[transmitter].update(routes, supervision, now, wall)
        for leaf, state in change.states.items():
            payload = state if isinstance(state, str) else json.dumps(state)
            self._outgoing.state(self._topics.of(transmitter, leaf), payload)
            if isinstance(state, str):
                self._recorder.note(transmitter, leaf.removesuffix("/state"), up=state == "ON")
        for event in change.events:
            self._outgoing.publish(self._topics.of(transmitter, "event"), json.dumps(event))
        for finding in change.findings:
            about = replace(finding.about, transmitter=transmitter)
            if finding.known:
                self._problems.set(finding.kind, finding.text, about, finding.since)
            else:
                self._problems.doubt(finding.kind, about)
        self._publish_problems(transmitter)

    def problem(
        self,
        transmitter: str,
        kind: Kind,
        text: str | None,
        *,
        receiver: str | None = None,
        since: datetime | None = None,
    ) -> None:
        """Raise a transmitter's problem with the `text` for people, or clear it with None."""
        self._problems.set(kind, text, About(transmitter, receiver), since)

    def _problem_changed(self, about: About, _: Problem | None, __: Problem | None) -> None:
        self._publish_problems(about.transmitter)

    def _publish_problems(self, transmitter: str | None) -> None:
        """Publish the problems of a transmitter, once its routes are known, or those of the bridge.

        OFF is published once everything was checked; until then the retained topic keeps what it holds.
        """
        topic = self._topics.bridge("problem")
        if transmitter is not None:
            topic = self._topics.of(transmitter, "problem")
            if not self._reachability[transmitter].is_known:
                return
        found = self._problems.published(transmitter)
        if found is not None:
            self._outgoing.state(topic, "ON" if found else "OFF")
            self._outgoing.state(f"{topic}/info", json.dumps([_listed(problem) for problem in found]))

    def heartbeat(self, transmitter: str, result: Result) -> None:
        """Publish a heartbeat's outcome like a ping's: when it changes, else every ten minutes at most."""
        now = time.monotonic()
        outcome, published_at = self._heartbeats.get(transmitter, (None, 0.0))
        if outcome != result.outcome or now - published_at >= _HEARTBEAT_EACH_S:
            self._heartbeats[transmitter] = result.outcome, now
            topic = self._topics.response(transmitter, Request.PING)
            self._outgoing.state(topic, json.dumps(result.as_json()))

    def emit(self, kind: str, **details: object) -> None:
        """Publish an event on `bridge/event`."""
        self._outgoing.publish(self._topics.bridge("event"), json.dumps({"type": kind, **details}))

    def answer(self, reply: Reply, payload: str) -> None:
        """Answer to a command that belongs to no transmitter."""
        self._outgoing.publish_reply(reply, payload)

    # The work

    async def restore(self) -> None:
        """Declare what was published last before this start: a broker that lost its store gets it again."""
        await self._look_for_unconfigured()
        self._publish_problems(None)
        names = iter(self._topics.transmitters)
        while some := list(itertools.islice(names, _LINES_AT_ONCE)):
            for name, known in (await self._outbox.last_known(some, _LAST_TESTS)).items():
                for request, payload in known.results.items():
                    self._outgoing.state(self._topics.response(name, request), payload)
                for fields in known.tests:
                    self._tested(name, fields)
                self._refresh(name, known.status)

    async def _look_for_unconfigured(self) -> None:
        """Raise or clear the problem of alarms whose transmitter is not configured any more."""
        found = await self._outbox.unconfigured(self._topics.transmitters)
        words = ", ".join(f"{count} for {clean(name)}" for name, count in found.items())
        text = f"alarms wait for transmitters that are not configured: {words}; see sosbridge outbox list"
        self._unconfigured = bool(found)
        self._problems.set(Kind.UNCONFIGURED_WAITING, text if found else None)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_outbox(), name="publisher: follow the outbox")
            tasks.create_task(self._note(), name="publisher: note what is published")
            while True:
                await self._work.wait()
                self._work.clear()
                try:
                    await self._round()
                except StoreError as error:
                    log.error("%s", error, extra=LASTS)
                    await asyncio.sleep(_RETRY_S)
                    self._work.set()

    async def _follow_outbox(self) -> None:
        while True:
            await self._outbox.wakes.any.wait()
            self._changed |= self._outbox.wakes.take() & self._topics.transmitters.keys()
            await asyncio.sleep(_AFTER_STORED_S)
            if self._changed:  # else what was stored has ended meanwhile, and that is published
                self._work.set()

    async def _round(self) -> None:
        names = set(itertools.islice(self._changed, _LINES_AT_ONCE))
        self._changed -= names
        but, self._results_due = (None, True) if self._waiting_results else (self._sent_results, False)
        try:
            results, lines = await self._outbox.to_publish(names, but)
            self._publish_results(results)
            for name, status in lines.items():
                self._refresh(name, status)
            if self._troubled:
                await self._publish_undelivered()
            if self._unconfigured:
                await self._look_for_unconfigured()
        except StoreError:
            self._changed |= names
            raise
        if self._changed:
            self._work.set()

    def _refresh(self, name: str, status: LineStatus) -> None:
        active, counts = status
        if counts.undelivered or counts.rejected:
            self._troubled.add(name)
        else:
            self._troubled.discard(name)
        states = {
            "alarm/active": json.dumps(active_payload(active)),
            "outbox": json.dumps(_counts_payload(counts)),
        }
        for key, named in self._topics.transmitters[name].items():
            states[f"alarm/{key}/state"] = alarm_state(named, active)
        for leaf, payload in states.items():
            self._outgoing.state(self._topics.of(name, leaf), payload)
        for kind, text in _queue_problems(counts).items():
            since = counts.oldest_at if kind is Kind.UNDELIVERED else None
            self._problems.set(kind, text, About(name), since)

    def _publish_results(self, portion: Sequence[PendingResult]) -> None:
        self._results_due |= len(portion) > 1  # a portion of one is all that there was
        for result in portion:
            self._sent_results.add(result.id)
            if result.transmitter not in self._topics.transmitters:
                self._note_later(result)
                continue
            self._waiting_results += 1
            if result.request in (Request.ALARM, Request.RESTORE):
                self._alarm_event(result.transmitter, result.fields["outcome"], result.fields)
            if result.request is Request.TEST:
                self._tested(result.transmitter, result.fields)
            topic = self._topics.response(result.transmitter, result.request)
            done = partial(self._result_published, result)
            self._outgoing.publish(topic, result.payload, retain=True, reply=result.reply, done=done)
        if portion and not self._waiting_results:  # all of transmitters not configured: the next portion is due
            self._work.set()

    def _tested(self, transmitter: str, fields: Mapping[str, Any]) -> None:
        """Raise the problem of a test alarm that failed, or clear it; by route where each has its own tests."""
        line, outcome = About(transmitter), fields.get("outcome")
        route = About(transmitter, fields.get("receiver"), fields.get("path"))
        if outcome in (Outcome.ACCEPTED, Outcome.DUPLICATE):
            for about in (line, route):
                self._problems.set(Kind.TEST_FAILED, None, about)
            return
        about = route if self._topics.reach(transmitter).tests_each_route else line
        error = f": {fields['error']}" if fields.get("error") else ""
        ended = fields.get("completed_at")
        since = datetime.fromisoformat(ended) if ended else None
        self._problems.set(Kind.TEST_FAILED, f"the last test alarm failed, {outcome}{error}", about, since)

    def _result_published(self, result: PendingResult) -> None:
        self._note_later(result)
        self._waiting_results -= 1
        if self._results_due and not self._waiting_results:
            self._work.set()

    async def _publish_undelivered(self) -> None:
        owed = await self._outbox.owed_undelivered(self._topics.transmitters)
        self._sent_undelivered &= {queued.id for queued in owed}
        for queued in owed:
            if queued.id in self._sent_undelivered:
                continue
            self._sent_undelivered.add(queued.id)
            name, fields = queued.command.transmitter, _undelivered_payload(queued)
            self._alarm_event(name, "undelivered", fields)
            done = partial(self._note_later, queued)
            self._outgoing.publish(self._topics.of(name, "undelivered"), json.dumps(fields), done=done)

    def _note_later(self, published: PendingResult | Queued) -> None:
        self._published.append(published)
        self._unnoted.set()

    def _alarm_event(self, transmitter: str, kind: object, fields: dict[str, object]) -> None:
        self._outgoing.publish(self._topics.of(transmitter, "event"), json.dumps({"type": kind, **fields}))

    async def _note(self) -> None:
        while True:
            await self._unnoted.wait()
            await asyncio.sleep(_GATHER_S)
            await self.flush()

    async def flush(self) -> None:
        """Note on disk what MQTT has."""
        with tolerated(log):
            if published := list(self._published):
                results = [each for each in published if isinstance(each, PendingResult)]
                undelivered = [each for each in published if isinstance(each, Queued)]
                await self._outbox.published(results, undelivered)
                self._sent_results.difference_update(result.id for result in results)
                del self._published[: len(published)]
                if undelivered:
                    self._work.set()  # for the next portion
            if not self._published:
                self._unnoted.clear()


def _listed(problem: Problem) -> dict[str, str]:
    """Return a problem as its topic lists it: the transmitter stands in the topic."""
    return {name: value for name, value in problem.as_json().items() if name != "transmitter"}


def _queue_problems(counts: Counts) -> dict[Kind, str | None]:
    """Return the problems that the outbox shows, by kind; None: there is none."""
    rejected = f"{counted(counts.rejected, 'alarm')} rejected; see sosbridge outbox list, then retry or drop each"
    undelivered = f"{counted(counts.undelivered, 'alarm')} not delivered yet"
    return {
        Kind.REJECTED: rejected if counts.rejected else None,
        Kind.UNDELIVERED: undelivered if counts.undelivered else None,
    }


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
