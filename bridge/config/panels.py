"""The settings of G90 panels."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bridge.config.transmitters import EventCode, OptionalCode, checked
from bridge.config.types import (
    AsText,
    Duration,
    Guid,
    Host,
    Network,
    PanelAddress,
    Password,
    ServerAddress,
    Table,
    seconds,
)
from bridge.panels.forwarding import Rule
from bridge.panels.rules import parse_event, parse_restore_on, parse_sensor_type

Event = Annotated[str, checked(parse_event)]
SensorType = Annotated[str, checked(parse_sensor_type)]
RestoreOn = Annotated[str, checked(lambda value: value and parse_restore_on(value, seconds))]


class PanelSettings(Table):
    """One G90 panel."""

    guid: Guid = Field(description="GUID, as the panel and its app show it")
    name: str | None = Field(None, description="name for people; default: the GUID")
    control: Annotated[Literal["off", "local", "cloud"], AsText] = Field(
        "off",
        description="how it is commanded: over its local protocol, or over its connection (experimental)",
    )
    host: Host | None = Field(None, description="`host` or `host:port` of its local protocol; port 12368 by default")
    address: Network | None = Field(None, description="network that the panel connects from, such as `192.168.1.0/24`")
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

    listen: ServerAddress = Field("0.0.0.0:5678", description="`host:port` that panels connect to")
    announce: PanelAddress | None = Field(
        None, description="`IPv4:port` that panels are given; default: the one they connected to"
    )
    unknown_panels: Annotated[Literal["ignore", "accept"], AsText] = Field(
        "ignore", description="what to do with panels that are not configured"
    )
    upstream: ServerAddress | None = Field(None, description="`host:port` of the vendor's cloud, to chain to it")
    max_connections: int = Field(5000, ge=1, description="connections of all panels")
    connections_per_stranger: int = Field(4, ge=1, description="connections of an address without a configured panel")
    idle_timeout: Duration = Field(300.0, gt=0, description="a connection without a message is closed after it")
    offline_after: Duration = Field(180.0, gt=0, description="a panel that is silent for it is offline")
    motion_off_after: Duration = Field(30.0, gt=0, description="motion sensors report no end of a motion")
    door_off_after: Duration | None = Field(None, description="for door sensors that never report closing")
    poll: Duration = Field(60.0, ge=10, description="interval at which a panel's status is read")
    missed_max_age: Duration = Field(
        600.0, ge=0, description="an alarm that was over when it was found is not forwarded if it is older"
    )
    panels: tuple[PanelSettings, ...] = Field((), description="the panels")

    @property
    def accepts_unknown(self) -> bool:
        return self.unknown_panels == "accept"

    @property
    def names(self) -> dict[str, str] | None:
        """The names of the configured panels by GUID; None if others are accepted too."""
        return None if self.accepts_unknown else {panel.guid: panel.name or "" for panel in self.panels}


class ForwardSettings(Table):
    """A rule: a panel's event that raises an alarm at the operator.

    Texts may contain `{sensor}` `{name}` `{sensor_type}` `{source}` `{event}` `{action}` `{panel}` `{guid}`.
    """

    event: Event = Field(description="panel event that raises the alarm")
    transmitter: str = Field(description="name of the transmitter that sends the alarm")
    event_code: EventCode = Field(description="event code, as agreed with the operator; 1 to 25 characters")
    panel: str | None = Field(None, description="GUID; default: every panel")
    sensor_type: SensorType | None = Field(None, description="sensor type; default: every type")
    sensor: int | str | None = Field(None, description="index or name; `*` and `?` in a name match any characters")
    restore_on: RestoreOn | None = Field(None, description="panel event, or duration, that restores the alarm")
    restore_event_code: OptionalCode | None = Field(
        None, description="for operators that expect another code for a restore"
    )
    section: str | None = Field(None, description="section; 1 to 5 characters")
    section_text: str | None = Field(None, description="name of the section; up to 40 characters")
    detector: str | None = Field(None, description="detector; default: the sensor's index")
    detector_text: str | None = Field(None, description="name of the detector; default: the sensor's")
    transmitter_area: str | None = Field(None, description="area; 1 to 5 characters")
    additional_info: str | None = Field(None, description="more for the operator; up to 2000 characters")
    urgent: bool | None = Field(None, description="default: true for sos, smoke, gas, water and unknown sensors")

    def rule(self) -> Rule:
        given = self.model_dump(exclude={"event", "restore_on", "sensor_type"})
        restore_on = parse_restore_on(self.restore_on, seconds) if self.restore_on else None
        sensor_type = parse_sensor_type(self.sensor_type) if self.sensor_type else None
        return Rule(event=parse_event(self.event), restore_on=restore_on, sensor_type=sensor_type, **given)
