"""Makes the parts of the bridge from the settings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from bridge import __version__
from bridge.common.clock import Clock
from bridge.common.models import NamedAlarm, Secret
from bridge.config.panels import PanelSettings
from bridge.config.settings import Settings
from bridge.config.transmitters import ReceiverSettings, TransmitterSettings
from bridge.config.types import host_port
from bridge.homeassistant.announcer import Announcer
from bridge.homeassistant.devices import transmitter_id, transmitter_of
from bridge.homeassistant.entity import Names
from bridge.homeassistant.panel import ControlOptions
from bridge.mqtt.client import Broker
from bridge.mqtt.outgoing import Outgoing
from bridge.mqtt.session import Subscriptions
from bridge.panels.known import KnownPanels
from bridge.panels.topics import PanelTopics
from bridge.record.figures import Subject
from bridge.sos_access.client import AsyncSOSAccessClient
from bridge.sos_access.peer import Peer
from bridge.store.passwords import PasswordFile, PasswordHome, Passwords, account, password_file
from bridge.transmitters.line import Line
from bridge.transmitters.network import Network
from bridge.transmitters.routes import Route
from bridge.transmitters.scheduled_tests import PlannedTests
from bridge.transmitters.topics import Reach, Topics

_KEEPALIVE_S = 30.0
_KEEPALIVE_IN_A_CLUSTER_S = 4.0
"""Another node may reach the broker, and takes the shard."""
_TAKES_OVER_S = 5.0
"""What the next owner of a shard needs, after the lease, until it has the MQTT session."""


def topics(settings: Settings, shard: int = 0, others: Collection[str] = ()) -> Topics:
    """Return the topics of a shard's transmitters; `others` are those of other shards."""
    named = {each.name: alarms(each) for each in settings.transmitters}
    reaches = {each.name: _reach(each) for each in settings.transmitters}
    return Topics(settings.mqtt.base_topic, named, reaches, shard, others)


def alarms(each: TransmitterSettings) -> dict[str, NamedAlarm]:
    """Return the configured alarms of a transmitter by key."""
    return {alarm.key: alarm.named() for alarm in each.alarms}


def _reach(each: TransmitterSettings) -> Reach:
    receivers = {"primary": each.receiver}
    if each.secondary_receiver:
        receivers["secondary"] = each.secondary_receiver
    paths = {path.name: path.interface or path.source or "" for path in each.paths}
    return Reach(receivers, paths, each.heartbeat_s, each.test_every_route)


def subjects(settings: Settings) -> list[Subject]:
    """Return what is measured of each transmitter."""
    return [
        Subject(each.name, tuple(_reach(each).receivers), tuple(_reach(each).paths), each.undelivered_after)
        for each in settings.transmitters
    ]


def max_ages(settings: Settings) -> dict[str, float]:
    """Return how old an alarm of each transmitter may be, in seconds."""
    return {each.name: each.max_age for each in settings.transmitters}


def planned_tests(settings: Settings) -> dict[str, PlannedTests]:
    """Return the test alarms of each transmitter that has a schedule of them."""
    plans = {}
    for each in settings.transmitters:
        if (timetable := each.timetable) is not None and each.test_event_code:
            routes = _routes(each) if each.test_every_route else ()
            plans[each.name] = PlannedTests(each.test_event_code, timetable, tuple(routes))
    return plans


def _routes(each: TransmitterSettings) -> list[Route]:
    """Return every receiver over the first path before any over the second."""
    paths = [path.name for path in each.paths] or [""]
    return [Route(receiver, path) for path in paths for receiver in receivers(each)]


def broker(settings: Settings, shard: int = 0) -> Broker:
    """Return the broker; each of several shards has a client id of its own."""
    mqtt = settings.mqtt
    own_id = f"-{shard}" if settings.store.shards > 1 else ""
    tls = mqtt.tls if mqtt.tls and mqtt.tls.enabled else None
    return Broker(
        host=mqtt.host,
        port=mqtt.port,
        username=mqtt.username,
        password=mqtt.password,
        protocol=mqtt.protocol,
        client_id=f"{mqtt.client_id or mqtt.base_topic.replace('/', '-')}{own_id}",
        session_expiry_s=int(mqtt.session_expiry),
        will_delay_s=int(settings.store.lease + _TAKES_OVER_S) if settings.store.url else 0,
        keepalive_s=int(mqtt.keepalive or (_KEEPALIVE_IN_A_CLUSTER_S if settings.store.url else _KEEPALIVE_S)),
        transport=mqtt.transport,
        websocket_path=mqtt.websocket_path,
        tls=tls is not None,
        ca_file=tls.ca_file if tls else None,
        cert_file=tls.cert_file if tls else None,
        key_file=tls.key_file if tls else None,
    )


def client(each: ReceiverSettings, authentication: Secret, clock: Clock | None = None) -> AsyncSOSAccessClient:
    return AsyncSOSAccessClient(
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


Homes = Callable[[TransmitterSettings], PasswordHome]
"""Where the passwords of a transmitter are kept."""


def beside(store: Path) -> Homes:
    """Return the homes of passwords beside a store that is a file."""
    return lambda each: PasswordFile(password_file(store, each.name, each.transmitter_code, each.transmitter_type))


def lines(
    settings: Settings, clock: Clock | None = None, network: Network | None = None, homes: Homes | None = None
) -> list[Line]:
    """Return the transmitters' lines; those of the same account share its passwords. Raises ConfigError."""
    network, clock, homes = network or Network(), clock or Clock(), homes or beside(settings.store.path)
    of_accounts: dict[str, list[TransmitterSettings]] = {}
    for each in settings.transmitters:
        of_accounts.setdefault(_account(each), []).append(each)
    passwords = {key: _passwords(sharing, homes) for key, sharing in of_accounts.items()}
    return [
        Line(
            name=each.name,
            client=client(each, each.authentication, clock),
            passwords=passwords[_account(each)],
            shared_as=_shared_as(each, of_accounts[_account(each)]),
            peers=_peers(each, network),
            network=network,
            clock=clock,
            heartbeat=each.heartbeat_s,
            check_idle_every=each.check_idle_every,
            undelivered_after=each.undelivered_after,
            max_age=timedelta(seconds=each.max_age),
        )
        for each in settings.transmitters
    ]


def line(settings: Settings, each: TransmitterSettings, homes: Homes) -> Line:
    """Return one transmitter's line. Raises ConfigError."""
    sharing = tuple(other for other in settings.transmitters if _account(other) == _account(each))
    found = lines(settings.model_copy(update={"transmitters": sharing}), homes=homes)
    return found[sharing.index(each)]


def _passwords(sharing: Sequence[TransmitterSettings], homes: Homes) -> Passwords:
    """Return the passwords of the transmitters of one account."""
    first, *others = sharing
    further = {
        f"{_shared_as(other, sharing)}{name}": other.authentication for other in others for name in receivers(other)
    }
    own = [f"{_shared_as(first, sharing)}{name}" for name in receivers(first)]
    return Passwords(homes(first), first.authentication, own, further)


def _shared_as(each: TransmitterSettings, sharing: Sequence[TransmitterSettings]) -> str:
    """Return what the names of its receivers begin with, where others have the same account."""
    return f"{each.name}/" if len(sharing) > 1 else ""


def _account(each: TransmitterSettings) -> str:
    return account(each.transmitter_code, each.transmitter_type)


def _peers(each: TransmitterSettings, network: Network) -> dict[Route, Peer]:
    """Return where each route goes: every receiver over the first path before any over the second."""
    peer = Peer(
        host_port(each.receiver),
        network.policy(each.tls_verify) if each.use_tls else None,
        tls_name=each.tls_name,
        connect_timeout=each.connect_timeout,
        response_timeout=each.response_timeout,
    )
    ways = {path.name: replace(peer, interface=path.interface, source=path.source) for path in each.paths}
    return {
        Route(receiver, path): replace(way, address=address, label=f"{each.name}: {receiver}{path and f' over {path}'}")
        for path, way in (ways or {"": peer}).items()
        for receiver, address in receivers(each).items()
    }


def receivers(each: TransmitterSettings) -> dict[str, tuple[str, int]]:
    return {name: host_port(written) for name, written in _reach(each).receivers.items()}


def announcer(settings: Settings, outgoing: Outgoing, shard: int = 0) -> Announcer:
    names = Names(settings.homeassistant.discovery_prefix, settings.mqtt.base_topic, __version__, shard)
    panels = {panel.guid: _announced_control(panel) for panel in settings.g90.panels} if settings.g90 else {}
    return Announcer(names, outgoing, panels, enabled=settings.homeassistant.enabled)


def _announced_control(panel: PanelSettings) -> ControlOptions:
    code = panel.code.reveal() if panel.code else None
    return ControlOptions(
        possible=panel.control != "off",
        code=code is not None,
        digits=code is not None and code.isdecimal(),
        code_to_arm=code is not None and panel.code_arm_required,
        readable=panel.read,
    )


async def announce(settings: Settings, own: Topics, to: Announcer) -> None:
    """Announce the bridge and its transmitters to Home Assistant; panels follow as they are known."""
    if own.shard == 0:
        to.announce_bridge(settings.store.shards)
    for each in settings.transmitters:
        await asyncio.sleep(0)  # of thousands it takes seconds, in which an owner has to prove that it lives
        to.announce_transmitter(each.name, own.transmitters[each.name], each.test_event_code, own.reach(each.name))


def subscriptions(
    own: Topics,
    panel_topics: PanelTopics,
    panels: KnownPanels,
    discovery: Announcer,
    differs: Callable[[], bool] = lambda: False,
) -> Subscriptions:
    """Return the retained topics of the bridge, transmitters, panels and Home Assistant's discovery.

    `differs` returns whether the owner of another shard may know transmitters that are unknown here.
    """

    def is_ours(topic: str) -> bool:
        if topic.startswith(f"{own.base}/"):
            return not own.is_elsewhere(topic)
        return discovery.names.is_ours(topic) and transmitter_of(discovery.names, topic) not in own.others

    def may_be_elsewhere(topic: str) -> bool:
        name = transmitter_of(discovery.names, topic) or own.transmitter(topic)
        return name is not None and name not in own.transmitters and differs()

    def is_stale(topic: str) -> bool:
        if may_be_elsewhere(topic):
            return False
        if discovery.names.is_ours(topic):
            return discovery.is_stale(topic)
        guid = panel_topics.guid(topic)
        return own.is_stale(topic) if guid is None else guid not in panels

    def states() -> Iterator[str]:
        yield from (each for pattern in own.states for each in own.to_subscribe(pattern))
        if own.shard == 0:
            yield from (*panel_topics.states, discovery.names.filter)
        else:
            yield from (discovery.names.topic(transmitter_id(discovery.names, name)) for name in own.transmitters)

    return Subscriptions(own.bridge("state"), states, is_ours, is_stale, discovery.learned)
