"""The settings, checked before anything starts. `bridge.config.sources` reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import time
from pathlib import Path
from socket import gethostname
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, PrivateAttr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bridge.common.errors import BridgeError, FieldError
from bridge.common.models import Alarm, AlarmIdentity, NamedAlarm
from bridge.config.panels import G90Settings
from bridge.config.types import (
    LAST_PORT,
    LONGEST_NODE,
    Address,
    AsText,
    BaseTopic,
    BrokerHost,
    DatabaseUrl,
    Duration,
    Interface,
    IpAddress,
    Name,
    NodeName,
    Password,
    ServerAddress,
    Table,
    TimeOfDay,
    TlsName,
    Username,
    WebsocketPath,
    host_port,
    is_loopback,
    seconds,
)
from bridge.panels.forwarding import Rule
from bridge.panels.rules import parse_event, parse_restore_on, parse_sensor_type, unknown_names
from bridge.sos_access.prepare import check_event_code, prepare
from bridge.sos_access.tls import tls_context
from bridge.transmitters.timetable import Timetable, default_at

_LEVELS = {"90s": 90.0, "180s": 180.0, "5h": 18000.0, "25h": 90000.0}
_DAY_S = 86400
MOST_SHARDS = 256


def _checked(check: Callable[[str], object]) -> AfterValidator:
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


EventCode = Annotated[str, _checked(check_event_code)]
OptionalCode = Annotated[str, _checked(lambda value: value and check_event_code(value))]
TlsVerify = Annotated[str, _checked(lambda value: value in ("system", "none") or tls_context(value))]
Event = Annotated[str, _checked(parse_event)]
SensorType = Annotated[str, _checked(parse_sensor_type)]
RestoreOn = Annotated[str, _checked(lambda value: value and parse_restore_on(value, seconds))]


class TlsSettings(Table):
    """TLS to the broker; an empty table trusts the CAs of the system."""

    enabled: bool = True
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


class MqttSettings(Table):
    """The connection to the MQTT broker."""

    host: BrokerHost = "localhost"
    port: int = Field(1883, ge=1, le=LAST_PORT)
    username: str | None = None
    password: Password | None = None
    protocol: Annotated[Literal["5", "3.1.1"], AsText] = "5"
    base_topic: BaseTopic = "sosbridge"
    client_id: str | None = Field(None, min_length=1, description="default: the base topic")
    session_expiry: Duration = Field(7 * 86400.0, ge=0, le=0xFFFFFFFE)
    keepalive: Duration = Field(30.0, ge=5, le=3600)
    transport: Annotated[Literal["tcp", "websockets"], AsText] = "tcp"
    websocket_path: WebsocketPath = "/mqtt"
    tls: TlsSettings | None = None


class HomeAssistantSettings(Table):
    """Home Assistant discovery."""

    enabled: bool = True
    discovery_prefix: BaseTopic = "homeassistant"


class StoreSettings(Table):
    """The database of commands, results and panels."""

    path: Path = Path("/data/sosbridge.db")
    url: DatabaseUrl | None = Field(
        None, description="a PostgreSQL that several nodes share; beside `path` is then the health check alone"
    )
    lease: Duration = Field(5.0, ge=4, le=60, description="after which a node that is silent has lost its shards")
    shards: int = Field(1, ge=1, le=MOST_SHARDS, description="among how many owners the transmitters are divided")
    max_commands: int = Field(100_000, ge=1, description="new commands are refused past it")
    history: Duration = Field(400 * 86400.0, ge=0, description="how long results are kept, for reports")


class NodeSettings(Table):
    """This process among those that share the database `store.url`."""

    name: NodeName = Field(default_factory=lambda: gethostname()[:LONGEST_NODE], description="default: the host name")
    shards: int | None = Field(None, ge=1, description="how many shards it takes at most; default: all")


class WebSettings(Table):
    """The status page, the metrics and the health check over HTTP."""

    listen: ServerAddress | None = Field(None, description="off by default")
    username: Username | None = None
    password: Password | None = Field(None, min_length=8)
    metrics: bool = Field(default=True, description="whether to serve /metrics for Prometheus")

    @model_validator(mode="after")
    def _protected(self) -> Self:
        if (self.username is None) != (self.password is None):
            missing = "username" if self.username is None else "password"
            raise ValueError(f"username and password belong together; {missing} is missing")
        if self.listen and self.password is None and not is_loopback(self.listen):
            raise ValueError(f"{self.listen} is open to the network; set username and password, or use 127.0.0.1")
        return self


class LogSettings(Table):
    """Logging."""

    level: Annotated[Literal["debug", "info", "warning", "error"], AsText] = "info"
    format: Annotated[Literal["human", "json"], AsText] = "human"


class AlarmSettings(Table):
    """A named alarm, which is a switch in Home Assistant."""

    key: Name
    name: str = Field(min_length=1)
    event_code: str
    restore_event_code: OptionalCode | None = Field(
        None, description="for operators that expect another code for a restore"
    )
    transmitter_area: str | None = None
    section: str | None = None
    section_text: str | None = None
    detector: str | None = None
    detector_text: str | None = None
    additional_info: str | dict[str, str] | list[str] | None = None
    position: str | dict[str, float] | None = None
    urgent: bool = Field(default=False, description="goes before alarms that are not urgent")

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

    name: Name
    interface: Interface | None = None
    source: IpAddress | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.interface is None) == (self.source is None):
            raise ValueError('a path has either an interface, such as "eth0", or a source, such as "192.168.8.100"')
        return self


class TransmitterSettings(Table):
    """One SOS Access transmitter."""

    name: Name
    transmitter_code: str = Field(min_length=1, max_length=15)
    transmitter_type: str = Field(min_length=5, max_length=5)
    authentication: Password = Field(min_length=15, max_length=15)
    receiver_id: str = Field(min_length=1, max_length=20)
    receiver: Address
    secondary_receiver: Address | None = None
    use_single_receiver: bool = False
    use_tls: bool = False
    tls_verify: TlsVerify = "system"
    tls_name: TlsName | None = Field(None, description="name in the certificates, for receivers given by address")
    connect_timeout: Duration = Field(5.0, gt=0, le=60)
    response_timeout: Duration = Field(10.0, gt=0, le=300)
    heartbeat: Annotated[Literal["off", "90s", "180s", "5h", "25h"], AsText] = "off"
    check_idle_every: Duration = Field(
        3600.0, ge=30, le=86400, description="how often a receiver or path that is not in use is checked"
    )
    max_age: Duration = Field(86400.0, gt=0)
    undelivered_after: Duration = Field(
        30.0, gt=0, description="when an alarm is reported as undelivered at the latest"
    )
    paths: tuple[PathSettings, ...] = Field((), description="in order of preference; none: the system's routing")
    test_event_code: OptionalCode | None = Field(None, description="raised by the test button in Home Assistant")
    test_every: Duration | None = Field(
        None, ge=3600, le=31 * 86400, description="how often a test alarm is sent; 24h, or a part or multiple of it"
    )
    test_at: TimeOfDay | None = Field(
        None, description="local time of test alarms; default: between 1:00 and 5:00, by the transmitter's code"
    )
    test_every_route: bool = Field(default=False, description="each test alarm over one receiver and path, in turn")
    alarms: tuple[AlarmSettings, ...] = ()

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
    def _whole(self) -> Self:
        if self.secondary_receiver is None and not self.use_single_receiver:
            raise ValueError("secondary_receiver is missing; add it, or set use_single_receiver = true")
        if self.secondary_receiver is not None and self.use_single_receiver:
            raise ValueError("use_single_receiver is true, but there is a secondary_receiver; remove one of them")
        if self.tls_name is not None and not self.use_tls:
            raise ValueError("tls_name is set, but use_tls is false; set use_tls = true, or remove tls_name")
        identities = [AlarmIdentity.of(alarm.named().alarm) for alarm in self.alarms]
        if len(set(identities)) < len(identities):
            raise ValueError(
                "two alarms have the same event_code, section, detector and transmitter_area; a restore would end both"
            )
        return self


class ForwardSettings(Table):
    """A rule: a panel's event that raises an alarm at the operator."""

    event: Event
    transmitter: str
    event_code: EventCode
    panel: str | None = None
    sensor_type: SensorType | None = None
    sensor: int | str | None = None
    restore_on: RestoreOn | None = None
    restore_event_code: OptionalCode | None = None
    section: str | None = None
    section_text: str | None = None
    detector: str | None = None
    detector_text: str | None = None
    transmitter_area: str | None = None
    additional_info: str | None = None
    urgent: bool | None = Field(None, description="default: true for sos, smoke, gas, water and unknown sensors")

    def rule(self) -> Rule:
        given = self.model_dump(exclude={"event", "restore_on", "sensor_type"})
        restore_on = parse_restore_on(self.restore_on, seconds) if self.restore_on else None
        sensor_type = parse_sensor_type(self.sensor_type) if self.sensor_type else None
        return Rule(event=parse_event(self.event), restore_on=restore_on, sensor_type=sensor_type, **given)


class Settings(BaseSettings):
    """All settings."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        env_prefix="SOSBRIDGE_",
        env_nested_delimiter="__",
    )

    mqtt: MqttSettings = MqttSettings()
    homeassistant: HomeAssistantSettings = HomeAssistantSettings()
    store: StoreSettings = StoreSettings()
    node: NodeSettings = NodeSettings()
    log: LogSettings = LogSettings()
    web: WebSettings = WebSettings()
    transmitters: tuple[TransmitterSettings, ...] = ()
    g90: G90Settings | None = None
    forward: tuple[ForwardSettings, ...] = ()
    _warnings: tuple[str, ...] = PrivateAttr(())

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the overridden signature
        init_settings: PydanticBaseSettingsSource,
        *_: Any,  # noqa: ANN401
        **__: Any,  # noqa: ANN401
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take only what `bridge.config.sources` has merged."""
        return (init_settings,)

    @property
    def warnings(self) -> tuple[str, ...]:
        """A line for each setting that is allowed and likely wrong, as `bridge.config.sources` found them."""
        return self._warnings

    def warn(self, lines: Iterable[str]) -> None:
        self._warnings += tuple(lines)

    @model_validator(mode="after")
    def _together(self) -> Self:
        names = [transmitter.name for transmitter in self.transmitters]
        _one_account_each(self.transmitters)
        if self.forward and self.g90 is None:
            raise ValueError("forward: the [g90] table is missing; without it there are no panels")
        faulty: dict[str, list[str]] = {}
        for number, each in enumerate(self.forward, 1):
            for line in unknown_names(each.rule(), self.g90.names if self.g90 else None, names):
                faulty.setdefault(line, []).append(str(number))
        if faulty:
            rules = ((f"rule{'s' * (len(numbers) > 1)} {', '.join(numbers)}", line) for line, numbers in faulty.items())
            raise ValueError("\n".join(f"forward: {which}: {line}" for which, line in rules))
        return self


def _one_account_each(transmitters: Sequence[TransmitterSettings]) -> None:
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
