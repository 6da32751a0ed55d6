"""The settings of G90 panels."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bridge.config.types import AsText, Duration, Guid, Host, Network, PanelAddress, Password, ServerAddress, Table


class PanelSettings(Table):
    """One G90 panel."""

    guid: Guid
    name: str | None = None
    control: Annotated[Literal["off", "local", "cloud"], AsText] = "off"
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

    listen: ServerAddress = "0.0.0.0:5678"
    announce: PanelAddress | None = None
    unknown_panels: Annotated[Literal["ignore", "accept"], AsText] = "ignore"
    upstream: ServerAddress | None = None
    max_connections: int = Field(5000, ge=1)
    connections_per_stranger: int = Field(4, ge=1)
    idle_timeout: Duration = Field(300.0, gt=0)
    offline_after: Duration = Field(180.0, gt=0)
    motion_off_after: Duration = Field(30.0, gt=0)
    door_off_after: Duration | None = Field(None, description="for door sensors that never report closing")
    poll: Duration = Field(60.0, ge=10, description="interval at which a panel's status is read")
    missed_max_age: Duration = Field(600.0, ge=0, description="for alarms that were over when they were found")
    panels: tuple[PanelSettings, ...] = ()

    @property
    def names(self) -> dict[str, str] | None:
        """The names of the configured panels by GUID; None if others are accepted too."""
        return None if self.unknown_panels == "accept" else {panel.guid: panel.name or "" for panel in self.panels}
