"""The SOS Access v4 client: exchanges, and attempt rounds over two receivers (PROTOCOL.md, Failover)."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from inspect import signature
from typing import Any, Concatenate, Generic, Literal, ParamSpec, Protocol, TypeVar, cast

from bridge.common.errors import ConfigError, FieldError
from bridge.common.models import Alarm, PreparedAlarm, Secret
from bridge.common.text import clean
from bridge.sos_access import elements
from bridge.sos_access.connection import Dialer
from bridge.sos_access.messages import (
    RESPONSE_TO,
    AlarmRequest,
    AlarmResponse,
    NewAuthRequest,
    NewAuthResponse,
    PingRequest,
    PingResponse,
    Response,
    SOSAccessRequest,
    check_reference,
)
from bridge.sos_access.peer import Peer, peer_name
from bridge.sos_access.prepare import prepare
from bridge.sos_access.status import (
    Failover,
    MalformedMessage,
    ReceiverName,
    ReceiversUnavailable,
    SOSAccessError,
    error_for,
)
from bridge.sos_access.tls import TlsPolicy, tls_context

_log = logging.getLogger("bridge.sos_access")

_LAST_PORT = 65535
_OPTIONAL = tuple(field.name for field in fields(PreparedAlarm) if field.name not in ("event_code", "urgent"))

C = TypeVar("C")
P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R", bound=Response)
R_co = TypeVar("R_co", bound=Response, covariant=True)


@dataclass(frozen=True, slots=True)
class Exchange(Generic[R_co]):
    """A delivered message: response, receiver, number of attempts, when sent and received (aware times)."""

    response: R_co
    receiver: ReceiverName
    attempts: int
    sent_at: datetime
    received_at: datetime

    @property
    def clock_offset_s(self) -> float | None:
        """The receiver's clock minus ours in seconds, to a millisecond; None without an arrival time.

        Both are taken in our time zone, ours at the middle of the exchange (PROTOCOL.md, Clock offset).
        """
        if self.response.arrival_time is None:
            return None
        middle = self.sent_at + (self.received_at - self.sent_at) / 2
        return round((self.response.arrival_time - middle.astimezone().replace(tzinfo=None)).total_seconds(), 3)


def alarm_method(
    alarm: Callable[P, Alarm],
) -> Callable[[Callable[[C, Alarm], T]], Callable[Concatenate[C, P], T]]:
    """Return a decorator for methods that take an alarm: its fields become their parameters."""

    def decorate(send: Callable[[C, Alarm], T]) -> Callable[Concatenate[C, P], T]:
        def method(self: C, /, *args: P.args, **kwargs: P.kwargs) -> T:
            return send(self, alarm(*args, **kwargs))

        this, _ = signature(send).parameters.values()
        functools.update_wrapper(method, send, updated=())
        vars(method)["__signature__"] = signature(send).replace(
            parameters=[this, *signature(alarm).parameters.values()]
        )
        return method

    return decorate


class Transmit(Protocol):
    """Makes one exchange with one receiver, as `AsyncSOSAccessClient.transmit`."""

    def __call__(self, data: bytes, response_schema: type[R], secondary: bool) -> Awaitable[R]: ...  # noqa: FBT001


class BaseClient:
    """One transmitter and its receivers: its messages, reading answers, and the attempts of a round.

    The parameters are those of the `sos-access` library.

    Times are in seconds. Raises `ConfigError` for what can never work: no secondary receiver without
    `use_single_receiver`, an invalid `tls_verify`, codes and passwords that do not fit their elements.
    """

    MAX_RETRY = 3
    """Attempts on each receiver in a round; subclasses and instances may override it."""

    def __init__(
        self,
        transmitter_code: str,
        transmitter_type: str,
        authentication: str | Secret,
        receiver_id: str,
        receiver_address: tuple[str, int],
        secondary_receiver_address: tuple[str, int] | None = None,
        use_single_receiver: bool = False,  # noqa: FBT001, FBT002 - a parameter of sos-access
        use_tls: bool = False,  # noqa: FBT001, FBT002 - a parameter of sos-access
        *,
        tls_verify: str = "system",
        connect_timeout: float = 5.0,
        response_timeout: float = 10.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`now` returns the time of our clock, aware."""
        if secondary_receiver_address is None and not use_single_receiver:
            raise ConfigError("secondary_receiver_address is missing; give it, or set use_single_receiver")
        self._now = now
        self.transmitter_code = transmitter_code
        self.transmitter_type = transmitter_type
        self.receiver_id = receiver_id
        self.receiver_address = receiver_address
        self.secondary_receiver_address = secondary_receiver_address
        self.use_single_receiver = use_single_receiver
        self.use_tls = use_tls
        self.connect_timeout = connect_timeout
        self.response_timeout = response_timeout
        self._tls_verify = tls_verify
        self._tls_policy: TlsPolicy | None = tls_context(tls_verify) if use_tls else None
        self._dialer = Dialer()
        self.authentication = authentication
        self.other_passwords: tuple[Secret, ...] = ()
        """Passwords that are not sent, but masked as well if a receiver repeats them."""
        self._check()

    def _check(self) -> None:
        try:
            self.ping_request()
            elements.RECEIVER.check(self.receiver_id)
        except FieldError as error:
            raise ConfigError(str(error)) from None
        for address in (self.receiver_address, self.secondary_receiver_address):
            if address is not None and not 0 < address[1] <= _LAST_PORT:
                raise ConfigError(f"port {address[1]} of {peer_name(address)} is out of range (1 to {_LAST_PORT})")

    @property
    def authentication(self) -> str:
        return self._password.reveal()

    @authentication.setter
    def authentication(self, value: str | Secret) -> None:
        self._password = Secret(value)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(transmitter_code={self.transmitter_code!r}, "
            f"transmitter_type={self.transmitter_type!r}, authentication={self._password!r}, "
            f"receiver_id={self.receiver_id!r}, receiver_address={self.receiver_address!r}, "
            f"secondary_receiver_address={self.secondary_receiver_address!r}, "
            f"use_single_receiver={self.use_single_receiver!r}, use_tls={self.use_tls!r})"
        )

    def alarm_request(self, alarm: Alarm, alarm_type: Literal["AL", "RE"]) -> AlarmRequest:
        """Return the message for `alarm`, prepared, with the current password. Raises `FieldError`."""
        return self.prepared_request(prepare(alarm)[0], alarm_type)

    def prepared_request(self, alarm: PreparedAlarm, alarm_type: Literal["AL", "RE"]) -> AlarmRequest:
        return AlarmRequest(
            event_code=alarm.event_code,
            transmitter_type=self.transmitter_type,
            transmitter_code=self.transmitter_code,
            authentication=self._password,
            receiver=self.receiver_id,
            alarm_type=alarm_type,
            **{name: getattr(alarm, name) for name in _OPTIONAL},
        )

    def ping_request(self, reference: str | None = None) -> PingRequest:
        return PingRequest(self._password, self.transmitter_code, self.transmitter_type, reference or None)

    def new_auth_request(self, reference: str | None = None) -> NewAuthRequest:
        return NewAuthRequest(self._password, self.transmitter_code, self.transmitter_type, reference or None)

    async def _transmit(self, data: bytes | str, response_schema: type[R], secondary: bool) -> R:  # noqa: FBT001
        address = self.secondary_receiver_address if secondary else self.receiver_address
        if address is None:
            raise ConfigError("secondary_receiver_address is missing")
        if self.use_tls and self._tls_policy is None:  # it was set later
            self._tls_policy = tls_context(self._tls_verify)
        peer = Peer(
            address,
            self._tls_policy if self.use_tls else None,
            connect_timeout=self.connect_timeout,
            response_timeout=self.response_timeout,
        )
        connection = await self._dialer.connect(peer)
        answer = await connection.exchange(data if isinstance(data, bytes) else data.encode("iso-8859-1"))
        return self.read(response_schema, answer, address)

    def read(self, response_class: type[R], answer: bytes, address: tuple[str, int], *, lenient: bool = False) -> R:
        """Return the response in a receiver's answer, known passwords masked. Raises `MalformedMessage`.

        `lenient`: also malformed XML that has a complete status.
        """
        try:
            response = response_class.from_broken(answer) if lenient else response_class.from_xml(answer)
        except MalformedMessage as error:  # it quotes the peer
            raise MalformedMessage(
                error.reason, f"malformed response from {peer_name(address)}: {self.masked(str(error))}"
            ) from None
        warning = None if response.warning is None else self.masked(response.warning)
        info = self.masked(response.info, response)
        same = info == response.info and warning == response.warning
        return response if same else replace(response, info=info, warning=warning)

    def check_answers(self, request: SOSAccessRequest[Any], response: Response) -> None:
        """Raise `MalformedMessage` if `response` answers another message."""
        try:
            check_reference(request, response)
        except MalformedMessage as error:  # it quotes the peer
            raise MalformedMessage(error.reason, self.masked(str(error))) from None

    def masked(self, text: str, response: Response | None = None) -> str:
        """Return a peer's text without known passwords and without the new password of `response`."""
        given = response.new_authentication if isinstance(response, NewAuthResponse) else None
        for password in (self._password, *self.other_passwords, Secret(given or "")):
            text = password.mask(text)
        return text

    async def _deliver(self, request: SOSAccessRequest[R], transmit: Transmit) -> Exchange[R]:
        """Run one attempt round (PROTOCOL.md, The library's round) and return its exchange."""
        data, response_class = request.to_xml(), cast("type[R]", RESPONSE_TO[type(request)])
        failures: list[tuple[ReceiverName, Failover]] = []
        for attempt, receiver in enumerate(self._round(), 1):
            sent_at = self._now()
            try:
                response = await transmit(data, response_class, receiver == "secondary")
                if (refusal := error_for(response.status, response.info, response.arrival_time)) is not None:
                    raise refusal
                self.check_answers(request, response)
            except SOSAccessError as error:
                error.receiver, error.attempts = receiver, attempt
                _log.debug("%s to %s, attempt %d: %s", request.ROOT, self._name(receiver), attempt, error)
                if not isinstance(error, Failover):
                    raise
                failures.append((receiver, error))
                continue
            answer = f"{response.status} {clean(response.info)}"
            _log.debug("%s to %s, attempt %d: %s", request.ROOT, self._name(receiver), attempt, answer)
            return Exchange(response, receiver, attempt, sent_at, self._now())
        raise ReceiversUnavailable(tuple(failures))

    def _round(self) -> list[ReceiverName]:
        """Return the receivers of a round, in the order of attempts (PROTOCOL.md, The library's round)."""
        receivers: list[ReceiverName] = ["primary"] if self.use_single_receiver else ["primary", "secondary"]
        return receivers * self.MAX_RETRY

    def _name(self, receiver: ReceiverName) -> str:
        address = self.receiver_address if receiver == "primary" else self.secondary_receiver_address
        return receiver if address is None else f"{receiver} {peer_name(address)}"


class AsyncSOSAccessClient(BaseClient):
    """The client for asyncio; `sync.SOSAccessClient` is the blocking one."""

    async def exchange(self, request: SOSAccessRequest[R]) -> Exchange[R]:
        """Run one attempt round and return the exchange that delivered `request`.

        Raises `Rejected` and `Unauthorized` at once, `ReceiversUnavailable` when no attempt of the round delivered.
        """
        return await self._deliver(request, self.transmit)

    async def transmit(
        self,
        data: bytes | str,
        response_schema: type[R],
        secondary: bool = False,  # noqa: FBT001, FBT002 - a parameter of sos-access
    ) -> R:
        """Make one exchange with one receiver and return its response, whatever its status.

        `response_schema` is the response's class. Raises `TransportError`, of which `MalformedMessage` is a subclass,
        and `ConfigError` without a receiver.
        """
        return await self._transmit(data, response_schema, secondary)

    @alarm_method(Alarm)
    async def send_alarm(self, alarm: Alarm) -> AlarmResponse:
        """Send an alarm and return the response that took it (0 or 10).

        Raises `FieldError` before anything is sent; `Rejected`, `Unauthorized` or, once the round has failed,
        `ReceiversUnavailable`.
        """
        return (await self.exchange(self.alarm_request(alarm, "AL"))).response

    @alarm_method(Alarm)
    async def restore_alarm(self, alarm: Alarm) -> AlarmResponse:
        """Restore an alarm; returns and raises as `send_alarm`."""
        return (await self.exchange(self.alarm_request(alarm, "RE"))).response

    async def ping(self, reference: str | None = None) -> PingResponse:
        """Send a heartbeat; raises as `send_alarm`."""
        return (await self.exchange(self.ping_request(reference))).response

    async def request_new_auth(self, reference: str | None = None) -> NewAuthResponse:
        """Ask for a new password. The caller stores it and sets `authentication`. Raises as `send_alarm`."""
        return (await self.exchange(self.new_auth_request(reference))).response
