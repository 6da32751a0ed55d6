"""Sends the commands of one transmitter: one exchange at a time; alarms first, then pings, rotations, heartbeats.

What can go wrong with an alarm, and what is done:

- receivers cannot be reached: the line waits (`_hold`), everything stays in order behind the oldest alarm;
- receivers answer but do not take it (5, 98, 99, unknown): it waits on its own (`_later`), those behind it go on;
- the password is refused: the line waits, at once the longest;
- the receiver rejects it: it is kept for a person to decide, those behind it go on.
"""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass, replace
from typing import Any, Protocol

from bridge.common.backoff import Backoff
from bridge.common.clock import Clock
from bridge.common.errors import FieldError, StoreError
from bridge.common.models import Outcome, Request, Result
from bridge.common.pulse import Pulse
from bridge.common.text import clean
from bridge.sos_access.messages import NewAuthResponse
from bridge.sos_access.status import (
    PingTooOften,
    ReceiversUnavailable,
    Rejected,
    ServiceUnavailable,
    SOSAccessError,
    Unauthorized,
)
from bridge.store.outbox import Outbox
from bridge.store.records import Queued
from bridge.transmitters.heartbeat import Heartbeat
from bridge.transmitters.line import AnyExchange, Line

log = logging.getLogger(__name__)

_EXPIRE_EACH_S = 1.0
_MARGIN_S = 120.0
"""What a turn may take beside its exchange: a rest, or the longest wait for a store that fails."""
_LONGEST_SLEEP_S = 30.0
"""Bounds the wait for what sets no event, such as an alarm that becomes too old."""


class Reporter(Protocol):
    """Takes what happens on a line."""

    def changed(self, transmitter: str) -> None:
        """Results, active alarms or the waiting ones have changed in the outbox."""

    def link(self, transmitter: str, up: bool) -> None: ...  # noqa: FBT001

    def heartbeat(self, transmitter: str, result: Result) -> None:
        """How a scheduled heartbeat ended."""

    def emit(self, kind: str, **details: object) -> None:
        """Publish on `bridge/event`."""


@dataclass(slots=True)
class _Deferred:
    due: float
    backoff: Backoff


class Transmitter:
    """Drains the outbox of one transmitter while `run` runs."""

    def __init__(self, line: Line, outbox: Outbox, reporter: Reporter, clock: Clock | None = None) -> None:
        self.name = line.name
        self.delivered = 0
        self.failures = 0
        self.pulse = Pulse(f"transmitter {line.name}", line.longest_exchange_s + _MARGIN_S)
        self._line = line
        self._outbox = outbox
        self._reporter = reporter
        self._clock = clock or Clock()
        self._wake = outbox.wakes.of(line.name)
        self._later: dict[int, _Deferred] = {}
        self._unrecorded: dict[int, tuple[Queued, Result]] = {}
        self._record_at = 0.0
        self._expire_at = 0.0
        self._hold = 0.0
        self._unauthorized = False
        self._backoff = Backoff()
        self._store_backoff = Backoff()
        self._up: bool | None = None

    async def run(self) -> None:
        """Send what is due until cancelled. A store that fails is reported and tried again."""
        self._heartbeat = Heartbeat(self._line.heartbeat, self._now())
        self._last_success = self._now()
        while True:
            self.pulse.beat()
            try:
                await self._step()
                if not self._unrecorded:
                    self._store_backoff.reset()
            except StoreError as error:
                self._store_failed(error)
                await asyncio.sleep(self._store_backoff.fail())

    async def _step(self) -> None:
        self._wake.clear()
        await self._record()
        await self._expire()
        queued = await self._next()
        if self._heartbeat.overdue(self._now()) or (queued is None and self._heartbeat_due <= self._now()):
            await self._beat()
        elif queued is not None:
            await self._send(queued)
        else:
            await self._sleep()
        self._watch_link()

    @property
    def _heartbeat_due(self) -> float:
        """When the next heartbeat may go; while the password is refused, no sooner than the alarms."""
        due = math.inf if self._heartbeat.due is None else self._heartbeat.due
        return max(due, self._hold) if self._unauthorized else due

    async def _next(self) -> Queued | None:
        now = self._now()
        waiting = [number for number, deferred in self._later.items() if deferred.due > now]
        ended = list(self._unrecorded)
        return await self._outbox.next(self.name, waiting, ended=ended, alarms=self._hold <= now)

    async def _sleep(self) -> None:
        moments = [deferred.due for deferred in self._later.values()]
        if self._hold > self._now():
            moments = [self._hold]
        moments.append(self._heartbeat_due)
        if self._unrecorded:
            moments.append(self._record_at)
        if self._up and self._heartbeat.level:
            moments.append(self._last_success + self._heartbeat.level)
        wait = min([moment - self._now() for moment in moments] + [_LONGEST_SLEEP_S])
        try:
            async with asyncio.timeout(max(wait, 0)):
                await self._wake.wait()
        except TimeoutError:
            pass

    # Alarms and commands

    async def _expire(self) -> None:
        if self._expire_at > self._now():
            return
        self._expire_at = self._now() + _EXPIRE_EACH_S
        ended = set(self._unrecorded)  # as it is now: what is written down in between has ended all the same
        for queued in await self._outbox.older_than(self.name, self._clock.cutoff(self._line.max_age)):
            if queued.id in ended:
                continue
            log.error(
                "%s: %s expired, it was never delivered: %s", self.name, _named(queued), queued.error or "not sent"
            )
            error = f"older than {self._line.max_age}, not delivered" + (f": {queued.error}" if queued.error else "")
            await self._complete(queued, Outcome.EXPIRED, error=error)

    async def _send(self, queued: Queued) -> None:
        try:
            exchange = await self._line.exchange(lambda: self._line.message(queued.command))
        except FieldError as error:  # stored by another version, or the configuration has changed since
            await self._complete(queued, Outcome.INVALID, error=str(error))
        except Rejected as error:
            self._reached()
            await self._complete(queued, Outcome.REJECTED, failure=error)
        except (Unauthorized, ReceiversUnavailable) as error:
            await self._round_failed(queued, error)
        else:
            await self._delivered(queued, exchange)

    async def _delivered(self, queued: Queued, exchange: AnyExchange) -> None:
        self._reached(exchange)
        response = exchange.response
        if isinstance(response, NewAuthResponse) and response.new_authentication is not None:
            await asyncio.to_thread(self._line.credentials.add, response.new_authentication)
            log.info("%s: the receiver gave out a new password; it is stored", self.name)
        await self._complete(queued, Outcome.DUPLICATE if response.duplicate else Outcome.ACCEPTED, exchange=exchange)
        if queued.command.request in (Request.ALARM, Request.RESTORE):
            self.delivered += 1

    async def _round_failed(self, queued: Queued, failure: Unauthorized | ReceiversUnavailable) -> None:
        self._lost()
        unauthorized = isinstance(failure, Unauthorized)
        if isinstance(failure, Unauthorized):
            self._refused(failure)
        if queued.command.request in (Request.PING, Request.AUTH):
            outcome = Outcome.UNAUTHORIZED if unauthorized else Outcome.UNREACHABLE
            await self._complete(queued, outcome, failure=failure)
            return
        if isinstance(failure, ReceiversUnavailable):
            self._postpone(queued, failure)
        refused = self._result(queued, Outcome.UNAUTHORIZED, failure=failure) if unauthorized else None
        total = queued.attempts + failure.attempts
        log.warning(
            "%s: %s not delivered after %d attempts, it stays in the outbox: %s",
            self.name,
            _named(queued),
            total,
            failure,
        )
        held = self._hold > self._now()
        await self._outbox.failed(
            queued, attempts=failure.attempts, error=str(failure), unauthorized=refused, held=held
        )
        self._reporter.changed(self.name)

    def _postpone(self, queued: Queued, failure: ReceiversUnavailable) -> None:
        if not failure.answered:
            self._hold = self._now() + self._backoff.fail()
            return
        deferred = self._later.setdefault(queued.id, _Deferred(0, Backoff()))
        deferred.due = self._now() + deferred.backoff.fail()

    async def _complete(
        self,
        queued: Queued,
        outcome: Outcome,
        *,
        exchange: AnyExchange | None = None,
        failure: SOSAccessError | None = None,
        error: str | None = None,
    ) -> None:
        result = self._result(queued, outcome, exchange=exchange, failure=failure)
        if error is not None:
            result = replace(result, error=error, attempts=queued.attempts or None)
        self._unrecorded[queued.id] = queued, result
        self._record_at = 0.0
        self._later.pop(queued.id, None)
        level = logging.INFO if outcome in (Outcome.ACCEPTED, Outcome.DUPLICATE) else logging.ERROR
        log.log(level, "%s: %s: %s%s", self.name, _named(queued), outcome, f" ({result.error})" if result.error else "")
        await self._record()

    async def _record(self) -> None:
        """Write down what has ended. Where the store fails it is tried again, and those behind are sent meanwhile."""
        if not self._unrecorded or self._record_at > self._now():
            return
        for queued, result in list(self._unrecorded.values()):
            try:
                await self._outbox.complete(queued, result)
            except StoreError as error:
                self._record_at = self._now() + self._store_backoff.fail()
                self._store_failed(error)
                return
            del self._unrecorded[queued.id]
        self._reporter.changed(self.name)

    def _store_failed(self, error: StoreError) -> None:
        log.error("%s: %s", self.name, error)
        self._reporter.emit("store_failed", transmitter=self.name, error=str(error))

    def _result(
        self,
        queued: Queued,
        outcome: Outcome,
        *,
        exchange: AnyExchange | None = None,
        failure: SOSAccessError | None = None,
    ) -> Result:
        command = queued.command
        source = exchange or failure
        found = _answer(source) if source else {}
        if source:
            found["attempts"] = queued.attempts + source.attempts
        return Result(
            request=command.request,
            outcome=outcome,
            reference=command.reference,
            event_code=command.alarm.event_code if command.alarm else None,
            accepted_at=command.accepted_at,
            completed_at=self._clock.now(),
            warnings=command.warnings,
            **found,
        )

    # Heartbeats and the state of the line

    async def _beat(self) -> None:
        try:
            exchange = await self._line.exchange(self._line.client.ping_request)
        except ServiceUnavailable as error:
            self._reached()
            self._heartbeat.disable()
            log.error("%s: heartbeats are not enabled at the operator, none are sent from now on: %s", self.name, error)
            self._reporter.emit("heartbeat_disabled", transmitter=self.name, error=str(error))
            self._report_heartbeat(Outcome.REJECTED, error)
        except PingTooOften as error:
            self._reached()
            self._heartbeat.too_often(self._now())
            log.warning("%s: heartbeats come too often, the next one waits longer: %s", self.name, error)
            self._report_heartbeat(Outcome.REJECTED, error)
        except (Rejected, ReceiversUnavailable) as error:
            self._lost()
            self._heartbeat.failed(self._now())
            log.warning("%s: heartbeat failed: %s", self.name, error)
            self._report_heartbeat(Outcome.REJECTED if isinstance(error, Rejected) else Outcome.UNREACHABLE, error)
        except Unauthorized as error:
            self._lost()
            self._refused(error)
            self._heartbeat.refused(self._now())
            self._report_heartbeat(Outcome.UNAUTHORIZED, error)
        else:
            self._reached(exchange)
            self._heartbeat.accepted(self._now())
            self._report_heartbeat(Outcome.ACCEPTED, exchange)

    def _report_heartbeat(self, outcome: Outcome, source: AnyExchange | SOSAccessError) -> None:
        result = Result(request=Request.PING, outcome=outcome, completed_at=self._clock.now(), **_answer(source))
        self._reporter.heartbeat(self.name, result)

    def _refused(self, error: Unauthorized) -> None:
        """Report that the password is refused, and wait: asking again and again could lock the transmitter out."""
        self._hold = self._now() + self._backoff.refuse()
        log.error("%s: the receiver refuses transmitter code or password; ask the operator: %s", self.name, error)
        if not self._unauthorized:
            self._reporter.emit("unauthorized", transmitter=self.name, error=str(error))
        self._unauthorized = True

    def _reached(self, exchange: AnyExchange | None = None) -> None:
        """An exchange succeeded: what was held is due now."""
        if exchange is not None:
            self._clock.heard(f"{self.name} {exchange.receiver}", exchange.clock_offset_s)
        self._last_success = self._now()
        self._hold = 0.0
        self._unauthorized = False
        self._backoff.reset()
        self._set_link(up=True)

    def _lost(self) -> None:
        self.failures += 1
        if not self._heartbeat.level:
            self._set_link(up=False)

    def _watch_link(self) -> None:
        level = self._heartbeat.level
        if level and self._now() - self._last_success >= level:
            self._set_link(up=False)

    def _set_link(self, *, up: bool) -> None:
        if up != self._up:
            self._up = up
            log.log(logging.INFO if up else logging.ERROR, "%s: the link is %s", self.name, "up" if up else "down")
            self._reporter.link(self.name, up)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _answer(source: AnyExchange | SOSAccessError) -> dict[str, Any]:
    """Return the fields of a Result that a receiver's answer, or what became of it, fills."""
    answer = source if isinstance(source, SOSAccessError) else source.response
    return {
        "status": answer.status,
        "info": clean(answer.info) if answer.info else None,
        "receiver": source.receiver,
        "attempts": source.attempts,
        "arrival_time": answer.arrival_time,
        "clock_offset_s": None if isinstance(source, SOSAccessError) else source.clock_offset_s,
        "error": str(source) if isinstance(source, SOSAccessError) else None,
    }


def _named(queued: Queued) -> str:
    """Name a command in a log line."""
    command = queued.command
    code = f" {clean(command.alarm.event_code)}" if command.alarm else ""
    reference = f" ({clean(command.reference)})" if command.reference else ""
    return f"{command.request}{code}{reference} #{queued.id}"
