"""What the simulated receiver answers to a request (PROTOCOL.md, Status codes and Simulated receiver)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Literal

from bridge.sos_access.documents import LONGEST
from bridge.sos_access.messages import (
    RESPONSE_TO,
    AlarmRequest,
    AlarmResponse,
    AnyRequest,
    NewAuthRequest,
    NewAuthResponse,
    PingRequest,
    Response,
    parse_request,
)
from bridge.sos_access.simulator.accounts import Accounts
from bridge.sos_access.status import MalformedMessage, Status

Kind = Literal["alarm", "restore", "ping", "auth", "unknown"]

_RESPONSES = {request.ROOT.encode(): response for request, response in RESPONSE_TO.items()}
_ROOT = re.compile(rb"<(" + b"|".join(_RESPONSES) + rb")[\s/>]")


@dataclass(slots=True)
class Rules:
    """Limits of the receiver, in seconds, and the times of the last heartbeats."""

    accounts: Accounts
    ping_interval_min: float
    duplicate_window: float
    heartbeats: bool
    _last_pings: dict[str, float] = field(default_factory=dict)

    def judge(self, request: AnyRequest, at: datetime) -> Status:
        """Return the status for a well-formed request and update accounts and heartbeats."""
        if not self.accounts.authorize(request.transmitter_code, request.transmitter_type, request.authentication):
            return Status.NOT_AUTHORIZED
        match request:
            case PingRequest():
                return self._judge_ping(request.transmitter_code, at.timestamp())
            case AlarmRequest():
                seen = self.accounts.seen(_content(request), at.timestamp(), self.duplicate_window)
                return Status.DUPLICATED_ALARM if seen else Status.OK
            case NewAuthRequest():
                return Status.OK

    def respond(self, request: AnyRequest, status: int, at: datetime) -> Response:
        """Return the response with `status`, with a new password for a successful rotation."""
        kind = RESPONSE_TO[type(request)]
        status, info, arrival_time = int(status), info_for(status), local(at)
        if isinstance(request, NewAuthRequest) and status == Status.OK:
            password = self.accounts.rotate(request.transmitter_code)
            return NewAuthResponse(status, info, password, arrival_time, request.reference)
        return kind(status, info, arrival_time=arrival_time, reference=request.reference)

    def _judge_ping(self, transmitter_code: str, at: float) -> Status:
        if not self.heartbeats:
            return Status.SERVICE_UNAVAILABLE
        last = self._last_pings.get(transmitter_code)
        if last is not None and 0 <= at - last < self.ping_interval_min:
            return Status.PING_TOO_OFTEN
        self._last_pings[transmitter_code] = at
        return Status.OK


def read_request(raw: bytes) -> AnyRequest | Status:
    """Return the request in `raw`, or the status that says what is wrong with it."""
    if len(raw) > LONGEST:
        return Status.INVALID_LENGTH
    try:
        return parse_request(raw)
    except MalformedMessage as error:
        return error.reason


def refuse(raw: bytes, status: int, at: datetime) -> Response:
    """Return the response to an unreadable or refused request, of the type that its root asks for."""
    root = _ROOT.search(raw)
    kind = AlarmResponse if root is None else _RESPONSES[root[1]]
    request = read_request(raw)
    reference = None if isinstance(request, Status) else request.reference
    if kind is NewAuthResponse and status == Status.OK:
        status = Status.OTHER_ERROR  # 0 needs a new password
    return kind(int(status), info_for(status), arrival_time=local(at), reference=reference)


def kind_of(request: AnyRequest | Status) -> Kind:
    match request:
        case AlarmRequest():
            return "restore" if request.alarm_type == "RE" else "alarm"
        case PingRequest():
            return "ping"
        case NewAuthRequest():
            return "auth"
        case _:
            return "unknown"


def info_for(status: int) -> str:
    """Return the info text of a code, also of one outside the table."""
    try:
        return Status(status).info
    except ValueError:
        return "UNKNOWN"


def local(at: datetime) -> datetime:
    """Return local time without a zone, in whole milliseconds, as receivers write it."""
    naive = at.astimezone().replace(tzinfo=None)
    return naive.replace(microsecond=naive.microsecond // 1000 * 1000)


def _content(alarm: AlarmRequest) -> tuple[object, ...]:
    """All elements but the password, so that a retry after a rotation is the same alarm."""
    return tuple(getattr(alarm, each.name) for each in fields(alarm) if each.name != "authentication")
