"""From MQTT into the outbox: each batch of commands is parsed, stored at once and acknowledged."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from bridge.common.backoff import Backoff
from bridge.common.clock import Clock
from bridge.common.errors import StoreError
from bridge.common.lasting import LASTS
from bridge.common.models import Command, Incoming, NamedAlarm, Outcome, Request, Result
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


class Others(Protocol):
    """The owners of other shards."""

    def differs(self) -> bool:
        """Return whether one of them may have another configuration."""

    async def subscribed(self, transmitters: Collection[str]) -> set[str]:
        """Return which of these transmitters another shard is subscribed to. Raises StoreError."""

    def alarms(self, transmitter: str) -> Mapping[str, NamedAlarm] | None:
        """Return the configured alarms of a transmitter of any shard; None if this node does not know it."""


class CommandHandler:
    def __init__(
        self,
        topics: Topics,
        outbox: Outbox,
        publisher: Publisher,
        clock: Clock,
        others: Others | None = None,
    ) -> None:
        """`others`: where there is more than one shard."""
        self._others = others
        self._topics = topics
        self._outbox = outbox
        self._publisher = publisher
        self._clock = clock
        self._last_stamp = datetime.fromtimestamp(0).astimezone()

    @property
    def routes(self) -> tuple[TopicRoute, ...]:
        own = self._topics.to_subscribe
        mistakes = (
            TopicRoute(pattern, self.handle, qos=0, optional=True, subscribe=own) for pattern in self._topics.mistakes
        )
        return (*(TopicRoute(pattern, self.handle, subscribe=own) for pattern in self._topics.commands), *mistakes)

    async def handle(self, batch: Sequence[Incoming]) -> None:
        """Store what `batch` commands; returns once the outbox has it."""
        entries: list[Entry] = []
        left = await self._left(batch, self._others) if self._others else ()
        for message in batch:
            if left and self._topics.transmitter(message.topic) in left:
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

    async def _left(self, batch: Sequence[Incoming], others: Others) -> Collection[str]:
        """Return the transmitters of `batch` whose commands are left to other owners.

        Each shard is subscribed to the commands of its own transmitters, shard 0 to all, and it answers for unknown
        ones. While configurations differ, the owner of a shard may not know one of its transmitters: shard 0 then takes
        the commands that no other shard is subscribed to, and a shard stores those of an earlier subscription.
        """
        unknown = {self._topics.transmitter(each.topic) for each in batch} - self._topics.transmitters.keys()
        names = {name for name in unknown if name is not None}
        if not names:
            return ()
        if not others.differs():
            return names if self._topics.shard else {name for name in names if name in self._topics.others}
        if self._topics.shard:
            return ()
        return await self._retried(lambda: others.subscribed(names), len(batch))

    async def _store(self, entries: Sequence[Entry]) -> None:
        await self._retried(lambda: self._outbox.add(entries), len(entries))

    async def _retried(self, work: Callable[[], Awaitable[set[str]]], commands: int) -> set[str]:
        """Do `work`, again and again while the store fails: until then nothing is acknowledged."""
        backoff = Backoff()
        while True:
            try:
                return await work()
            except StoreError as error:
                log.critical("%d commands are not stored and not acknowledged: %s", commands, error, extra=LASTS)
                await asyncio.sleep(backoff.fail())

    def _known(self, topic: str, others: Others) -> Topics:
        """Return our topics, or those of a transmitter whose commands are taken for another owner."""
        name = self._topics.transmitter(topic)
        if name is None or name in self._topics.transmitters:
            return self._topics
        alarms = others.alarms(name)
        if alarms is None and self._topics.shard:  # its alarms are in a configuration that this node has not
            alarms = {}
        return self._topics if alarms is None else replace(self._topics, transmitters={name: alarms})

    def _entry(self, message: Incoming) -> Entry:
        """Raises CommandError."""
        topics = self._known(message.topic, self._others) if self._others else self._topics
        parsed = parse(topics, message.topic, message.payload)
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
