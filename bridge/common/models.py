"""What the floors share: alarms, results and secrets, as plain frozen values."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, final

from bridge.common.text import timestamp

_SHORTEST_CUT = 8
"""Characters of a secret at the end of a text that count as the secret, cut off; fewer can be there by chance."""


@final
class Secret:
    """A password: shown by no `str`, `repr`, format or traceback, only by `reveal`."""

    __slots__ = ("_value",)

    def __init__(self, value: str | Secret) -> None:
        self._value: str = value.reveal() if isinstance(value, Secret) else value

    def reveal(self) -> str:
        return self._value

    def mask(self, text: str) -> str:
        """Return `text` with `***` in place of this secret, also where the end of `text` cuts it off."""
        if not self._value:
            return text
        text = text.replace(self._value, "***")
        kept = text.removesuffix("…")
        for length in range(len(self._value) - 1, _SHORTEST_CUT - 1, -1):
            if kept.endswith(self._value[:length]):
                return f"{kept[:-length]}***"
        return text

    def __eq__(self, other: object) -> bool:
        """Compare in constant time. JSON can hold halves of characters, which UTF-8 has not: they are compared, too."""
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
    """What was asked of a receiver, as results name it (MQTT contract, Transmitter)."""

    ALARM = "alarm"
    RESTORE = "restore"
    PING = "ping"
    AUTH = "auth"


class Outcome(StrEnum):
    """How a command ended (MQTT contract, Transmitter)."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"
    UNAUTHORIZED = "unauthorized"
    UNREACHABLE = "unreachable"
    EXPIRED = "expired"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Alarm:
    """The fields of the seed's `send_alarm` and `restore_alarm`, as a caller gives them."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How one command ended; fields that do not apply are None (MQTT contract, "A result")."""

    request: Request
    outcome: Outcome
    status: int | None = None
    info: str | None = None
    reference: str | None = None
    event_code: str | None = None
    receiver: str | None = None
    """`primary` or `secondary`."""
    attempts: int | None = None
    arrival_time: datetime | None = None
    clock_offset_s: float | None = None
    """The receiver's clock minus ours, in seconds."""
    accepted_at: datetime | None = None
    completed_at: datetime | None = None
    warnings: tuple[str, ...] = ()
    error: str | None = None

    def as_json(self) -> dict[str, object]:
        """Return it as published (TOPICS.md, Results): fields that do not apply are absent."""
        found: dict[str, object] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None or value == ():
                continue
            found[field.name] = timestamp(value) if isinstance(value, datetime) else value
        return found


@dataclass(frozen=True, slots=True)
class AlarmIdentity:
    """What tells one active alarm from another; '' where not given (MQTT contract, Rules)."""

    event_code: str = ""
    area: str = ""
    section: str = ""
    detector: str = ""

    @classmethod
    def of(cls, alarm: Alarm) -> AlarmIdentity:
        return cls(alarm.event_code, alarm.transmitter_area or "", alarm.section or "", alarm.detector or "")

    @property
    def whole_code(self) -> bool:
        """Whether a restore of it ends every active alarm of the event code."""
        return not (self.area or self.section or self.detector)


NO_ALARM = AlarmIdentity()
"""What a ping or a rotation is about."""


@dataclass(frozen=True, slots=True)
class ActiveAlarm:
    """An alarm that was raised and accepted, and not restored."""

    identity: AlarmIdentity
    since: datetime
    reference: str | None


@dataclass(frozen=True, slots=True)
class NamedAlarm:
    """An alarm of the configuration, set by `ON` and `OFF`."""

    key: str
    name: str
    alarm: Alarm
    restore_event_code: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """Where an MQTT 5 command wants its result, beside the topic that always gets it."""

    topic: str
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment by the steady clock (`bridge.common.clock`); `boot` empty: not known."""

    boot: str = ""
    steady: float = 0.0
    sure: bool = False
    """Whether the wall clock was proved right at that moment."""


NO_MOMENT = Moment()


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command that was understood: `alarm` is prepared for sending, or None for a ping or a rotation."""

    transmitter: str
    request: Request
    accepted_at: datetime
    moment: Moment = Moment()
    """The same, whatever becomes of the wall clock."""
    alarm: Alarm | None = None
    identity: AlarmIdentity = NO_ALARM
    reference: str | None = None
    warnings: tuple[str, ...] = ()
    reply: Reply | None = None
