"""Parts of the bridge, made from the settings."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

from bridge.app.file_limits import share
from bridge.common.clock import Clock
from bridge.common.models import Secret
from bridge.config.settings import G90Settings, MqttSettings, PanelSettings, Settings, TransmitterSettings
from bridge.config.types import host_port
from bridge.g90.control import PanelControl
from bridge.g90.control_local import LocalControl
from bridge.g90.registry import PanelConfig, PanelHandler
from bridge.g90.server import Limits, PanelServer
from bridge.g90.state.panel import Options, PanelState
from bridge.g90.upstream import Upstream
from bridge.g90.wire.constants import LOCAL_PORT
from bridge.mqtt.client import Broker
from bridge.panels.code_lock import CodeLock
from bridge.panels.commands import Controlled
from bridge.sos_access.client import SOSAccessClient
from bridge.store.credentials import Credentials, directory
from bridge.transmitters.line import Line
from bridge.transmitters.topics import Topics

_FILES_OF_A_TRANSMITTER = 4
"""Connections to its receivers, the old and the new; its passwords while they are written."""


def topics(settings: Settings) -> Topics:
    named = {each.name: {alarm.key: alarm.named() for alarm in each.alarms} for each in settings.transmitters}
    return Topics(settings.mqtt.base_topic, named)


def broker(mqtt: MqttSettings) -> Broker:
    tls = mqtt.tls if mqtt.tls and mqtt.tls.enabled else None
    return Broker(
        host=mqtt.host,
        port=mqtt.port,
        username=mqtt.username,
        password=mqtt.password,
        protocol=mqtt.protocol,
        client_id=mqtt.client_id or mqtt.base_topic.replace("/", "-"),
        session_expiry_s=int(mqtt.session_expiry),
        keepalive_s=int(mqtt.keepalive),
        transport=mqtt.transport,
        websocket_path=mqtt.websocket_path,
        tls=tls is not None,
        ca_file=tls.ca_file if tls else None,
        cert_file=tls.cert_file if tls else None,
        key_file=tls.key_file if tls else None,
    )


def client(each: TransmitterSettings, authentication: Secret, clock: Clock | None = None) -> SOSAccessClient:
    return SOSAccessClient(
        each.transmitter_code,
        each.transmitter_type,
        authentication,
        each.receiver_id,
        host_port(each.receiver),
        host_port(each.secondary_receiver) if each.secondary_receiver else None,
        each.use_single_receiver,
        each.use_tls,
        tls_verify=each.tls_verify,
        connect_timeout=each.connect_timeout,
        response_timeout=each.response_timeout,
        now=(clock or Clock()).now,
    )


def credentials(store: Path, each: TransmitterSettings) -> Credentials:
    """Return the passwords of a transmitter, which lie beside the store. Raises StoreError."""
    return Credentials(directory(store) / f"{each.name}.json", each.authentication)


def line(settings: Settings, each: TransmitterSettings, clock: Clock | None = None) -> Line:
    """Return a transmitter's line. Raises ConfigError and StoreError."""
    passwords = credentials(settings.store.path, each)
    return Line(
        name=each.name,
        client=client(each, passwords.candidates()[0], clock),
        credentials=passwords,
        heartbeat=each.heartbeat_s,
        max_age=timedelta(seconds=each.max_age),
    )


def controlled(g90: G90Settings) -> dict[str, Controlled]:
    """Return the configured panels, by GUID."""
    motion, door = timedelta(seconds=g90.motion_off_after), g90.door_off_after
    options = Options(motion, timedelta(seconds=door) if door else None)
    return {panel.guid: _controlled(panel, options) for panel in g90.panels}


def _controlled(panel: PanelSettings, options: Options) -> Controlled:
    network = ip_network(panel.address, strict=False) if panel.address else None
    return Controlled(
        config=PanelConfig(guid=panel.guid, name=panel.name, address=network, options=options),
        control=_control(panel),
        lock=CodeLock(panel.code, panel.code_arm_required),
    )


def _control(panel: PanelSettings) -> Callable[[PanelServer], PanelControl] | None:
    if panel.control == "local" and panel.host:
        local = LocalControl(*host_port(panel.host, LOCAL_PORT))
        return lambda _: local
    if panel.control == "cloud":
        return lambda server: server.control(panel.guid)
    return None


def server(
    g90: G90Settings,
    handler: PanelHandler,
    panels: dict[str, Controlled],
    states: dict[str, PanelState],
    transmitters: int,
    clock: Clock,
) -> PanelServer:
    """Return the panels' server, which leaves files to open for `transmitters` and for everything else."""
    host, port = host_port(g90.listen)
    upstream = host_port(g90.upstream) if g90.upstream else None
    asked = sum(panel.control is not None for panel in panels.values())
    connections, burst = share(
        g90.max_connections,
        files_each=2 if upstream else 1,
        others=_FILES_OF_A_TRANSMITTER * transmitters + asked,
        burst=Limits().burst,
    )
    return PanelServer(
        handler,
        host=host,
        port=port,
        announce=host_port(g90.announce) if g90.announce else None,
        upstream=Upstream(host=upstream[0], port=upstream[1]) if upstream else None,
        panels={guid: panel.config for guid, panel in panels.items()},
        states=states,
        accept_unknown=g90.unknown_panels == "accept",
        limits=Limits(
            max_connections=connections,
            burst=burst,
            per_stranger_address=g90.connections_per_stranger,
            idle_timeout=g90.idle_timeout,
            offline_after=g90.offline_after,
        ),
        clock=clock.now,
        panel_time=lambda: 0 if clock.is_off else int(clock.now().timestamp()),
    )
