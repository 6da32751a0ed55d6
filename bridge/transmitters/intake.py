"""From MQTT into the outbox: each batch of messages is understood, stored in one transaction, then acknowledged."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from bridge.common.backoff import Backoff
from bridge.common.clock import Clock
from bridge.common.errors import StoreError
from bridge.common.models import Command, Outcome, Request, Result
from bridge.common.payloads import CommandError
from bridge.common.text import clean
from bridge.mqtt.client import Incoming
from bridge.mqtt.session import Handler
from bridge.store.outbox import Outbox, Touched
from bridge.store.records import CommandEntry, Delivery, Entry, InvalidEntry
from bridge.transmitters.commands import ParsedCommand, parse
from bridge.transmitters.publisher import Publisher
from bridge.transmitters.topics import Topics

log = logging.getLogger(__name__)

_MOST_CONFIRMED = 1000
"""They are forgotten with the next command that is stored; where none is, past so many."""


@dataclass(frozen=True, slots=True)
class _Rejection:
    """A wrong command, of which an event tells."""

    topic: str
    reason: str
    delivery: Delivery | None


class Intake(Handler):
    """The handler of the MQTT door."""

    def __init__(
        self,
        topics: Topics,
        outbox: Outbox,
        publisher: Publisher,
        stored: Callable[[Touched], None],
        clock: Clock,
        *,
        is_elsewheres: Callable[[str], bool] = lambda _: False,
        elsewhere: Callable[[Incoming], None] = lambda _: None,
        notices: Mapping[str, Callable[[bytes], None]] = MappingProxyType({}),
        learned: Callable[[Mapping[str, str]], None] = lambda _: None,
    ) -> None:
        """`elsewhere` takes the commands that are no transmitter's: those whose topic `is_elsewheres`.

        `notices` take what comes on topics that command nothing, retained or not; `learned` as in Handler.
        """
        self._clock = clock
        self._notices = notices
        self._is_elsewheres = is_elsewheres
        self._elsewhere = elsewhere
        self._learned = learned
        self._topics = topics
        self._outbox = outbox
        self._publisher = publisher
        self._stored = stored
        self._confirmed: list[Delivery] = []
        self._rejections: list[_Rejection] = []
        self._others: list[Incoming] = []
        self._last_stamp = datetime.fromtimestamp(0).astimezone()

    async def commands(self, batch: Sequence[Incoming]) -> None:
        """Store what `batch` commands; returns once it is on disk, however long a full disk makes that take."""
        entries = [entry for entry in map(self._entry, batch) if entry is not None]
        await self._pass_on()
        rejections, self._rejections = self._rejections, []
        told = await self._told([rejection.delivery for rejection in rejections])
        touched = await self._store(entries) if entries or len(self._confirmed) >= _MOST_CONFIRMED else {}
        for rejection in rejections:
            if rejection.delivery is None or rejection.delivery not in told:
                self._publisher.event("command_rejected", topic=rejection.topic, reason=rejection.reason)
        self._stored(touched)
        if log.isEnabledFor(logging.DEBUG):  # the result is told by the transmitter; before it is out, time counts
            for entry in entries:
                log.debug(
                    "%s: %s stored",
                    entry.transmitter,
                    _named(entry.command) if isinstance(entry, CommandEntry) else "a fault",
                )

    def acknowledged(self, batch: Sequence[Incoming]) -> None:
        self._confirmed += [delivery for delivery in map(self._delivery, batch) if delivery is not None]

    def learned(self, held: Mapping[str, str]) -> None:
        self._learned(held)

    async def new_session(self) -> None:
        try:
            await self._outbox.forget_deliveries()
        except StoreError as error:
            log.warning("%s", error)

    async def _pass_on(self) -> None:
        """Let others obey what is theirs, each command once: a door that was opened since is not locked again."""
        others, self._others = self._others, []
        deliveries = {message.mid: delivery for message in others if (delivery := self._delivery(message)) is not None}
        told = await self._told(list(deliveries.values()))
        for message in others:
            if deliveries.get(message.mid) not in told:
                self._elsewhere(message)
        if not deliveries:
            return
        try:
            await self._outbox.note(list(deliveries.values()))
        except StoreError as error:
            log.warning("%s", error)

    async def _told(self, deliveries: Sequence[Delivery | None]) -> list[Delivery]:
        """Return those that came before; what is confirmed comes never again, another message has its number by now."""
        repeated = [delivery for delivery in deliveries if delivery is not None and delivery.duplicate]
        if not repeated:
            return []
        over = {(each.mid, each.digest) for each in self._confirmed}
        repeated = [each for each in repeated if (each.mid, each.digest) not in over]
        try:
            return await self._outbox.known(repeated)
        except StoreError as error:  # better told twice than never
            log.warning("%s", error)
            return []

    async def _store(self, entries: Sequence[Entry]) -> Touched:
        backoff, failing = Backoff(), False
        while True:
            confirmed = list(self._confirmed)
            try:
                touched = await self._outbox.add(entries, confirmed)
            except asyncio.CancelledError:
                # The broker is gone. It may be written all the same: then nothing newer goes before it.
                self._stored(dict.fromkeys(entry.transmitter for entry in entries))
                raise
            except StoreError as error:
                log.critical("%d commands are not stored and not acknowledged: %s", len(entries), error)
                self._publisher.event("store_failed", waiting=len(entries), error=str(error))
                failing = True
                await asyncio.sleep(backoff.fail())
                continue
            del self._confirmed[: len(confirmed)]
            if failing:
                log.warning("the store takes commands again")
                self._publisher.event("store_recovered", stored=len(entries))
            return touched

    def _entry(self, message: Incoming) -> Entry | None:
        if message.topic in self._notices:
            self._notices[message.topic](message.payload)
            return None
        if message.retained:
            self._refuse_retained(message)
            return None
        if self._is_elsewheres(message.topic):
            self._others.append(message)
            return None
        try:
            parsed = parse(self._topics, message.topic, message.payload)
        except CommandError as error:
            return self._rejected(message, error)
        command = self._command(parsed, message)
        return CommandEntry(command, self._delivery(message))

    def _delivery(self, message: Incoming) -> Delivery | None:
        if message.mid is None:
            return None
        # A panel's code could be guessed from a digest of it.
        payload = b"" if self._is_elsewheres(message.topic) else message.payload
        return Delivery(
            message.mid, message.duplicate, hashlib.sha256(message.topic.encode() + b"\0" + payload).digest()
        )

    def _command(self, parsed: ParsedCommand, message: Incoming) -> Command:
        accepted_at = self._stamp()
        alarm = parsed.alarm
        reference, warnings = parsed.reference, parsed.warnings
        if alarm is not None and alarm.transmitter_time is None:  # else the author of the command knows better
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
        """Return the time, a millisecond at least after the last one: receivers take the same alarm twice for one."""
        now = self._clock.now()
        soonest = self._last_stamp + timedelta(milliseconds=1)
        clock_was_set_back = soonest - now > timedelta(seconds=1)
        self._last_stamp = now if clock_was_set_back else max(now, soonest)
        return self._last_stamp

    def _refuse_retained(self, message: Incoming) -> None:
        if not message.payload:  # somebody clears a retained command
            return
        topic = clean(message.topic)
        how = f"clear it with: mosquitto_pub -r -n -t '{topic}'"
        log.warning("ignored a retained command on %s; %s", topic, how)
        self._publisher.event("retained_command_ignored", topic=topic, reason=f"commands must not be retained; {how}")

    def _rejected(self, message: Incoming, error: CommandError) -> Entry | None:
        log.warning("rejected a command on %s: %s", clean(message.topic), error)
        self._rejections.append(_Rejection(clean(message.topic), str(error), self._delivery(message)))
        now = self._clock.now()
        result = Result(
            request=error.request or Request.ALARM,
            outcome=Outcome.INVALID,
            accepted_at=now,
            completed_at=now,
            error=str(error),
        )
        if error.transmitter is not None:
            return InvalidEntry(error.transmitter, result, message.reply, self._delivery(message))
        if message.reply is not None:
            self._publisher.answer(message.reply, json.dumps(result.as_json()))
        return None


def _named(command: Command) -> str:
    words = [command.request, command.alarm.event_code if command.alarm else "", command.reference or ""]
    return clean(" ".join(word for word in words if word))
