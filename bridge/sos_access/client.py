"""The SOS Access v4 client: one exchange with one receiver, and attempt rounds over two (protocol page, Failover)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Generic, Literal, TypeVar, overload

from bridge.common.errors import ConfigError, FieldError
from bridge.common.models import Alarm, Secret
from bridge.common.text import clean
from bridge.sos_access import elements
from bridge.sos_access.messages import (
    RESPONSE_TO,
    AlarmRequest,
    AlarmResponse,
    NewAuthRequest,
    NewAuthResponse,
    PingRequest,
    PingResponse,
    Response,
)
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
from bridge.sos_access.transport import CLOSE_TIMEOUT, TCPTransport, peer_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_log = logging.getLogger("bridge.sos_access")

_LAST_PORT = 65535

R = TypeVar("R", bound=Response)
R_co = TypeVar("R_co", bound=Response, covariant=True)
Address = tuple[str, int]
AnyRequest = AlarmRequest | PingRequest | NewAuthRequest


@dataclass(frozen=True, slots=True)
class Exchange(Generic[R_co]):
    """A delivered message: what was answered, by whom, at which attempt, and when it went and came (aware, UTC)."""

    response: R_co
    receiver: ReceiverName
    attempts: int
    sent_at: datetime
    received_at: datetime

    @property
    def clock_offset_s(self) -> float | None:
        """The receiver's clock minus ours in seconds, to a millisecond; None if it told no time.

        Both are taken as times of our time zone, ours at the exchange's middle.
        """
        if self.response.arrival_time is None:
            return None
        middle = self.sent_at + (self.received_at - self.sent_at) / 2
        return round((self.response.arrival_time - middle.astimezone().replace(tzinfo=None)).total_seconds(), 3)


class SOSAccessClient:
    """One transmitter at its receivers (seed, API Reference); exchanges do not share connections.

    Times are in seconds. Raises `ConfigError` for what can never work: no secondary receiver without
    `use_single_receiver`, a bad `tls_verify`, codes and passwords that do not fit their elements.
    """

    MAX_RETRY = 3
    """Attempts on each receiver in a round; subclasses may have another."""

    def __init__(
        self,
        transmitter_code: str,
        transmitter_type: str,
        authentication: str | Secret,
        receiver_id: str,
        receiver_address: Address,
        secondary_receiver_address: Address | None = None,
        use_single_receiver: bool = False,  # noqa: FBT001, FBT002 - the seed's parameter
        use_tls: bool = False,  # noqa: FBT001, FBT002 - the seed's parameter
        *,
        tls_verify: str = "none",
        connect_timeout: float = 5.0,
        response_timeout: float = 10.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`now` tells the time by our clock, aware."""
        if secondary_receiver_address is None and not use_single_receiver:
            raise ConfigError("a secondary receiver is needed, or use_single_receiver")
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
        self._tls_policy: TlsPolicy | None = tls_context(tls_verify) if use_tls else None
        self.authentication = authentication
        self.other_passwords: tuple[Secret, ...] = ()
        """Passwords that are not sent but masked as well where a receiver repeats them."""
        self._check()

    def _check(self) -> None:
        try:
            self.ping_request()
            elements.RECEIVER.check(self.receiver_id)
        except FieldError as error:
            raise ConfigError(str(error)) from None
        for address in (self.receiver_address, self.secondary_receiver_address):
            if address is not None and not 0 < address[1] <= _LAST_PORT:
                raise ConfigError(f"{peer_name(address)} has no port of 1 to {_LAST_PORT}")

    @property
    def authentication(self) -> Secret:
        """The password that goes with the next message."""
        return self._authentication

    @authentication.setter
    def authentication(self, value: str | Secret) -> None:
        self._authentication = Secret(value)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(transmitter_code={self.transmitter_code!r}, "
            f"transmitter_type={self.transmitter_type!r}, authentication={self.authentication!r}, "
            f"receiver_id={self.receiver_id!r}, receiver_address={self.receiver_address!r}, "
            f"secondary_receiver_address={self.secondary_receiver_address!r}, "
            f"use_single_receiver={self.use_single_receiver!r}, use_tls={self.use_tls!r})"
        )

    async def send_alarm(
        self,
        event_code: str,
        transmitter_time: datetime | str | None = None,
        reference: str | None = None,
        transmitter_area: str | None = None,
        section: str | None = None,
        section_text: str | None = None,
        detector: str | None = None,
        detector_text: str | None = None,
        additional_info: str | Mapping[str, object] | Iterable[object] | None = None,
        position: str | Mapping[str, float] | None = None,
    ) -> AlarmResponse:
        """Send an alarm and return the response that took it (0 or 10).

        Raises `FieldError` before anything is sent; `Rejected`, `Unauthorized` or, once the round has failed,
        `ReceiversUnavailable`.
        """
        alarm = Alarm(
            event_code,
            transmitter_time,
            reference,
            transmitter_area,
            section,
            section_text,
            detector,
            detector_text,
            additional_info,
            position,
        )
        return (await self.exchange(self.alarm_request(alarm, "AL"))).response

    async def restore_alarm(
        self,
        event_code: str,
        transmitter_time: datetime | str | None = None,
        reference: str | None = None,
        transmitter_area: str | None = None,
        section: str | None = None,
        section_text: str | None = None,
        detector: str | None = None,
        detector_text: str | None = None,
        additional_info: str | Mapping[str, object] | Iterable[object] | None = None,
        position: str | Mapping[str, float] | None = None,
    ) -> AlarmResponse:
        """Restore an alarm; returns and raises as `send_alarm`."""
        alarm = Alarm(
            event_code,
            transmitter_time,
            reference,
            transmitter_area,
            section,
            section_text,
            detector,
            detector_text,
            additional_info,
            position,
        )
        return (await self.exchange(self.alarm_request(alarm, "RE"))).response

    async def ping(self, reference: str | None = None) -> PingResponse:
        """Send a heartbeat; raises as `send_alarm`."""
        return (await self.exchange(self.ping_request(reference))).response

    async def request_new_auth(self, reference: str | None = None) -> NewAuthResponse:
        """Ask for a new password; keeping it, and setting `authentication`, is the caller's. Raises as `send_alarm`."""
        return (await self.exchange(self.new_auth_request(reference))).response

    def alarm_request(self, alarm: Alarm, alarm_type: Literal["AL", "RE"]) -> AlarmRequest:
        """Return the message for `alarm`, made fit by `texts.prepare`, with the current password."""
        return self.prepared_request(prepare(alarm)[0], alarm_type)

    def prepared_request(self, fields: Alarm, alarm_type: Literal["AL", "RE"]) -> AlarmRequest:
        """Return the message for an alarm that `texts.prepare` gave."""
        return AlarmRequest(
            event_code=fields.event_code,
            transmitter_type=self.transmitter_type,
            transmitter_code=self.transmitter_code,
            authentication=self.authentication,
            receiver=self.receiver_id,
            alarm_type=alarm_type,
            **{name: getattr(fields, name) for name in _OPTIONAL},
        )

    def ping_request(self, reference: str | None = None) -> PingRequest:
        return PingRequest(self.authentication, self.transmitter_code, self.transmitter_type, reference or None)

    def new_auth_request(self, reference: str | None = None) -> NewAuthRequest:
        return NewAuthRequest(self.authentication, self.transmitter_code, self.transmitter_type, reference or None)

    async def transmit(
        self,
        data: bytes | str,
        response_class: type[R],
        secondary: bool = False,  # noqa: FBT001, FBT002 - the seed's parameter
    ) -> R:
        """Make one exchange with one receiver and return its response, whatever its status.

        Raises `TransportError`, with it `MalformedMessage` for nonsense.
        """
        address = self.secondary_receiver_address if secondary else self.receiver_address
        if address is None:
            raise ConfigError("there is no secondary receiver")
        transport = TCPTransport(
            address,
            self.use_tls,
            self.connect_timeout,
            response_timeout=self.response_timeout,
            tls_verify=self._tls_policy or "none",
        )
        try:
            async with transport:
                await transport.send(data if isinstance(data, bytes) else data.encode("iso-8859-1"))
                answer = await transport.receive()
            response = response_class.from_xml(answer)
        except MalformedMessage as error:  # it quotes what the peer sent
            raise MalformedMessage(
                error.reason, f"nonsense from {peer_name(address)}: {self._masked(str(error))}"
            ) from None
        return replace(response, info=self._masked(response.info, response))

    def _masked(self, text: str, response: Response | None = None) -> str:
        """Return what a peer said without the passwords that are known here, and the one that it gave out with it."""
        given = response.new_authentication if isinstance(response, NewAuthResponse) else None
        for password in (self.authentication, *self.other_passwords, *([given] if given else [])):
            text = password.mask(text)
        return text

    @overload
    async def exchange(self, request: AlarmRequest) -> Exchange[AlarmResponse]: ...
    @overload
    async def exchange(self, request: PingRequest) -> Exchange[PingResponse]: ...
    @overload
    async def exchange(self, request: NewAuthRequest) -> Exchange[NewAuthResponse]: ...
    async def exchange(self, request: AnyRequest) -> Exchange[Response]:
        """Run one attempt round and return the exchange that delivered `request`.

        Raises `Rejected` and `Unauthorized` at once, `ReceiversUnavailable` when no attempt of the round delivered.
        """
        data, response_class = request.to_xml(), RESPONSE_TO[type(request)]
        failures: list[tuple[ReceiverName, Failover]] = []
        for attempt, receiver in enumerate(self._round(), 1):
            sent_at = self._now()
            try:
                response = await self._attempt(data, response_class, receiver)
            except SOSAccessError as error:
                error.receiver, error.attempts = receiver, attempt
                _log.warning("%s to %s, attempt %d: %s", request.ROOT, self._name(receiver), attempt, error)
                if not isinstance(error, Failover):
                    raise
                failures.append((receiver, error))
                continue
            said = f"{response.status} {clean(response.info)}"
            # Two thousand heartbeats a day are no news, and the log is on the same card as the store.
            level = logging.DEBUG if isinstance(request, PingRequest) else logging.INFO
            _log.log(level, "%s to %s, attempt %d: %s", request.ROOT, self._name(receiver), attempt, said)
            return Exchange(response, receiver, attempt, sent_at, self._now())
        raise ReceiversUnavailable(tuple(failures))

    def _round(self) -> list[ReceiverName]:
        """Return whom the attempts of a round go to, in order."""
        receivers: list[ReceiverName] = ["primary"] if self.use_single_receiver else ["primary", "secondary"]
        return receivers * self.MAX_RETRY

    async def _attempt(self, data: bytes, response_class: type[R], receiver: ReceiverName) -> R:
        response = await self.transmit(data, response_class, secondary=receiver == "secondary")
        if (error := error_for(response.status, response.info, response.arrival_time)) is not None:
            raise error
        return response

    @property
    def longest_round_s(self) -> float:
        """What a round takes at most: connecting, sending, the answer and hanging up, at each attempt."""
        return len(self._round()) * (2 * self.connect_timeout + self.response_timeout + CLOSE_TIMEOUT)

    def _name(self, receiver: ReceiverName) -> str:
        address = self.receiver_address if receiver == "primary" else self.secondary_receiver_address
        return receiver if address is None else f"{receiver} {peer_name(address)}"


_OPTIONAL = (
    "transmitter_time",
    "reference",
    "transmitter_area",
    "section",
    "section_text",
    "detector",
    "detector_text",
    "additional_info",
    "position",
)
