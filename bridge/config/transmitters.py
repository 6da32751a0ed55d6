"""The settings of transmitters: receivers, network paths, named alarms, test alarms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import time
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from bridge.common.errors import BridgeError, FieldError
from bridge.common.models import Alarm, AlarmIdentity, NamedAlarm
from bridge.config.types import (
    Address,
    AsText,
    Duration,
    Interface,
    IpAddress,
    Name,
    Password,
    Table,
    TimeOfDay,
    TlsName,
    host_port,
)
from bridge.sos_access.prepare import check_event_code, prepare
from bridge.sos_access.tls import tls_context
from bridge.transmitters.timetable import Timetable, default_at

_LEVELS = {"90s": 90.0, "180s": 180.0, "5h": 18000.0, "25h": 90000.0}
_DAY_S = 86400


def checked(check: Callable[[str], object]) -> AfterValidator:
    """Return a validator that turns the errors of `check` into errors of the configuration."""

    def validated(value: str) -> str:
        try:
            check(value)
        except FieldError as error:
            raise ValueError(error.fault) from None
        except BridgeError as error:
            raise ValueError(str(error)) from None
        return value

    return AfterValidator(validated)


EventCode = Annotated[str, checked(check_event_code)]
OptionalCode = Annotated[str, checked(lambda value: value and check_event_code(value))]
TlsVerify = Annotated[str, checked(lambda value: value in ("system", "none") or tls_context(value))]


class AlarmSettings(Table):
    """A named alarm, which is a switch in Home Assistant."""

    key: Name = Field(description="name in topics, never changed: small letters, digits, - and _")
    name: str = Field(min_length=1, description="name of the switch")
    event_code: str = Field(description="event code, as agreed with the operator; 1 to 25 characters")
    restore_event_code: OptionalCode | None = Field(
        None, description="for operators that expect another code for a restore"
    )
    transmitter_area: str | None = Field(None, description="area; 1 to 5 characters")
    section: str | None = Field(None, description="section; 1 to 5 characters")
    section_text: str | None = Field(None, description="name of the section; up to 40 characters")
    detector: str | None = Field(None, description="detector; 1 to 5 characters")
    detector_text: str | None = Field(None, description="name of the detector; up to 40 characters")
    additional_info: str | dict[str, str] | list[str] | None = Field(
        None, description="more for the operator; up to 2000 characters"
    )
    position: str | dict[str, float] | None = Field(
        None, description="`{ lat = 59.33, lon = 18.07 }`, `{ x = …, y = … }` or finished text"
    )
    urgent: bool = Field(default=False, description="whether it goes before alarms that are not urgent")

    @model_validator(mode="after")
    def _sendable(self) -> Self:
        try:
            self.named()
        except BridgeError as error:
            raise ValueError(str(error)) from None
        return self

    def named(self) -> NamedAlarm:
        """Return the alarm, prepared. Raises FieldError."""
        given = self.model_dump(exclude={"key", "name", "restore_event_code"}, exclude_none=True)
        alarm, _ = prepare(Alarm(**given))
        return NamedAlarm(self.key, self.name, alarm, self.restore_event_code)


class PathSettings(Table):
    """A network path to the receivers: an interface, or a source address that has its own routing rule."""

    name: Name = Field(description="name in topics")
    interface: Interface | None = Field(None, description="network interface, such as `eth0`")
    source: IpAddress | None = Field(None, description="source address, which needs a routing rule of its own")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.interface is None) == (self.source is None):
            raise ValueError('a path has either an interface, such as "eth0", or a source, such as "192.168.8.100"')
        return self


class ReceiverSettings(Table):
    """The account of a transmitter, and the receivers that know it."""

    name: Name = Field(description="name in topics: small letters, digits, - and _")
    transmitter_code: str = Field(min_length=1, max_length=15, description="the operator's code for this transmitter")
    transmitter_type: str = Field(min_length=5, max_length=5, description="type at the operator, such as `SV301`")
    authentication: Password = Field(
        min_length=15, max_length=15, description="the operator's first password; later ones are in the store"
    )
    receiver_id: str = Field(min_length=1, max_length=20, description="the operator's receiver id")
    receiver: Address = Field(description="`host:port` of the primary receiver")
    secondary_receiver: Address | None = Field(None, description="`host:port` of the secondary receiver")
    use_single_receiver: bool = Field(default=False, description="required if there is no secondary receiver")
    use_tls: bool = Field(default=False, description="whether the receivers are reached over TLS")
    tls_verify: TlsVerify = Field(
        "system", description="`system`, the path of a CA file, `sha256:` and a fingerprint, or `none`: unprotected"
    )
    tls_name: TlsName | None = Field(None, description="name in the certificates, for receivers given by address")
    connect_timeout: Duration = Field(5.0, gt=0, le=60, description="for a connection to a receiver")
    response_timeout: Duration = Field(10.0, gt=0, le=300, description="for the response of a receiver")

    @model_validator(mode="after")
    def _reached(self) -> Self:
        if self.secondary_receiver is None and not self.use_single_receiver:
            raise ValueError("secondary_receiver is missing; add it, or set use_single_receiver = true")
        if self.secondary_receiver is not None and self.use_single_receiver:
            raise ValueError("use_single_receiver is true, but there is a secondary_receiver; remove one of them")
        if self.tls_name is not None and not self.use_tls:
            raise ValueError("tls_name is set, but use_tls is false; set use_tls = true, or remove tls_name")
        return self


class ScheduledTestSettings(Table):
    """The test alarms of a transmitter."""

    test_event_code: OptionalCode | None = Field(
        None,
        description="what the operator takes as a test, for `sosbridge test` and Home Assistant's test button",
    )
    test_every: Duration | None = Field(
        None, ge=3600, le=31 * 86400, description="how often a test alarm is sent: 24h, or a part or multiple of it"
    )
    test_at: TimeOfDay | None = Field(
        None, description="local time of test alarms, such as `03:20`; default: between 1:00 and 5:00, by the code"
    )
    test_every_route: bool = Field(default=False, description="each test alarm over one receiver and path, in turn")

    @model_validator(mode="after")
    def _tests(self) -> Self:
        if self.test_every is None:
            if useless := [name for name in ("test_at", "test_every_route") if getattr(self, name)]:
                raise ValueError(f'{" and ".join(useless)}: no test alarm is sent; add for example test_every = "24h"')
            return self
        if not self.test_event_code:
            raise ValueError("test_event_code is missing; test_every needs the code that the operator takes as a test")
        if _DAY_S % self.test_every and self.test_every % _DAY_S:
            raise ValueError(
                f"test_every: {self.test_every:g} s is neither a part of a day, such as 6h, nor whole days"
            )
        return self


class TransmitterSettings(ScheduledTestSettings, ReceiverSettings):
    """One SOS Access transmitter."""

    heartbeat: Annotated[Literal["off", "90s", "180s", "5h", "25h"], AsText] = Field(
        "off", description="level, as agreed with the operator; heartbeats are sent more often"
    )
    check_idle_every: Duration = Field(
        3600.0, ge=30, le=86400, description="how often a receiver or path that is not in use is checked"
    )
    max_age: Duration = Field(86400.0, gt=0, description="an older alarm expires")
    undelivered_after: Duration = Field(
        30.0, gt=0, description="when an alarm is reported as undelivered at the latest"
    )
    paths: tuple[PathSettings, ...] = Field((), description="in order of preference; none: the system's routing")
    alarms: tuple[AlarmSettings, ...] = Field((), description="named alarms")

    @property
    def timetable(self) -> Timetable | None:
        """When test alarms are sent; None: never."""
        if self.test_every is None:
            return None
        at = time.fromisoformat(self.test_at) if self.test_at else default_at(self.transmitter_code)
        return Timetable(int(self.test_every), at)

    @property
    def heartbeat_s(self) -> float | None:
        """The level in seconds, None for off."""
        return _LEVELS.get(self.heartbeat)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        identities = [AlarmIdentity.of(alarm.named().alarm) for alarm in self.alarms]
        if len(set(identities)) < len(identities):
            raise ValueError(
                "two alarms have the same event_code, section, detector and transmitter_area; a restore would end both"
            )
        return self


def one_account_each(transmitters: Sequence[TransmitterSettings]) -> None:
    """Raise ValueError if two tables have one account at one receiver: rotating one locks the other out."""
    seen: dict[tuple[str, str, tuple[str, int]], str] = {}
    for each in transmitters:
        for receiver in filter(None, (each.receiver, each.secondary_receiver)):
            host, port = host_port(receiver)
            account = (each.transmitter_code, each.transmitter_type, (host.lower(), port))
            other = seen.setdefault(account, each.name)
            if other != each.name:
                raise ValueError(
                    f"transmitters: {other} and {each.name} have the same transmitter_code, transmitter_type and "
                    f"receiver {receiver}; they would lock each other out, use one table for both"
                )
