# ruff: noqa: N818 - the errors have the names of the status table and of the sender's action
"""The status table of SOS Access v4 and an error for each status (PROTOCOL.md, Status codes).

The base class says what the sender does: `Rejected`: no retry helps. `Unauthorized`: try another password, or ask a
person. `Failover`: try the other receiver, then retry. 0 and 10 are not errors: the receiver has the alarm.
"""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum, StrEnum, auto
from typing import Literal

from bridge.common.errors import BridgeError
from bridge.common.text import clean, counted

ReceiverName = Literal["primary", "secondary"]


class Status(IntEnum):
    """The codes of the table; a receiver may answer others."""

    OK = 0
    INVALID_LENGTH = 1
    INVALID_XML = 2
    WRONG_CONTENT = 3
    NOT_AUTHORIZED = 4
    NOT_TREATED_NOT_DISTRIBUTED = 5
    NOT_AUTHORIZED_6 = 6
    """Not in the published table, but in its example of a wrong password."""
    MANDATORY_DATA_MISSING = 7
    SERVICE_UNAVAILABLE = 9
    DUPLICATED_ALARM = 10
    SERVER_ERROR = 98
    OTHER_ERROR = 99
    XML_HEADER_MISSING_OR_INVALID = 100
    PING_TOO_OFTEN = 101

    @property
    def info(self) -> str:
        """The text that receivers send with the code, in the spelling of the table."""
        return _SPELLED.get(self, self.name)


_SPELLED = {
    Status.NOT_AUTHORIZED_6: "NOT_AUTHORIZED",
    Status.SERVICE_UNAVAILABLE: "SERVICE_UNAVAIVABLE",
    Status.PING_TOO_OFTEN: "PING_TO_OFTEN",
}


class SOSAccessError(BridgeError):
    """An exchange that did not deliver; the client sets `receiver` and `attempts`.

    `status`, `info` and `arrival_time` are those of the response; None if there was none.
    """

    def __init__(
        self, text: str, status: int | None = None, info: str | None = None, arrival_time: datetime | None = None
    ) -> None:
        super().__init__(text)
        self.status = status
        self.info = info
        self.arrival_time = arrival_time
        self.receiver: ReceiverName | None = None
        self.attempts = 0


class Rejected(SOSAccessError):
    """The receiver will never take this message; do not retry, show it to a person."""


class InvalidLength(Rejected):
    """1: the message is too long."""


class InvalidXML(Rejected):
    """2: the receiver could not read the message."""


class WrongContent(Rejected):
    """3: an element has a value that the receiver refuses."""


class MandatoryDataMissing(Rejected):
    """7: a mandatory element is missing."""


class ServiceUnavailable(Rejected):
    """9: the operator has not enabled heartbeats for this transmitter; stop them."""

    hint = "heartbeats are not enabled at the operator"


class XMLHeaderMissingOrInvalid(Rejected):
    """100: the XML header is missing or different."""


class PingTooOften(Rejected):
    """101: wait longer between heartbeats; the link is up."""

    hint = "it was pinged a moment ago; try again later"


class Unauthorized(SOSAccessError):
    """4 and 6: wrong transmitter, type or password."""


class NotAuthorized(Unauthorized):
    """4, and 6 as in the example of the published table."""


class Failover(SOSAccessError):
    """This receiver did not take the message; try the other, then retry."""


class NotTreatedNotDistributed(Failover):
    """5: neither treated nor distributed."""


class ServerError(Failover):
    """98: unknown error of the server."""


class OtherError(Failover):
    """99, and every code outside the table, which is kept."""


class Failure(StrEnum):
    """What an exchange without a readable response failed by."""

    REFUSED = auto()
    RESET = auto()
    NO_CONNECTION = auto()
    UNREACHABLE = auto()
    NO_RESPONSE = auto()
    HUNG_UP = auto()
    NO_ADDRESS = auto()
    CERTIFICATE = auto()
    TLS = auto()
    MALFORMED = auto()
    OTHER = auto()


class TransportError(Failover):
    """No readable response (PROTOCOL.md, Transport failures). The text says why."""

    def __init__(self, text: str, failure: Failure = Failure.OTHER) -> None:
        super().__init__(text)
        self.failure = failure


class MalformedMessage(TransportError):
    """Not a message of this protocol; `reason` is the status that a receiver answers."""

    def __init__(self, reason: Status, text: str) -> None:
        super().__init__(text, Failure.MALFORMED)
        self.reason = reason


class ReceiversUnavailable(SOSAccessError):
    """An attempt round failed. `failures` has a (receiver, error) for each attempt, in order.

    `status`, `info` and `arrival_time` are those of the last attempt with a response, if any.
    """

    def __init__(self, failures: tuple[tuple[ReceiverName, Failover], ...]) -> None:
        reasons = "; ".join(dict.fromkeys(f"{receiver}: {error}" for receiver, error in failures))
        super().__init__(f"no receiver took it in {counted(len(failures), 'attempt')} ({reasons})")
        answered = (error for _, error in reversed(failures) if error.status is not None)
        if (last := next(answered, None)) is not None:
            self.status, self.info, self.arrival_time = last.status, last.info, last.arrival_time
        self.failures = failures
        self.attempts = len(failures)
        self.receiver = failures[-1][0] if failures else None

    @property
    def answered(self) -> bool:
        """Whether a receiver answered with a status: the link is up, but the message was not taken."""
        return any(error.status is not None for _, error in self.failures)


_ERRORS: dict[int, type[SOSAccessError]] = {
    Status.INVALID_LENGTH: InvalidLength,
    Status.INVALID_XML: InvalidXML,
    Status.WRONG_CONTENT: WrongContent,
    Status.NOT_AUTHORIZED: NotAuthorized,
    Status.NOT_TREATED_NOT_DISTRIBUTED: NotTreatedNotDistributed,
    Status.NOT_AUTHORIZED_6: NotAuthorized,
    Status.MANDATORY_DATA_MISSING: MandatoryDataMissing,
    Status.SERVICE_UNAVAILABLE: ServiceUnavailable,
    Status.SERVER_ERROR: ServerError,
    Status.OTHER_ERROR: OtherError,
    Status.XML_HEADER_MISSING_OR_INVALID: XMLHeaderMissingOrInvalid,
    Status.PING_TOO_OFTEN: PingTooOften,
}


def error_for(status: int, info: str = "", arrival_time: datetime | None = None) -> SOSAccessError | None:
    """Return the error for a response with `status`, None if the receiver has the message (0 and 10)."""
    if status in (Status.OK, Status.DUPLICATED_ALARM):
        return None
    kind = _ERRORS.get(status, OtherError)
    return kind(f"answered {status} {clean(info)}".rstrip(), status, info, arrival_time)
