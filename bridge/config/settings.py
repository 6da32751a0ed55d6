"""The settings, checked before anything starts. `bridge.config.sources` reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bridge.common.errors import BridgeError, ConfigError, FieldError
from bridge.common.models import Alarm, AlarmIdentity, NamedAlarm
from bridge.config.types import (
    LAST_PORT,
    Address,
    BaseTopic,
    Duration,
    Host,
    Interface,
    IpAddress,
    Name,
    Network,
    PanelAddress,
    Password,
    TlsName,
    host_port,
    seconds,
)
from bridge.panels.forwarding import Rule, check_rule, faults, parse_event, parse_restore_on, uncovered
from bridge.sos_access.prepare import check_event_code, prepare
from bridge.sos_access.tls import tls_context

_LEVELS = {"90s": 90.0, "180s": 180.0, "5h": 18000.0, "25h": 90000.0}
_NEEDS_TWO_S = 180
"""Heartbeat levels up to this one require two receivers and two paths (sos_access/PROTOCOL.md, Heartbeat levels)."""
_PATHS_REQUIRED = 2


def _tls_verify(value: str) -> str:
    try:
        tls_context(value)
    except BridgeError as error:
        raise ValueError(str(error)) from None
    return value


class Table(BaseModel):
    """A table of the file; unknown settings are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class TlsSettings(Table):
    """TLS to the broker; an empty table trusts the CAs of the system."""

    enabled: bool = True
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


class MqttSettings(Table):
    """The connection to the MQTT broker."""

    host: str = Field("localhost", min_length=1)
    port: int = Field(1883, ge=1, le=LAST_PORT)
    username: str | None = None
    password: Password | None = None
    protocol: Literal["5", "3.1.1"] = "5"
    base_topic: BaseTopic = "sosbridge"
    client_id: str | None = Field(None, min_length=1, description="default: the base topic")
    session_expiry: Duration = Field(7 * 86400.0, ge=0, le=0xFFFFFFFE)
    keepalive: Duration = Field(30.0, ge=5, le=3600)
    transport: Literal["tcp", "websockets"] = "tcp"
    websocket_path: str = Field("/mqtt", pattern="^/")
    tls: TlsSettings | None = None


class HomeAssistantSettings(Table):
    """Home Assistant discovery."""

    enabled: bool = True
    discovery_prefix: BaseTopic = "homeassistant"


class StoreSettings(Table):
    """The database of commands, results and panels."""

    path: Path = Path("/data/sosbridge.db")
    max_commands: int = Field(100_000, ge=1, description="new commands are refused past it")
    history: Duration = Field(30 * 86400.0, ge=0)


class LogSettings(Table):
    """Logging."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["human", "json"] = "human"


class AlarmSettings(Table):
    """A named alarm, which is a switch in Home Assistant."""

    key: Name
    name: str = Field(min_length=1)
    event_code: str
    restore_event_code: str | None = Field(None, description="for operators that expect another code for a restore")
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
        _check_code("restore_event_code", self.restore_event_code)
        return NamedAlarm(self.key, self.name, alarm, self.restore_event_code)


class PathSettings(Table):
    """A network path to the receivers: a network interface, or a source address with a routing rule of its own."""

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
    tls_verify: Annotated[str, AfterValidator(_tls_verify)] = "none"
    tls_name: TlsName | None = Field(None, description="name in the certificates, for receivers given by address")
    connect_timeout: Duration = Field(5.0, gt=0, le=60)
    response_timeout: Duration = Field(10.0, gt=0, le=300)
    heartbeat: Literal["off", "90s", "180s", "5h", "25h"] = "off"
    check_idle_every: Duration = Field(
        3600.0, ge=30, le=86400, description="how often a receiver or path that is not in use is checked"
    )
    max_age: Duration = Field(86400.0, gt=0)
    undelivered_after: Duration = Field(
        30.0, gt=0, description="when an alarm is reported as undelivered at the latest"
    )
    paths: tuple[PathSettings, ...] = Field((), description="in order of preference; none: the system's routing")
    test_event_code: str | None = Field(None, description="raised by the test button in Home Assistant")
    alarms: tuple[AlarmSettings, ...] = ()

    @property
    def heartbeat_s(self) -> float | None:
        """The level in seconds, None for off."""
        return _LEVELS.get(self.heartbeat)

    @property
    def warnings(self) -> list[str]:
        """Settings that are allowed but risky."""
        found = []
        monitored = self.heartbeat_s is not None and self.heartbeat_s <= _NEEDS_TWO_S
        if monitored and self.secondary_receiver is None:
            found.append(f"heartbeat {self.heartbeat} requires a secondary receiver; add secondary_receiver")
        if monitored and len(self.paths) < _PATHS_REQUIRED:
            found.append(
                f"heartbeat {self.heartbeat} requires a second network path, such as a mobile network; "
                "add [[transmitters.paths]]"
            )
        if not self.use_tls:
            found.append("use_tls is false: alarms and the password are sent unencrypted")
        elif self.tls_verify == "none":
            found.append(
                'tls_verify is "none": any server can pose as the receiver; use "system", a CA file or sha256:...'
            )
        return found

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.secondary_receiver is None and not self.use_single_receiver:
            raise ValueError("secondary_receiver is missing; add it, or set use_single_receiver = true")
        if self.secondary_receiver is not None and self.use_single_receiver:
            raise ValueError("use_single_receiver is true, but there is a secondary_receiver; remove one of them")
        try:
            _check_code("test_event_code", self.test_event_code)
        except FieldError as error:
            raise ValueError(str(error)) from None
        _once("alarms", "key", [alarm.key for alarm in self.alarms])
        _once("paths", "name", [path.name for path in self.paths])
        if self.tls_name is not None and not self.use_tls:
            raise ValueError("tls_name is set, but use_tls is false; set use_tls = true, or remove tls_name")
        identities = [AlarmIdentity.of(alarm.named().alarm) for alarm in self.alarms]
        if len(set(identities)) < len(identities):
            raise ValueError(
                "two alarms have the same event_code, section, detector and transmitter_area; a restore would end both"
            )
        return self


class PanelSettings(Table):
    """One G90 panel."""

    guid: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,15}$")]
    name: str | None = None
    control: Literal["off", "local", "cloud"] = "off"
    host: Host | None = None
    address: Network | None = Field(None, description="network that the panel connects from")
    read: bool = Field(default=True, description="whether to ask the panel for its status and history")
    door_off_after: Duration | None = Field(None, description="for its doors, instead of that of [g90]")
    code: Password | None = Field(None, min_length=1, description="required to disarm")
    code_arm_required: bool = Field(default=False, description="whether arming requires the code as well")

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.control == "local" and not self.host:
            raise ValueError('host is missing; control = "local" needs the address of the panel')
        if self.code_arm_required and self.code is None:
            raise ValueError("code is missing; code_arm_required = true needs it")
        return self


class G90Settings(Table):
    """The cloud server that panels connect to."""

    listen: Address = "0.0.0.0:5678"
    announce: PanelAddress | None = None
    unknown_panels: Literal["ignore", "accept"] = "ignore"
    upstream: Address | None = None
    max_connections: int = Field(5000, ge=1)
    connections_per_stranger: int = Field(4, ge=1)
    idle_timeout: Duration = Field(300.0, gt=0)
    offline_after: Duration = Field(180.0, gt=0)
    motion_off_after: Duration = Field(30.0, gt=0)
    door_off_after: Duration | None = Field(None, description="for door sensors that never report closing")
    poll: Duration = Field(60.0, ge=10, description="time between two readings of a panel's status")
    missed_max_age: Duration = Field(600.0, ge=0, description="for alarms that were over when they were found")
    panels: tuple[PanelSettings, ...] = ()

    @property
    def guids(self) -> set[str] | None:
        """The configured panels; None if others are accepted too."""
        return None if self.unknown_panels == "accept" else {panel.guid for panel in self.panels}

    @model_validator(mode="after")
    def _names(self) -> Self:
        _once("panels", "guid", [panel.guid for panel in self.panels])
        return self


class ForwardSettings(Table):
    """A rule: a panel's event that raises an alarm at the operator."""

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
    urgent: bool | None = Field(None, description="default: true for sos, and for smoke, gas and water")

    @model_validator(mode="after")
    def _understood(self) -> Self:
        try:
            self.rule()
            check_event_code(self.event_code)
            _check_code("restore_event_code", self.restore_event_code)
        except BridgeError as error:
            raise ValueError(str(error)) from None
        return self

    def rule(self) -> Rule:
        """Return the rule. Raises ConfigError."""
        given = self.model_dump(exclude={"event", "restore_on"})
        restore_on = parse_restore_on(self.restore_on, seconds) if self.restore_on else None
        return Rule(event=parse_event(self.event), restore_on=restore_on, **given)


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
    log: LogSettings = LogSettings()
    transmitters: tuple[TransmitterSettings, ...] = ()
    g90: G90Settings | None = None
    forward: tuple[ForwardSettings, ...] = ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the overridden signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take only what `bridge.config.sources` has merged."""
        return (init_settings,)

    @property
    def warnings(self) -> list[str]:
        """Settings that are allowed but risky."""
        found = [f"{each.name}: {warning}" for each in self.transmitters for warning in each.warnings]
        if self.g90 is not None:
            names = {each.name for each in self.transmitters}
            rules = [rule.rule() for rule in self.forward]
            found += faults(rules, panels=self.g90.guids, transmitters=names)
            for panel in self.g90.panels if self.transmitters else ():
                if missing := uncovered(rules, panel.guid):
                    found.append(f"panel {panel.name or panel.guid}: no rule forwards {', '.join(missing)}")
        return found

    @model_validator(mode="after")
    def _together(self) -> Self:
        names = [transmitter.name for transmitter in self.transmitters]
        _once("transmitters", "name", names)
        _one_account_each(self.transmitters)
        for rule in self.forward:
            if self.g90 is None:
                raise ValueError("forward: the [g90] table is missing; without it there are no panels")
            try:
                check_rule(rule.rule(), self.g90.guids)
            except ConfigError as error:
                raise ValueError(str(error)) from None
            if rule.transmitter not in names:
                raise ValueError(
                    f"forward: unknown transmitter {rule.transmitter!r}; configured: {', '.join(names) or 'none'}"
                )
        return self


def _once(table: str, key: str, values: Sequence[Any]) -> None:
    twice = sorted({str(value) for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"{table}: duplicate {key} {', '.join(twice)}")


def _one_account_each(transmitters: Sequence[TransmitterSettings]) -> None:
    """Raise ValueError for two tables with one account at one receiver: a rotation of one would lock the other out."""
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


def _check_code(name: str, code: str | None) -> None:
    """Raise FieldError for an optional event code, the setting `name`, that cannot be sent."""
    if code:
        try:
            check_event_code(code)
        except FieldError as error:
            raise FieldError(name, error.fault) from None
