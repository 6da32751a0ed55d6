"""The settings: one TOML file, the environment, secret files and the command line, checked before anything starts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bridge.common.errors import BridgeError
from bridge.common.models import Alarm, AlarmIdentity, NamedAlarm
from bridge.config.types import LONGEST_S, seconds
from bridge.panels.forwarding import Rule, faults, parse_event, parse_restore_on
from bridge.sos_access.prepare import prepare
from bridge.sos_access.tls import tls_context
from bridge.transmitters.topics import NAME

_LEVELS = {"90s": 90.0, "180s": 180.0, "5h": 18000.0, "25h": 90000.0}
_NEEDS_TWO_RECEIVERS_S = 180
"""From this heartbeat level down the seed makes failover mandatory."""
_LAST_PORT = 65535


def _name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError(f"{value!r} may have small letters, digits, - and _ only: it becomes part of a topic")
    return value


def _base_topic(value: str) -> str:
    if not value or value.startswith("$") or value.strip("/") != value or re.search(r"[+#\x00-\x1f]|//", value):
        raise ValueError(f"{value!r} is no base topic; write one or more words with / between, such as sosbridge")
    return value


def _address(value: str) -> str:
    host, port = split_address(value)
    if not host or not 0 < port <= _LAST_PORT:
        raise ValueError(
            f"{value!r} is no address; write host:port, such as alarm.example.com:19100 or [2001:db8::1]:19100"
        )
    return value


def _told_to_panels(value: str) -> str:
    host, _ = split_address(_address(value))
    try:
        IPv4Address(host)
    except ValueError:
        raise ValueError(f"{value!r}: panels take IPv4 addresses, not names; write such as 192.168.1.10:5678") from None
    return value


def split_address(value: str) -> tuple[str, int]:
    """Return host and port of `host:port` or `[IPv6]:port`; port 0 where there is none."""
    host, _, port = value.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if (":" in bare) != host.startswith("[") or not port.isascii() or not port.isdigit():
        return "", 0
    return bare, int(port)


def _duration(value: object) -> object:
    return seconds(value) if isinstance(value, str) else value


def _in_reason(value: float) -> float:
    """A date so far away that there is none would be met much later, and end the service."""
    if not value <= LONGEST_S:  # nor is it NaN
        raise ValueError(f"is longer than {LONGEST_S / 86400:.0f}d, which is for ever")
    return value


def _tls_verify(value: str) -> str:
    try:
        tls_context(value)
    except BridgeError as error:
        raise ValueError(str(error)) from None
    return value


def _network(value: str) -> str:
    ip_network(value, strict=False)
    return value


Name = Annotated[str, AfterValidator(_name)]
Address = Annotated[str, AfterValidator(_address)]
Duration = Annotated[float, BeforeValidator(_duration, json_schema_input_type=str), AfterValidator(_in_reason)]
"""Seconds; written 90s, 5m, 24h, 7d."""
Network = Annotated[str, AfterValidator(_network)]


class Table(BaseModel):
    """A table of the file: what it does not know is an error, since it was meant to do something."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Tls(Table):
    """TLS to the broker; with an empty table the system's CAs are trusted."""

    enabled: bool = True
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


class Mqtt(Table):
    """The broker."""

    host: str = Field("localhost", min_length=1)
    port: int = Field(1883, ge=1, le=_LAST_PORT)
    username: str | None = None
    password: SecretStr | None = None
    protocol: Literal["5", "3.1.1"] = "5"
    base_topic: Annotated[str, AfterValidator(_base_topic)] = "sosbridge"
    client_id: str | None = Field(None, min_length=1, description="default: the base topic")
    session_expiry: Duration = Field(7 * 86400.0, ge=0, le=0xFFFFFFFE)
    keepalive: Duration = Field(30.0, ge=5, le=3600)
    transport: Literal["tcp", "websockets"] = "tcp"
    websocket_path: str = Field("/mqtt", pattern="^/")
    tls: Tls | None = None


class HomeAssistant(Table):
    """Discovery."""

    enabled: bool = True
    discovery_prefix: Annotated[str, AfterValidator(_base_topic)] = "homeassistant"


class Store(Table):
    """What must survive a power cut."""

    path: Path = Path("/data/sosbridge.db")
    max_commands: int = Field(100_000, ge=1, description="new commands are refused past it")
    history: Duration = Field(30 * 86400.0, ge=0)


class Log(Table):
    """What is told, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["human", "json"] = "human"


class ConfiguredAlarm(Table):
    """An alarm with a name: a switch in Home Assistant."""

    key: Name
    name: str = Field(min_length=1)
    event_code: str
    restore_event_code: str | None = Field(None, description="for receivers that take a restore as a code of its own")
    transmitter_area: str | None = None
    section: str | None = None
    section_text: str | None = None
    detector: str | None = None
    detector_text: str | None = None
    additional_info: str | dict[str, str] | list[str] | None = None
    position: str | dict[str, float] | None = None

    @model_validator(mode="after")
    def _sendable(self) -> Self:
        try:
            self.named()
        except BridgeError as error:
            raise ValueError(str(error)) from None
        return self

    def named(self) -> NamedAlarm:
        """Return the alarm, prepared for sending. Raises FieldError."""
        given = self.model_dump(exclude={"key", "name", "restore_event_code"}, exclude_none=True)
        alarm, _ = prepare(Alarm(**given))
        if self.restore_event_code:
            prepare(Alarm(event_code=self.restore_event_code))
        return NamedAlarm(self.key, self.name, alarm, self.restore_event_code)


class Transmitter(Table):
    """One SOS Access line."""

    name: Name
    transmitter_code: str = Field(min_length=1, max_length=15)
    transmitter_type: str = Field(min_length=5, max_length=5)
    authentication: SecretStr = Field(min_length=15, max_length=15)
    receiver_id: str = Field(min_length=1, max_length=20)
    receiver: Address
    secondary_receiver: Address | None = None
    use_single_receiver: bool = False
    use_tls: bool = False
    tls_verify: Annotated[str, AfterValidator(_tls_verify)] = "none"
    connect_timeout: Duration = Field(5.0, gt=0, le=60)
    response_timeout: Duration = Field(10.0, gt=0, le=300)
    heartbeat: Literal["off", "90s", "180s", "5h", "25h"] = "off"
    max_age: Duration = Field(86400.0, gt=0)
    test_event_code: str | None = Field(None, description="what a test button in Home Assistant raises")
    alarms: tuple[ConfiguredAlarm, ...] = ()

    @property
    def heartbeat_s(self) -> float | None:
        """The level in seconds, None for off."""
        return _LEVELS.get(self.heartbeat)

    @property
    def warnings(self) -> list[str]:
        """What is allowed but should be known."""
        found = []
        if (
            self.secondary_receiver is None
            and (self.heartbeat_s or _NEEDS_TWO_RECEIVERS_S + 1) <= _NEEDS_TWO_RECEIVERS_S
        ):
            found.append(f"heartbeat {self.heartbeat} requires a secondary receiver (SOS Access v4); there is only one")
        if not self.use_tls:
            found.append("use_tls is false: alarms and the password travel in clear")
        return found

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.secondary_receiver is None and not self.use_single_receiver:
            raise ValueError("secondary_receiver is missing; give it, or write use_single_receiver = true")
        if self.secondary_receiver is not None and self.use_single_receiver:
            raise ValueError("use_single_receiver is true but there is a secondary_receiver; drop one of them")
        try:
            prepare(Alarm(event_code=self.test_event_code or "-"))
        except BridgeError as error:
            raise ValueError(f"test_event_code: {error}") from None
        _once("alarms", "key", [alarm.key for alarm in self.alarms])
        identities = [AlarmIdentity.of(alarm.named().alarm) for alarm in self.alarms]
        if len(set(identities)) < len(identities):
            raise ValueError(
                "two alarms have the same event_code, section, detector and transmitter_area: restoring one ends both"
            )
        return self


class Panel(Table):
    """One G90 panel."""

    guid: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,15}$")]
    name: str | None = None
    control: Literal["off", "local", "cloud"] = "off"
    host: str | None = None
    address: Network | None = Field(None, description="the network its GUID may come from")
    code: SecretStr | None = Field(None, min_length=1, description="asked for to disarm")
    code_arm_required: bool = Field(default=False, description="whether arming, too, needs the code")

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.control == "local" and not self.host:
            raise ValueError('host is missing: control = "local" needs the panel\'s address')
        if self.code_arm_required and self.code is None:
            raise ValueError("code is missing: code_arm_required = true asks for it")
        return self


class G90(Table):
    """The cloud server that panels dial."""

    listen: Address = "0.0.0.0:5678"
    announce: Annotated[str, AfterValidator(_told_to_panels)] | None = None
    unknown_panels: Literal["ignore", "accept"] = "ignore"
    upstream: Address | None = None
    max_connections: int = Field(5000, ge=1)
    connections_per_stranger: int = Field(4, ge=1)
    idle_timeout: Duration = Field(300.0, gt=0)
    offline_after: Duration = Field(180.0, gt=0)
    motion_off_after: Duration = Field(30.0, gt=0)
    door_off_after: Duration | None = Field(None, description="for door sensors that never report closing")
    panels: tuple[Panel, ...] = ()

    @model_validator(mode="after")
    def _names(self) -> Self:
        _once("panels", "guid", [panel.guid for panel in self.panels])
        return self


class Forward(Table):
    """A panel's event that raises an alarm at the operator."""

    event: str
    transmitter: Name
    event_code: str
    panel: str | None = None
    sensor_type: str | None = None
    sensor: int | str | None = None
    restore_on: str | None = None
    restore_event_code: str | None = None
    section: str | None = None
    section_text: str | None = None
    detector: str | None = None
    detector_text: str | None = None
    transmitter_area: str | None = None
    additional_info: str | None = None

    @model_validator(mode="after")
    def _understood(self) -> Self:
        try:
            self.rule()
            for code in (self.event_code, self.restore_event_code):
                prepare(Alarm(event_code=code or self.event_code))
        except BridgeError as error:
            raise ValueError(str(error)) from None
        return self

    def rule(self) -> Rule:
        """Return the rule. Raises ConfigError."""
        given = self.model_dump(exclude={"event", "restore_on"})
        restore_on = parse_restore_on(self.restore_on, seconds) if self.restore_on else None
        return Rule(event=parse_event(self.event), restore_on=restore_on, **given)


class Settings(BaseSettings):
    """Everything that a user can set."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        env_prefix="SOSBRIDGE_",
        env_nested_delimiter="__",
    )

    mqtt: Mqtt = Mqtt()
    homeassistant: HomeAssistant = HomeAssistant()
    store: Store = Store()
    log: Log = Log()
    transmitters: tuple[Transmitter, ...] = ()
    g90: G90 | None = None
    forward: tuple[Forward, ...] = ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the overridden signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what `bridge.config.sources` has laid together, and nothing beside it."""
        return (init_settings,)

    @property
    def warnings(self) -> list[str]:
        """What is allowed but should be known."""
        found = [f"{each.name}: {warning}" for each in self.transmitters for warning in each.warnings]
        if self.g90 is not None:
            known = None if self.g90.unknown_panels == "accept" else {panel.guid for panel in self.g90.panels}
            names = {each.name for each in self.transmitters}
            found += faults([rule.rule() for rule in self.forward], panels=known, transmitters=names)
        return found

    @model_validator(mode="after")
    def _together(self) -> Self:
        names = [transmitter.name for transmitter in self.transmitters]
        _once("transmitters", "name", names)
        for rule in self.forward:
            if self.g90 is None:
                raise ValueError("forward: there is no [g90] table, so no panel can ever report anything")
            if rule.transmitter not in names:
                raise ValueError(
                    f"forward: there is no transmitter {rule.transmitter!r}; configured: {', '.join(names) or 'none'}"
                )
        return self


def _once(table: str, key: str, values: Sequence[Any]) -> None:
    twice = sorted({str(value) for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"{table}: {key} {', '.join(twice)} is given twice")
