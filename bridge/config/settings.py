"""The settings, checked before anything starts. `bridge.config.sources` reads them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from socket import gethostname
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bridge.config.panels import ForwardSettings, G90Settings
from bridge.config.transmitters import TransmitterSettings, one_account_each
from bridge.config.types import (
    LAST_PORT,
    LONGEST_NODE,
    AsText,
    BaseTopic,
    BrokerHost,
    DatabaseUrl,
    Duration,
    NodeName,
    Password,
    ServerAddress,
    Table,
    TableError,
    Username,
    WebsocketPath,
    is_loopback,
)
from bridge.panels.rules import unknown_names


class TlsSettings(Table):
    """TLS to the broker; an empty table trusts the CAs of the system."""

    enabled: bool = Field(default=True, description="false: no TLS despite the table")
    ca_file: Path | None = Field(None, description="CAs to trust; default: those of the system")
    cert_file: Path | None = Field(None, description="certificate of the bridge, where the broker asks for one")
    key_file: Path | None = Field(None, description="its key")


class MqttSettings(Table):
    """The connection to the MQTT broker."""

    host: BrokerHost = Field("localhost", description="name or address of the broker")
    port: int = Field(1883, ge=1, le=LAST_PORT, description="port of the broker; with TLS usually 8883")
    username: str | None = Field(None, description="user name at the broker")
    password: Password | None = Field(None, description="password at the broker")
    protocol: Annotated[Literal["5", "3.1.1"], AsText] = Field("5", description="version of MQTT")
    base_topic: BaseTopic = Field("sosbridge", description="what all topics begin with")
    client_id: str | None = Field(None, min_length=1, description="default: the base topic")
    session_expiry: Duration = Field(
        7 * 86400.0, ge=0, le=0xFFFFFFFE, description="how long the broker keeps commands while the bridge is away"
    )
    keepalive: Duration | None = Field(
        None, ge=4, le=3600, description="how long a broker may be silent; default: 30s, in a cluster 4s"
    )
    transport: Annotated[Literal["tcp", "websockets"], AsText] = Field("tcp", description="how the broker is reached")
    websocket_path: WebsocketPath = Field("/mqtt", description="path for WebSockets")
    tls: TlsSettings | None = Field(None, description="enables TLS")


class HomeAssistantSettings(Table):
    """Home Assistant discovery."""

    enabled: bool = Field(default=True, description="false: the bridge removes its devices")
    discovery_prefix: BaseTopic = Field("homeassistant", description="as in Home Assistant's MQTT integration")


class StoreSettings(Table):
    """The database of commands, results and panels."""

    path: Path = Field(Path("/data/sosbridge.db"), description="file of the store; its directory must exist")
    url: DatabaseUrl | None = Field(
        None, description="a PostgreSQL that several nodes share; beside `path` is then the health check alone"
    )
    lease: Duration = Field(5.0, ge=4, le=60, description="after which a node that is silent has lost its shards")
    shards: int = Field(1, ge=1, le=256, description="among how many owners the transmitters are divided")
    max_commands: int = Field(100_000, ge=1, description="new commands are refused past it")
    history: Duration = Field(400 * 86400.0, ge=0, description="how long results are kept, for reports")


class NodeSettings(Table):
    """This process among those that share the database `store.url`."""

    name: NodeName = Field(default_factory=lambda: gethostname()[:LONGEST_NODE], description="default: the host name")
    shards: int | None = Field(None, ge=1, description="how many shards it takes at most; default: all")


class WebSettings(Table):
    """The status page, the metrics and the health check over HTTP."""

    listen: ServerAddress | None = Field(None, description="`host:port` of the status page; off by default")
    username: Username | None = Field(None, description="required where it listens on more than loopback")
    password: Password | None = Field(None, min_length=8, description="required with a user name")
    metrics: bool = Field(default=True, description="whether to serve /metrics for Prometheus")

    @model_validator(mode="after")
    def _protected(self) -> Self:
        if (self.username is None) != (self.password is None):
            missing = "username" if self.username is None else "password"
            raise ValueError(f"username and password belong together; {missing} is missing")
        if self.listen and self.password is None and not is_loopback(self.listen):
            raise ValueError(f"{self.listen} is open to the network; set username and password, or use 127.0.0.1")
        return self


class IncludeSettings(Table):
    """More files, each with `[[transmitters]]`, `[[g90.panels]]` and `[[forward]]` alone."""

    files: list[str] = Field([], description="files and patterns such as `transmitters.d/*.toml`, beside this file")


class LogSettings(Table):
    """Logging."""

    level: Annotated[Literal["debug", "info", "warning", "error"], AsText] = Field(
        "info", description="least severe level to log"
    )
    format: Annotated[Literal["human", "json"], AsText] = Field("human", description="lines for people, or JSON")


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
    include: IncludeSettings = IncludeSettings()
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
        one_account_each(self.transmitters)
        if self.forward and self.g90 is None:
            raise ValueError("forward: the [g90] table is missing; without it there are no panels")
        panels = self.g90.names if self.g90 else None
        rules = enumerate(self.forward)
        if faulty := [
            (("forward", at), line) for at, each in rules for line in unknown_names(each.rule(), panels, names)
        ]:
            raise TableError(faulty)
        return self
