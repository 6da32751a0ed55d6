"""One transmitter's routes to its receivers: its messages, its passwords, and single exchanges."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from bridge.common.clock import Clock
from bridge.common.errors import StoreError
from bridge.common.lasting import LASTS
from bridge.common.models import Command, PreparedAlarm, Request, Secret
from bridge.common.text import clean
from bridge.sos_access.client import AsyncSOSAccessClient, Exchange
from bridge.sos_access.connection import Connection
from bridge.sos_access.messages import RESPONSE_TO, AnyRequest, Response
from bridge.sos_access.peer import Peer
from bridge.sos_access.race import Entrant, Observer, RaceFailed, RaceOutcome, race
from bridge.sos_access.status import ReceiverName, SOSAccessError, TransportError, error_for
from bridge.store.passwords import Passwords
from bridge.transmitters.attempts import Attempt
from bridge.transmitters.logins import Login
from bridge.transmitters.network import Network
from bridge.transmitters.routes import SERVING, Answer, Route
from bridge.transmitters.schedule import Try

log = logging.getLogger(__name__)


class Watch:
    """Callbacks during an exchange, and at the end of connections that lost its race; no-ops by default."""

    def connecting(self, route: Route) -> None:
        """A connection is begun."""

    def late(self, route: Route) -> None:
        """It takes so long that the next route is begun."""

    def sending(self, route: Route) -> None:
        """The document goes out."""

    def lost(self, attempt: Attempt) -> None:
        """A connection that lost the race was made, or failed."""


class AnswerVerdict(NamedTuple):
    """A password that a receiver accepted or refused."""

    receiver: str
    password: Secret
    accepted: bool


class Sent(NamedTuple):
    """What became of a message: the attempts, one for each route tried, in order; any last answer."""

    attempts: tuple[Attempt, ...]
    exchange: Exchange[Response] | None = None
    path: str = ""
    """The network path of the answer."""
    logins: tuple[AnswerVerdict, ...] = ()

    @property
    def faults(self) -> list[str]:
        """What went wrong, in the words of a log line."""
        return [f"{_named(attempt.route)}: {attempt.error}" for attempt in self.attempts if attempt.error]


@dataclass(slots=True)
class Line:
    """One transmitter's connection to its receivers."""

    name: str
    client: AsyncSOSAccessClient
    passwords: Passwords
    peers: Mapping[Route, Peer]
    network: Network
    clock: Clock
    heartbeat: float | None = None
    """The heartbeat level agreed with the operator, in seconds; None for off."""
    check_idle_every: float = 3600.0
    undelivered_after: float = 30.0
    max_age: timedelta = timedelta(hours=24)
    owns_passwords: bool = True
    """Whether this program stores which password worked; only one program may."""
    shared_as: str = ""
    """Before the names of receivers in `passwords`, where several transmitters have one account."""
    _confirmed: dict[str, Secret | None] = field(default_factory=dict)
    """The password that each receiver accepted last, as it is stored."""

    def message(self, command: Command, *, minimal: bool = False) -> AnyRequest:
        """Return the message for `command`, `minimal` with its mandatory elements only. Raises FieldError."""
        if command.alarm is not None:
            alarm = PreparedAlarm(command.alarm.event_code) if minimal else command.alarm
            return self.client.prepared_request(alarm, "RE" if command.request is Request.RESTORE else "AL")
        if command.request is Request.AUTH:
            return self.client.new_auth_request(command.reference)
        return self.client.ping_request(command.reference)

    async def send(self, tries: Sequence[Try], request: AnyRequest, watch: Watch) -> Sent:
        """Race connections on `tries`, and send `request` on the first, and on that one only."""
        entrants = [Entrant(self.peers[each.route], each.race_after_s) for each in tries]

        def lost(outcome: RaceOutcome) -> None:
            watch.lost(self._connected(tries[outcome.index].route, outcome))

        def late(index: int) -> None:
            route = tries[index].route
            watch.late(route)
            self.network.tell(self.peers[route], self, None)

        observer = Observer(lambda index: watch.connecting(tries[index].route), late, lost)
        try:
            winner = await race(self.network.dialer, entrants, observer)
        except RaceFailed as error:
            return Sent(tuple(self._connected(tries[each.index].route, each) for each in error.outcomes))
        failed = tuple(self._connected(tries[each.index].route, each) for each in winner.failed)
        tried = tries[winner.index]
        self._connected(tried.route, RaceOutcome(0, winner.took_s))
        sent = await self._converse(tried, request, winner.connection, winner.took_s, watch)
        return sent._replace(attempts=failed + sent.attempts)

    async def ask(self, tries: Sequence[Try], request: AnyRequest, watch: Watch) -> Sent:
        """Send `request` on one route after the other until a receiver accepts the password and the message.

        A receiver that has answered is not asked again over another path.
        """
        sent = Sent(())
        answered: set[str] = set()
        for each in tries:
            if each.route.receiver in answered:
                continue
            watch.connecting(each.route)
            found = await self._asked(each, request, watch)
            sent = (found if found.exchange else sent)._replace(
                attempts=sent.attempts + found.attempts,
                logins=sent.logins + found.logins,
            )
            if found.attempts[-1].status in SERVING:
                break
            if found.attempts[-1].status is not None:
                answered.add(each.route.receiver)
        return sent

    async def connect(self, route: Route) -> Attempt:
        """Connect, TLS included, and hang up."""
        outcome, connection = await self._dial(route)
        if connection is not None:
            connection.close()
        return self._connected(route, outcome)

    async def exchange(self, request: AnyRequest) -> Exchange[Response]:
        """Send `request` outside the schedule, route by route until it is taken. Raises SOSAccessError."""
        tries = [Try(route, Login.ALL, 0.0) for route in self.peers]
        sent = await self.ask(tries, request, Watch())
        await self.settle(sent)
        error: SOSAccessError | None = TransportError("; ".join(sent.faults))
        if sent.exchange is not None:
            response = sent.exchange.response
            error = error_for(response.status, response.info, response.arrival_time)
        if error is not None or sent.exchange is None:
            raise error or TransportError("no receiver")
        return replace(sent.exchange, attempts=len(sent.attempts))

    async def rotation_refusal(self) -> str | None:
        """Return why no rotation may be requested now, such as no space to store it; None if one may."""
        if self.passwords.rotation_refusal is None:
            try:
                await asyncio.to_thread(self.passwords.check_writable)
            except StoreError as error:
                return str(error)
        return self.passwords.rotation_refusal

    async def settle(self, sent: Sent) -> bool:
        """Store which passwords were accepted or refused; return whether that was news."""
        if not self.owns_passwords:
            return False
        known = self._confirmed
        news = [each for each in sent.logins if not each.accepted or known.get(each.receiver) != each.password]
        for each in news:
            change = self.passwords.confirm if each.accepted else self.passwords.refuse
            try:
                await asyncio.to_thread(change, each.receiver, each.password)
            except StoreError as error:  # they stay on disk as they were; the message was delivered
                log.error("%s: %s", self.name, error, extra=LASTS)
            else:
                known[each.receiver] = each.password if each.accepted else None
        return bool(news)

    async def _asked(self, tried: Try, request: AnyRequest, watch: Watch) -> Sent:
        outcome, connection = await self._dial(tried.route)
        connected = self._connected(tried.route, outcome)
        if connection is None:
            return Sent((connected,))
        return await self._converse(tried, request, connection, outcome.took_s, watch)

    async def _dial(self, route: Route) -> tuple[RaceOutcome, Connection | None]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            connection = await self.network.dialer.connect(self.peers[route])
        except TransportError as error:
            return RaceOutcome(0, loop.time() - began, error), None
        return RaceOutcome(0, loop.time() - began), connection

    def _connected(self, route: Route, outcome: RaceOutcome) -> Attempt:
        """Return how connecting ended, which others at the same address learn as well."""
        attempt = Attempt(route, took_s=outcome.took_s)
        if outcome.error is not None:
            attempt = Attempt(route, error=str(outcome.error), connected=False, failure=outcome.error.failure)
        self.network.tell(self.peers[route], self, attempt)
        return attempt

    async def _converse(
        self, tried: Try, request: AnyRequest, connection: Connection | None, took_s: float, watch: Watch
    ) -> Sent:
        """Send `request` with each password that may be tried, until one is not refused."""
        route, peer = tried.route, self.peers[tried.route]
        watch.sending(route)
        receiver = f"{self.shared_as}{route.receiver}"
        self.client.other_passwords = self.passwords.candidates(receiver)
        candidates = self.client.other_passwords[: 1 if tried.login is Login.LIKELIEST else None]
        attempt = Attempt(route, error="no password")
        logins: list[AnswerVerdict] = []
        found: Exchange[Response] | None = None
        for password in candidates:
            sent_at = self.clock.now()
            try:
                connection = connection or await self.network.dialer.connect(peer)
                response = await self._answer(connection, _with(request, password))
            except TransportError as error:
                attempt = Attempt(route, error=str(error), took_s=took_s, failure=error.failure)
                break
            connection = None
            found = self._exchange(response, route, sent_at)
            attempt = _attempt(tried, response, took_s)
            refused = attempt.answer is Answer.UNAUTHORIZED
            if refused or response.status in SERVING:
                logins.append(AnswerVerdict(receiver, password, not refused))
            if not refused:
                break
        if attempt.status is None:
            found = None
        return Sent((attempt,), found, route.path, tuple(logins))

    async def _answer(self, connection: Connection, request: AnyRequest) -> Response:
        if not self.network.permit():
            connection.abort()
            raise TransportError("not sent: the database did not confirm in time that this node is the owner")
        loop = asyncio.get_running_loop()
        began = loop.time()
        raw = await connection.exchange(request.to_xml())
        self.network.answered(loop.time() - began)
        response = self.client.read(RESPONSE_TO[type(request)], raw, connection.peer.address, lenient=True)
        self.client.check_answers(request, response)
        return response

    def _exchange(self, response: Response, route: Route, sent_at: datetime) -> Exchange[Response]:
        receiver: ReceiverName = "primary" if route.receiver == "primary" else "secondary"
        text = "%s: %s: answered %d %s"
        fields = {"transmitter": self.name, "receiver": route.receiver}
        log.debug(text, self.name, _named(route), response.status, clean(response.info), extra=fields)
        return Exchange(response, receiver, 1, sent_at, self.clock.now())


def _attempt(tried: Try, response: Response, took_s: float) -> Attempt:
    error = error_for(response.status, response.info)
    text = "" if error is None else str(error)
    return Attempt(tried.route, response.status, text, login=tried.login, took_s=took_s)


def _with(request: AnyRequest, password: Secret) -> AnyRequest:
    return request if request.authentication == password else replace(request, authentication=password)


def _named(route: Route) -> str:
    return f"{route.receiver} over {route.path}" if route.path else route.receiver
