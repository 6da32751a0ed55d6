"""Values that all packages share: alarms, commands, results and secrets; frozen."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar, final

from bridge.common.text import present

_SHORTEST_CUT = 8
"""A truncated secret is masked from this many characters on; fewer can match by chance."""


@final
class Secret:
    """A password; only `reveal` shows it, not `str`, `repr`, format or a traceback."""

    __slots__ = ("_value",)

    def __init__(self, value: str | Secret) -> None:
        self._value: str = value.reveal() if isinstance(value, Secret) else value

    def reveal(self) -> str:
        return self._value

    def mask(self, text: str) -> str:
        """Return `text` with `***` in place of this secret, also if the end of `text` truncates it."""
        if not self._value:
            return text
        text = text.replace(self._value, "***")
        kept = text.removesuffix("…")
        for length in range(len(self._value) - 1, _SHORTEST_CUT - 1, -1):
            if kept.endswith(self._value[:length]):
                return f"{kept[:-length]}***"
        return text

    def __eq__(self, other: object) -> bool:
        """Compare in constant time, lone surrogates from JSON included."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(*(each.reveal().encode("utf-8", "surrogatepass") for each in (self, other)))

    def __hash__(self) -> int:
        return hash(self._value)

    def __len__(self) -> int:
        return len(self._value)

    def __repr__(self) -> str:
        return "Secret('**********')"

    def __str__(self) -> str:
        return "**********"

    def __reduce__(self) -> Any:  # noqa: ANN401 - the signature of object.__reduce__
        raise TypeError("a Secret is not pickled")


class Request(StrEnum):
    """What a command asks of a receiver, as results name it (TOPICS.md, Results)."""

    ALARM = "alarm"
    RESTORE = "restore"
    PING = "ping"
    AUTH = "auth"
    TEST = "test"
    """A test alarm: never active, never reported as undelivered."""


class Outcome(StrEnum):
    """How a command ended (TOPICS.md, Results)."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"
    UNAUTHORIZED = "unauthorized"
    UNREACHABLE = "unreachable"
    EXPIRED = "expired"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm as a caller gives it (TOPICS.md, Alarm payload; sos_access/PROTOCOL.md, alarmrequest)."""

    event_code: str
    transmitter_time: datetime | str | None = None
    reference: str | None = None
    transmitter_area: str | None = None
    section: str | None = None
    section_text: str | None = None
    detector: str | None = None
    detector_text: str | None = None
    additional_info: str | Mapping[str, object] | Iterable[object] | None = None
    position: str | Mapping[str, float] | None = None
    urgent: bool = False
    """Whether it goes before alarms that are not; receivers never see it."""

    def given(self) -> dict[str, Any]:
        """Return the fields that have a value, `urgent` only where it is true."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in values if value is not None and value is not False}


AlarmT = TypeVar("AlarmT", bound=Alarm)


@dataclass(frozen=True, slots=True)
class PreparedAlarm(Alarm):
    """An alarm that can be sent as it is. Only `prepare.prepare` makes one; the store reads it back."""

    transmitter_time: str | None = None
    additional_info: str | None = None
    position: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How one command ended (TOPICS.md, Results); fields that do not apply are None."""

    request: Request
    outcome: Outcome
    status: int | None = None
    info: str | None = None
    reference: str | None = None
    event_code: str | None = None
    receiver: str | None = None
    """`primary` or `secondary`."""
    path: str | None = None
    """The network path, where paths are configured."""
    attempts: int | None = None
    arrival_time: datetime | None = None
    clock_offset_s: float | None = None
    """The receiver's clock minus ours, in seconds."""
    accepted_at: datetime | None = None
    completed_at: datetime | None = None
    warnings: tuple[str, ...] = ()
    error: str | None = None

    def as_json(self) -> dict[str, object]:
        """Return the published form (TOPICS.md, Results): fields that do not apply are absent."""
        return present({field.name: getattr(self, field.name) for field in fields(self)})


@dataclass(frozen=True, slots=True)
class AlarmIdentity:
    """The fields that identify an active alarm; '' where not given (TOPICS.md, Commands)."""

    event_code: str = ""
    area: str = ""
    section: str = ""
    detector: str = ""

    @classmethod
    def of(cls, alarm: Alarm) -> AlarmIdentity:
        return cls(alarm.event_code, alarm.transmitter_area or "", alarm.section or "", alarm.detector or "")

    @property
    def whole_code(self) -> bool:
        """Whether a restore ends every active alarm of the event code (TOPICS.md, Commands)."""
        return not (self.area or self.section or self.detector)


NO_ALARM = AlarmIdentity()
"""The identity of a ping or a rotation."""


@dataclass(frozen=True, slots=True)
class ActiveAlarm:
    """An alarm that was raised and accepted and is not restored."""

    identity: AlarmIdentity
    since: datetime
    reference: str | None


@dataclass(frozen=True, slots=True)
class NamedAlarm:
    """A configured alarm, raised by `ON` and restored by `OFF`."""

    key: str
    name: str
    alarm: Alarm
    restore_event_code: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """The MQTT 5 response topic of a command, which gets the result as well (TOPICS.md, Commands)."""

    topic: str
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class Incoming:
    """A received MQTT message. `mid` is None with QoS 0."""

    topic: str
    payload: bytes
    retained: bool
    duplicate: bool
    mid: int | None
    reply: Reply | None


@dataclass(frozen=True, slots=True)
class Moment:
    """A time of the steady clock (`bridge.common.clock`); unknown if `boot` is empty."""

    boot: str = ""
    steady: float = 0.0
    sure: bool = False
    """Whether a receiver's time confirmed the wall clock then."""


NO_MOMENT = Moment()


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A valid command; `alarm` is None for a ping or a rotation."""

    transmitter: str
    request: Request
    accepted_at: datetime
    moment: Moment = Moment()
    """`accepted_at` by the steady clock."""
    alarm: PreparedAlarm | None = None
    identity: AlarmIdentity = NO_ALARM
    reference: str | None = None
    warnings: tuple[str, ...] = ()
    reply: Reply | None = None
    route: tuple[str, str] | None = None
    """The only receiver and path that a test alarm goes over; None: any."""

    def ended(self, outcome: Outcome, at: datetime, **details: Any) -> Result:  # noqa: ANN401 - fields of any type
        """Return its result; `details` are the fields of `Result` that the command does not have."""
        return Result(
            request=self.request,
            outcome=outcome,
            reference=self.reference,
            event_code=self.alarm.event_code if self.alarm else None,
            accepted_at=self.accepted_at,
            completed_at=at,
            **details,
        )
