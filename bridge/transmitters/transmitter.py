"""Drives one transmitter: does what `schedule` decides, over the outbox and the line.

One loop asks for the next step and begins it; exchanges run beside it as tasks, a bounded number, and note their end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress

from bridge.common.clock import Clock
from bridge.common.errors import StoreError
from bridge.common.lasting import LASTS
from bridge.common.loop import within
from bridge.common.models import Request, Secret
from bridge.common.pulse import Pulse
from bridge.store.outbox import Outbox
from bridge.store.records import Queued
from bridge.transmitters import kept
from bridge.transmitters.attempts import Attempt
from bridge.transmitters.changes import Changes, Reporter
from bridge.transmitters.line import Line
from bridge.transmitters.line_log import LineLog
from bridge.transmitters.results import Item
from bridge.transmitters.rounds import LineState
from bridge.transmitters.routes import Route, Routes
from bridge.transmitters.schedule import Send, Wait, next_step
from bridge.transmitters.sending import RETRY_S, Sender, now
from bridge.transmitters.supervision import Supervision
from bridge.transmitters.waiting import AlarmState, Waiting

log = logging.getLogger(__name__)

STOP_S = 4.0
"""What a stop waits for an answer on its way: a message cut off there is sent twice."""
_HANGS_S = 120.0
"""A turn of the loop waits for nothing but the outbox."""
_EXPIRE_EACH_S = 10.0
_PERMIT_EACH_S = 0.2
"""How often a node that may not send now looks whether it may again."""
_KEEP_EACH_S = 1.0
"""Changes within it are kept together."""


class Transmitter:
    """Drains the outbox of one transmitter while `run` runs."""

    def __init__(self, line: Line, outbox: Outbox, reporter: Reporter, clock: Clock | None = None) -> None:
        self.name = line.name
        self.pulse = Pulse(f"transmitter {line.name}", _HANGS_S)
        self._line = line
        self._outbox = outbox
        self._clock = clock or Clock()
        self._wake = outbox.news(line.name)
        self._log = LineLog(line.name, line.heartbeat, self._clock)
        self._changes = Changes(line, reporter)
        self._state = _state(line)
        self._sender = Sender(line, outbox, reporter, self._clock, self._state, self._wake.set, self._log)
        self._turned = asyncio.Event()
        """Set when the line's state may have changed; `_keep` clears it."""
        self._load_at = float("-inf")
        self._fact = f"line {line.name}"
        """What the store keeps the line's state under."""
        account = line.client.transmitter_code, line.client.transmitter_type
        self._setup = kept.Setup(*account, Secret(line.client.authentication), line.peers)

    @property
    def delivered(self) -> int:
        """Alarms that were accepted since the start."""
        return self._sender.delivered

    @property
    def failures(self) -> int:
        """Rounds and heartbeats that failed since the start."""
        return self._sender.failures

    async def run(self) -> None:
        """Send what is due until cancelled; then wait a while for the answers on their way."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._line.network.pace.begin_after()):
                await self._wake.wait()
        self._state.started = now()
        await self._restore()
        self._changes.restored(self._state)
        for route, peer in self._line.peers.items():
            self._line.network.follow(peer, route, self._line, self._heard)
        async with asyncio.TaskGroup() as tasks:
            for work, what in ((self._keep(), "keep the state"), (self._expire(), "expire")):
                tasks.create_task(work, name=f"transmitter {self.name}: {what}")
            try:
                while True:
                    await self._turn(tasks)
            finally:
                if self._sender.on_its_way and self._line.network.permit():  # else no answer can be stored
                    await asyncio.wait(self._sender.on_its_way, timeout=STOP_S)

    async def _turn(self, tasks: asyncio.TaskGroup) -> None:
        self.pulse.beat()
        self._wake.clear()
        self._turned.set()
        await self._take()
        if not self._sender.may_begin:
            await self._sleep(now() + _PERMIT_EACH_S)
            return
        at = now()
        step = next_step(self._state, at)
        if isinstance(step, Wait):
            self._changes.look(self._state, at)
            self._log.look(self._state, at)
            next_at = min(self._changes.next_at(self._state), self._log.next_at, self._load_at)
            await self._sleep(min(step.until, next_at))
            return
        work = self._sender.begin(step)
        if work is not None:
            task = tasks.create_task(work, name=f"transmitter {self.name}: {type(step).__name__.lower()}")
            task.add_done_callback(self._sender.on_its_way.discard)
            if not isinstance(step, Send):  # an alarm wakes the loop itself, before its result is stored
                task.add_done_callback(lambda _: self._wake.set())
        await asyncio.sleep(0)

    async def _sleep(self, until: float) -> None:
        timer = asyncio.get_running_loop().call_at(until, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    # What waits

    async def _take(self) -> None:
        """Take in what is new, and at first everything that waits."""
        if self._load_at <= now():
            try:
                waiting = await self._outbox.pending(self.name)
            except StoreError as error:
                log.error("%s", error, extra=LASTS)
                self._load_at = now() + RETRY_S
            else:
                self._load_at = float("inf")
                self._add(waiting)
        for number in self._outbox.dropped(self.name):
            self._state.drop(number)
            self._sender.items.pop(number, None)
            self._log.dropped(number)
        self._add(self._outbox.take(self.name))

    def _add(self, found: Iterable[Queued]) -> None:
        for queued in found:
            if queued.id in self._sender.items:
                continue
            self._sender.items[queued.id] = Item(queued, queued.attempts)
            request = queued.command.request
            if queued.undelivered:
                self._log.restored(self._sender.items[queued.id])
            if request in (Request.ALARM, Request.RESTORE):
                self._state.add(self._waiting(queued))
                continue
            self._state.commands.append((queued.id, request is Request.PING))
            if request is Request.PING:
                self._state.logins.reset()

    def _waiting(self, queued: Queued) -> Waiting:
        command, tried = queued.command, queued.attempts > 0
        return Waiting(
            queued.id,
            command.identity,
            command.request is Request.RESTORE,
            now() - max(self._clock.age_s(command.moment, command.accepted_at), 0.0),
            urgent=queued.urgent,
            tried=tried,
            undelivered=queued.undelivered,
            state=AlarmState.DUE if tried else AlarmState.NEW,
        )

    async def _expire(self) -> None:
        """End the alarms that are too old and not sent meanwhile; check if a password file can be read again."""
        while True:
            await asyncio.sleep(_EXPIRE_EACH_S)
            if self._line.passwords.trouble is not None:
                await asyncio.to_thread(self._line.passwords.recheck)
                self._wake.set()
            await self._sender.give_up_tests()
            if not self._state.queue:
                continue
            try:
                old = await self._outbox.older_than(self.name, self._clock.cutoff(self._line.max_age))
            except StoreError as error:
                log.error("%s", error, extra=LASTS)
                continue
            for queued in old:
                item = self._sender.items.get(queued.id)
                if item is not None and queued.id in self._state.queue and queued.id not in self._state.sending:
                    self._state.drop(queued.id)
                    await self._sender.expire(item)

    # What is known of the routes

    async def _restore(self) -> None:
        try:
            text = await self._outbox.fact(self._fact)
            addresses = kept.load(text, self._state, self._setup, self._clock, now()) if text else {}
        except (StoreError, ValueError) as error:
            log.error("%s: %s", self.name, error, extra=LASTS)
            return
        known = self._line.network.dialer.resolver.known
        for host, found in addresses.items():
            known.setdefault(host, found)

    async def _keep(self) -> None:
        """Keep the state over a restart: written at a stop and after changes, not with every alarm."""
        kept_last = kept.edges(self._state, self._addresses)
        try:
            while True:
                await self._turned.wait()
                await asyncio.sleep(_KEEP_EACH_S)
                self._turned.clear()
                try:
                    kept_last = await self._write_state(kept_last)
                except StoreError as error:
                    log.error("%s", error, extra=LASTS)
                    await asyncio.sleep(RETRY_S)
                    self._turned.set()
        finally:
            if self._line.network.permit():
                with suppress(StoreError):
                    await within(_KEEP_EACH_S, self._write_state(kept_last))

    async def _write_state(self, before: tuple[object, ...]) -> tuple[object, ...]:
        """Write the state unless its edges are still `before`; return them. Raises StoreError."""
        found = kept.edges(self._state, self._addresses)
        if found != before:
            text = kept.dump(self._state, self._setup, self._addresses, self._clock, now())
            await self._outbox.keep_fact(self._fact, text)
        return found

    @property
    def _addresses(self) -> kept.Addresses:
        known = self._line.network.dialer.resolver.known
        hosts = dict.fromkeys(peer.address[0] for peer in self._line.peers.values())
        return {host: known[host] for host in hosts if host in known}

    def _heard(self, route: Route, attempt: Attempt | None) -> None:
        """Another transmitter connected to the same address, or could not."""
        health = self._state.routes[route]
        if attempt is None:
            health.late()
        elif attempt.error or not health.connects:  # else each alarm of one transmitter would wake all
            self._state.observed(attempt._replace(route=route), now(), alarm=False)
        else:
            return
        self._wake.set()


def _state(line: Line) -> LineState:
    receivers, paths = (list(dict.fromkeys(found)) for found in zip(*line.peers, strict=True))
    return LineState(
        Routes(receivers, paths),
        started=0.0,
        supervision=Supervision(line.heartbeat, line.check_idle_every),
        undelivered_after=line.undelivered_after,
    )
