"""From MQTT into the outbox: each batch of commands is parsed, stored at once and acknowledged."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from bridge.common.backoff import Backoff
from bridge.common.clock import Clock
from bridge.common.errors import StoreError
from bridge.common.lasting import LASTS
from bridge.common.models import Command, Incoming, Outcome, Request, Result
from bridge.common.payloads import CommandError
from bridge.common.text import clean
from bridge.mqtt.routes import TopicRoute
from bridge.store.deliveries import delivery_of
from bridge.store.outbox import Outbox
from bridge.store.records import CommandEntry, Entry, InvalidEntry
from bridge.transmitters.commands import ParsedCommand, parse
from bridge.transmitters.publisher import Publisher
from bridge.transmitters.topics import Topics

log = logging.getLogger(__name__)

_LEFT = "left to another shard, whose owner may not know the transmitter: the configurations of the nodes differ"


class CommandHandler:
    def __init__(
        self,
        topics: Topics,
        outbox: Outbox,
        publisher: Publisher,
        clock: Clock,
        differs: Callable[[], bool] = lambda: False,
    ) -> None:
        """`differs` returns whether the owner of another shard may have another configuration."""
        self._differs = differs
        self._topics = topics
        self._outbox = outbox
        self._publisher = publisher
        self._clock = clock
        self._last_stamp = datetime.fromtimestamp(0).astimezone()

    @property
    def routes(self) -> tuple[TopicRoute, ...]:
        mistakes = (TopicRoute(pattern, self.handle, qos=0, optional=True) for pattern in self._topics.mistakes)
        return (*(TopicRoute(pattern, self.handle) for pattern in self._topics.commands), *mistakes)

    async def handle(self, batch: Sequence[Incoming]) -> None:
        """Store what `batch` commands; returns once the outbox has it."""
        entries: list[Entry] = []
        for message in batch:
            if self._topics.is_elsewhere(message.topic):
                if self._differs():
                    log.warning("%s: %s", clean(message.topic), _LEFT)
                continue
            try:
                entries.append(self._entry(message))
            except CommandError as error:
                self._publisher.emit("command_rejected", topic=clean(message.topic), reason=str(error))
                entries += self._rejected(message, error)
        if entries:
            await self._store(entries)
        if log.isEnabledFor(logging.DEBUG):  # the transmitter logs the result; before it is out, time counts
            for entry in entries:
                log.debug(
                    "%s: %s stored",
                    entry.transmitter,
                    _named(entry.command) if isinstance(entry, CommandEntry) else "a fault",
                )

    async def _store(self, entries: Sequence[Entry]) -> None:
        """Store `entries`; while the store can neither write nor go on in memory, nothing is acknowledged."""
        backoff = Backoff()
        while True:
            try:
                await self._outbox.add(entries)
            except StoreError as error:
                log.critical("%d commands are not stored and not acknowledged: %s", len(entries), error, extra=LASTS)
                await asyncio.sleep(backoff.fail())
            else:
                return

    def _entry(self, message: Incoming) -> Entry:
        """Raises CommandError."""
        parsed = parse(self._topics, message.topic, message.payload)
        given = parsed.alarm is not None and parsed.alarm.reference is not None
        repeatable = given and parsed.alarm is not None and parsed.alarm.transmitter_time is not None
        return CommandEntry(self._command(parsed, message), delivery_of(message), repeatable)

    def _command(self, parsed: ParsedCommand, message: Incoming) -> Command:
        accepted_at = self._stamp()
        alarm = parsed.alarm
        reference, warnings = parsed.reference, parsed.warnings
        if alarm is not None and alarm.transmitter_time is None:  # else the sender of the command knows better
            alarm, of_the_clock = self._clock.timed(alarm, accepted_at)
            reference, warnings = alarm.reference, (*warnings, *of_the_clock)
        return Command(
            transmitter=parsed.transmitter,
            request=parsed.request,
            accepted_at=accepted_at,
            moment=self._clock.moment(),
            alarm=alarm,
            identity=parsed.identity,
            reference=reference,
            warnings=warnings,
            reply=message.reply,
        )

    def _stamp(self) -> datetime:
        """Return the time, at least 1 ms after the last: equal times make two alarms duplicates to a receiver."""
        now = self._clock.now()
        soonest = self._last_stamp + timedelta(milliseconds=1)
        clock_was_set_back = soonest - now > timedelta(seconds=1)
        self._last_stamp = now if clock_was_set_back else max(now, soonest)
        return self._last_stamp

    def _rejected(self, message: Incoming, error: CommandError) -> list[Entry]:
        """Return what is stored of a wrong command: its result, if it belongs to a transmitter."""
        level = logging.ERROR if error.request in (Request.ALARM, Request.RESTORE) else logging.WARNING
        who = f"{error.transmitter}: " if error.transmitter else ""
        fields = {"transmitter": error.transmitter, "outcome": str(Outcome.INVALID)}
        log.log(level, "%scommand on %s rejected: %s", who, clean(message.topic), error, extra=fields)
        now = self._clock.now()
        result = Result(
            request=error.request or Request.ALARM,
            outcome=Outcome.INVALID,
            accepted_at=now,
            completed_at=now,
            error=str(error),
        )
        if error.transmitter is not None:
            return [InvalidEntry(error.transmitter, result, message.reply, delivery_of(message))]
        if message.reply is not None:
            self._publisher.answer(message.reply, json.dumps(result.as_json()))
        return []


def _named(command: Command) -> str:
    words = [command.request, command.alarm.event_code if command.alarm else "", command.reference or ""]
    return clean(" ".join(word for word in words if word))
