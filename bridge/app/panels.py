"""The panels of a bridge: their server, what becomes of their events, their commands and readers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_network

from bridge.app import build
from bridge.app.core import Core
from bridge.app.file_limits import FILES_OF_A_TRANSMITTER, share
from bridge.app.front import Work
from bridge.common.problems import Kind
from bridge.config.panels import G90Settings, PanelSettings
from bridge.config.types import host_port
from bridge.g90.connections import Connections
from bridge.g90.control import PanelControl
from bridge.g90.control_cloud import CloudControl
from bridge.g90.control_local import LocalControl
from bridge.g90.reader import PanelReader
from bridge.g90.registry import PanelConfig
from bridge.g90.server import Limits, PanelServer
from bridge.g90.state.model import Options, PanelState
from bridge.g90.state.plan import Reads
from bridge.g90.upstream import Upstream
from bridge.g90.wire.constants import LOCAL_PORT
from bridge.panels.code_lock import CodeLock
from bridge.panels.commands import PanelCommands
from bridge.panels.events import Panels
from bridge.panels.forwarding import MaxAges
from bridge.panels.known import ControlledPanel, KnownPanels
from bridge.panels.topics import PanelTopics


@dataclass(frozen=True, slots=True)
class PanelParts:
    g90: G90Settings
    """Without `[g90]` the defaults, and nothing listens."""
    topics: PanelTopics
    connections: Connections
    known: KnownPanels
    commands: PanelCommands
    events: Panels


def make_panels(core: Core, emit: Callable[..., None], on_state: Callable[[PanelState], None]) -> PanelParts:
    """Return the parts; cloud control finds its panels in `connections`.

    `emit` publishes on `bridge/event`; `on_state` takes each state of a panel, after it is stored.
    """
    settings, g90, clock, outgoing = core.settings, core.settings.g90 or G90Settings(), core.clock, core.outgoing
    topics, connections = PanelTopics(settings.mqtt.base_topic), Connections()
    known = known_panels(g90, connections)
    max_ages = core.place.max_ages if core.place else build.max_ages(settings)
    events = Panels(
        topics, core.outbox, outgoing, known,
        rules=[each.rule() for each in settings.forward], clock=clock, accept_unknown=g90.accepts_unknown,
        emit=emit, problems=core.problems, max_ages=MaxAges(max_ages, g90.missed_max_age), on_state=on_state,
    )  # fmt: skip
    commands = PanelCommands(topics, outgoing, known, clock=clock, emit=emit)
    return PanelParts(g90, topics, connections, known, commands, events)


def work(parts: PanelParts, server: PanelServer) -> dict[str, Work]:
    """Return what runs, by name."""
    readers = {
        f"reader of panel {guid}": panel.reader.run(server.registry) for guid, panel in parts.known.configured.items()
    }
    return {
        "panel server": server.run(),
        "panels": parts.events.run(),
        "panel commands": parts.commands.run(server.registry),
        **readers,
    }


def known_panels(g90: G90Settings, connections: Connections) -> KnownPanels:
    """Return the configured panels; cloud control finds theirs in `connections`."""
    return KnownPanels({panel.guid: _controlled(panel, g90, connections) for panel in g90.panels})


def _controlled(panel: PanelSettings, g90: G90Settings, connections: Connections) -> ControlledPanel:
    door_off = g90.door_off_after if panel.door_off_after is None else panel.door_off_after
    options = Options(g90.motion_off_after, door_off)
    network = ip_network(panel.address, strict=False) if panel.address else None
    control = _control(panel, connections)
    reading = LocalControl(*host_port(panel.host, LOCAL_PORT)) if panel.control != "local" and panel.host else control
    reads = Reads.AT_HELLO if isinstance(reading, CloudControl) else Reads.REGULARLY
    return ControlledPanel(
        config=PanelConfig(guid=panel.guid, name=panel.name, address=network, options=options),
        control=control,
        lock=CodeLock(panel.code, panel.code_arm_required),
        reader=PanelReader(
            panel.guid, reading, reads=reads if panel.read else Reads.NOT, poll=g90.poll, follows=panel.host is None
        ),
    )


def _control(panel: PanelSettings, connections: Connections) -> PanelControl | None:
    if panel.control == "local" and panel.host:
        return LocalControl(*host_port(panel.host, LOCAL_PORT))
    if panel.control == "cloud":
        return CloudControl(panel.guid, connections)
    return None


def server(core: Core, parts: PanelParts, states: dict[str, PanelState]) -> PanelServer:
    """Return the panels' server, which leaves files to open for the transmitters and the rest."""
    g90, clock, problems = parts.g90, core.clock, core.problems
    problems.doubt(Kind.PORT_TAKEN)
    host, port = host_port(g90.listen)
    upstream = host_port(g90.upstream) if g90.upstream else None
    return PanelServer(
        parts.events,
        host=host,
        port=port,
        announce=host_port(g90.announce) if g90.announce else None,
        upstream=Upstream(host=upstream[0], port=upstream[1]) if upstream else None,
        panels={guid: panel.config for guid, panel in parts.known.configured.items()},
        states=states,
        connections=parts.connections,
        accept_unknown=g90.accepts_unknown,
        limits=_limits(g90, len(core.settings.transmitters)),
        clock=clock.now,
        on_listening=partial(problems.set, Kind.PORT_TAKEN),
        panel_time=lambda: 0 if clock.is_wrong else int(clock.now().timestamp()),
    )


def _limits(g90: G90Settings, transmitters: int) -> Limits:
    connections, burst = share(
        g90.max_connections,
        files_each=2 if g90.upstream else 1,
        others=FILES_OF_A_TRANSMITTER * transmitters + len(g90.panels),
        burst=Limits().burst,
    )
    return Limits(
        max_connections=connections,
        burst=burst,
        per_stranger_address=g90.connections_per_stranger,
        idle_timeout=g90.idle_timeout,
        offline_after=g90.offline_after,
    )
