"""Carries out the steps of `schedule` that send something, and stores and reports their results."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from bridge.common.clock import Clock
from bridge.common.errors import FieldError, StoreError
from bridge.common.lasting import LASTS
from bridge.common.models import Outcome, Request, Secret
from bridge.sos_access.messages import AnyRequest, NewAuthResponse
from bridge.store.outbox import Outbox
from bridge.transmitters.attempts import Attempt, Ending
from bridge.transmitters.changes import Reporter
from bridge.transmitters.line import Line, Sent, Watch
from bridge.transmitters.line_log import LineLog
from bridge.transmitters.logins import Login
from bridge.transmitters.results import Item, heartbeat_result, outcome_of, result
from bridge.transmitters.rounds import LineState
from bridge.transmitters.routes import Answer, Route
from bridge.transmitters.schedule import Ask, Connect, Report, Send, SendPing, Try

log = logging.getLogger(__name__)

RETRY_S = 5.0
"""Until a store that failed is tried again."""
TEST_WITHIN_S = 300.0
"""A test alarm is given up after it."""
_TEST_EACH_S = 30.0
_REFUSED = "not asked: every receiver refused transmitter code or password just now; ask the operator, then send a ping"

Work = Coroutine[Any, Any, None]


class Sender:
    """Sends over one line. `state` is updated before and after each exchange, then `wake` is called."""

    def __init__(
        self,
        line: Line,
        outbox: Outbox,
        reporter: Reporter,
        clock: Clock,
        state: LineState,
        wake: Callable[[], None],
        line_log: LineLog,
    ) -> None:
        self.line = line
        self.state = state
        self.wake = wake
        self.items: dict[int, Item] = {}
        """The commands that wait, by number."""
        self.on_its_way: set[asyncio.Task[Any]] = set()
        """Exchanges whose document has gone out."""
        self._completing = 0
        self.delivered = 0
        self.failures = 0
        self._outbox = outbox
        self._reporter = reporter
        self._clock = clock
        self._log = line_log

    def begin(self, step: Send | Ask | SendPing | Connect | Report) -> Work | None:
        """Note that `step` begins, and return the rest of it."""
        match step:
            case Report(numbers):
                self.state.reports.clear()
                return self._report([self.items[each] for each in numbers if each in self.items])
            case Send():
                return self._begin_alarm(step)
            case Ask(number, tries):
                return self._begin_ask(number, tries)
            case SendPing(route, heartbeat):
                self.state.ping_began(now())
                self.state.logins.began(route.receiver, Login.ALL, now())
                return self._ping(route, heartbeat=heartbeat)
            case Connect(route):
                self.state.busy = True
                return self._check(route)

    @property
    def may_begin(self) -> bool:
        """Whether something may be sent now, for all that the store knows."""
        network = self.line.network
        return network.permit() and not (network.stored_first and self._completing)

    async def complete(self, item: Item, outcome: Outcome, sent: Sent | None = None, error: str | None = None) -> None:
        """End a command. The outbox keeps the result in memory while the disk cannot be written."""
        found = result(item, outcome, self._clock.now(), sent, error)
        self._log.ended(item, found)
        self._completing += 1
        try:
            await self._store(lambda: self._outbox.complete(item.queued, found))
        finally:
            self._completing -= 1
            if self.line.network.stored_first:
                self.wake()
        self.items.pop(item.queued.id, None)
        self._reporter.changed(self.line.name)

    def is_too_old(self, item: Item) -> bool:
        command = item.queued.command
        return self._clock.age_s(command.moment, command.accepted_at) > self.line.max_age.total_seconds()

    async def expire(self, item: Item) -> None:
        """End an alarm that is too old to be sent."""
        before = f": {item.error}" if item.error else ""
        await self.complete(item, Outcome.EXPIRED, error=f"older than {self.line.max_age}, not delivered{before}")

    # Alarms

    def _begin_alarm(self, step: Send) -> Work:
        item = self.items[step.number]
        if self.is_too_old(item):
            self.state.drop(step.number)
            return self.expire(item)
        try:
            request = self.line.message(item.queued.command, minimal=step.minimal)
        except FieldError as error:  # stored by another version, or the configuration has changed since
            self.state.drop(step.number)
            return self.complete(item, Outcome.INVALID, error=str(error))
        if step.minimal:
            item.minimal = True
            log.warning("%s: %s goes once more with its mandatory elements only: %s", self.line.name, item, item.error)
        self.state.alarm_began(step.number, now())
        self.state.logins.began(step.tries[0].route.receiver, step.tries[0].login, now())
        return self._alarm(item, step.tries, request)

    async def _alarm(self, item: Item, tries: Sequence[Try], request: AnyRequest) -> None:
        number = item.queued.id
        sent = await self.line.send(tries, request, _Watch(self, number))
        item.add(sent)
        self._log.attempted(item, sent)
        ending = self.state.alarm_attempted(number, sent.attempts, now())
        self.wake()
        match ending:
            case Ending.DELIVERED:
                self.delivered += 1
                duplicate = sent.exchange is not None and sent.exchange.response.duplicate
                await self.complete(item, Outcome.DUPLICATE if duplicate else Outcome.ACCEPTED, sent)
            case Ending.REJECTED:
                await self.complete(item, Outcome.REJECTED, sent)
            case Ending.ROUND_FAILED | Ending.UNAUTHORIZED:
                await self._failed(item, sent, unauthorized=ending is Ending.UNAUTHORIZED)
        await self._settle(sent)

    async def _failed(self, item: Item, sent: Sent, *, unauthorized: bool) -> None:
        self.failures += 1
        refused = result(item, Outcome.UNAUTHORIZED, self._clock.now(), sent) if unauthorized else None
        attempts, error = item.attempts, item.error
        await self._store(
            lambda: self._outbox.failed(item.queued, attempts=attempts, error=error, unauthorized=refused)
        )
        self._reporter.changed(self.line.name)

    async def _report(self, items: Sequence[Item]) -> None:
        self._log.undelivered(items, self.state, now())
        for item in items:
            await self._store(partial(self._outbox.undelivered, item.queued))
        self._reporter.changed(self.line.name)

    # Commanded pings and rotations

    def _begin_ask(self, number: int, tries: Sequence[Try]) -> Work | None:
        self.state.commands.popleft()
        if (item := self.items.get(number)) is None:  # taken out meanwhile
            return None
        try:
            request = self.line.message(item.queued.command)
        except FieldError as error:
            return self.complete(item, Outcome.INVALID, error=str(error))
        if item.queued.command.request is Request.TEST and self._test_age_s(item) > TEST_WITHIN_S:
            return self._give_up_test(item)
        kind = item.queued.command.request
        self.state.ask_began(now(), ping=kind is Request.PING)
        ask = {Request.PING: self._command, Request.AUTH: self._rotate, Request.TEST: self._test}[kind]
        return ask(item, tries, request)

    async def _command(self, item: Item, tries: Sequence[Try], request: AnyRequest) -> None:
        sent = await self._asked(item, tries, request, ping=True)
        outcome = outcome_of(sent)
        await self.complete(item, outcome, sent)
        self.failures += outcome is not Outcome.ACCEPTED
        await self._settle(sent)

    async def _rotate(self, item: Item, tries: Sequence[Try], request: AnyRequest) -> None:
        failure = self._outbox.failure
        refusal = await self.line.rotation_refusal() if failure is None else str(failure)
        logins = self.state.logins
        tries = [each for each in tries if logins.allowed(each.route.receiver, now(), new_alarm=False)]
        if refusal is not None or not tries:
            self.state.ask_ended((), now(), ping=False)
            outcome = Outcome.UNAUTHORIZED if refusal is None else Outcome.INVALID
            await self.complete(item, outcome, error=refusal or _REFUSED)
            return
        for each in tries:
            logins.began(each.route.receiver, Login.ALL, now())
        sent = await self._asked(item, tries, request, ping=False)
        outcome, error = outcome_of(sent), None
        if outcome is Outcome.ACCEPTED:
            outcome, error = await self._take_password(sent)
        await self.complete(item, outcome, sent, error)
        self.failures += outcome is not Outcome.ACCEPTED
        await self._settle(sent)

    async def _asked(
        self, item: Item, tries: Sequence[Try], request: AnyRequest, *, ping: bool, alarm: bool = False
    ) -> Sent:
        sent = await self.line.ask(tries, request, _Watch(self))
        item.add(sent)
        self._log.attempted(item, sent)
        self.state.ask_ended(sent.attempts, now(), ping=ping, alarm=alarm)
        return sent

    async def _take_password(self, sent: Sent) -> tuple[Outcome, str | None]:
        """Store the new password; each receiver has to show next which one it takes."""
        response = sent.exchange.response if sent.exchange else None
        if not isinstance(response, NewAuthResponse) or response.new_authentication is None:
            return Outcome.REJECTED, f"answered {sent.attempts[-1].status} without a new password"
        try:
            await asyncio.to_thread(self.line.passwords.add, Secret(response.new_authentication))
        except StoreError as error:
            return Outcome.REJECTED, f"the new password could not be stored: {error}"
        log.info("%s: the receiver issued a new password; it is stored", self.line.name)
        self.state.check_all()
        return Outcome.ACCEPTED, None

    # Test alarms

    async def _test(self, item: Item, tries: Sequence[Try], request: AnyRequest) -> None:
        only = item.queued.command.route
        on_route = [each for each in tries if only is None or each.route == only]
        sent = await self._asked(item, on_route or tries, request, ping=False, alarm=True)
        outcome = outcome_of(sent)
        ended = outcome is not Outcome.UNREACHABLE or self._test_age_s(item) + _TEST_EACH_S > TEST_WITHIN_S
        if ended:
            await self.complete(item, outcome, sent)
            self.failures += outcome is not Outcome.ACCEPTED
        await self._settle(sent)
        if not ended:
            self.on_its_way -= {task for task in (asyncio.current_task(),) if task}  # a stop does not wait for the rest
            await asyncio.sleep(_TEST_EACH_S)
            self.state.commands.append((item.queued.id, False))

    async def give_up_tests(self) -> None:
        """End the test alarms that could not be begun in time."""
        for command in [*self.state.commands]:
            item = self.items.get(command[0])
            if item is None or item.queued.command.request is not Request.TEST or command not in self.state.commands:
                continue
            if self._test_age_s(item) > TEST_WITHIN_S:
                self.state.commands.remove(command)
                await self._give_up_test(item)

    def _test_age_s(self, item: Item) -> float:
        command = item.queued.command
        return self._clock.age_s(command.moment, command.accepted_at)

    async def _give_up_test(self, item: Item) -> None:
        outcome = Outcome.UNREACHABLE if item.attempts else Outcome.EXPIRED
        await self.complete(item, outcome, error=item.error or f"not sent within {TEST_WITHIN_S:.0f} s")

    # Heartbeats and checks

    async def _ping(self, route: Route, *, heartbeat: bool) -> None:
        tries, peer = (Try(route, Login.ALL, 0.0),), self.line.peers[route]
        async with self.line.network.check_place(peer):
            self.state.ping_began(now())
            sent = await self.line.ask(tries, self.line.client.ping_request(), _Watch(self, waited_for=False))
        attempt = sent.attempts[-1]
        if attempt.status is not None:
            self.line.network.served(peer)
        self.state.ping_ended(attempt, now(), heartbeat=heartbeat)
        if heartbeat:
            self.failures += attempt.answer is not Answer.ACCEPTED
            self._reporter.heartbeat(self.line.name, heartbeat_result(sent, self._clock.now()))
        await self._settle(sent)

    async def _check(self, route: Route) -> None:
        peer = self.line.peers[route]
        async with self.line.network.check_place(peer):
            attempt = await self.line.connect(route)
        if not attempt.error:
            self.line.network.served(peer)
        self.state.connect_ended(attempt, now())

    async def _store(self, write: Callable[[], Awaitable[None]]) -> None:
        """Call `write` until the outbox has taken it."""
        while True:
            try:
                return await write()
            except StoreError as error:
                log.error("%s", error, extra=LASTS)
                await asyncio.sleep(RETRY_S)

    async def _settle(self, sent: Sent) -> None:
        if sent.exchange is not None:
            self._clock.heard(f"{self.line.name} {sent.exchange.receiver}", sent.exchange.clock_offset_s)
        if await self.line.settle(sent):
            self.wake()


class _Watch(Watch):
    """Notes in the line's state how an exchange goes on."""

    def __init__(self, sender: Sender, number: int | None = None, *, waited_for: bool = True) -> None:
        """`number`: of an alarm; `waited_for`: a stop waits for the answer."""
        self._sender = sender
        self._number = number
        self._waited_for = waited_for

    def connecting(self, route: Route) -> None:
        self._sender.state.connecting(route, now())

    def late(self, route: Route) -> None:
        self._sender.state.routes[route].late()

    def sending(self, route: Route) -> None:
        if self._number is not None:
            self._sender.state.sent(self._number, route)
        if self._waited_for and (task := asyncio.current_task()) is not None:
            self._sender.on_its_way.add(task)

    def lost(self, attempt: Attempt) -> None:
        self._sender.state.observed(attempt, now(), alarm=bool(attempt.error))
        self._sender.wake()


def now() -> float:
    """Return the time that the line's state counts by."""
    return asyncio.get_running_loop().time()
