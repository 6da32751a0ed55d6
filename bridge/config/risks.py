"""Settings that are allowed and likely wrong, each as one line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from bridge.config.panels import G90Settings
from bridge.config.settings import MqttSettings, Settings
from bridge.config.transmitters import TransmitterSettings
from bridge.config.types import host_port
from bridge.panels.rules import faults, uncovered

_NEEDS_TWO_S = 180
"""Heartbeat levels up to this one require two receivers and two paths (sos_access/PROTOCOL.md, Heartbeat levels)."""
_PATHS_REQUIRED = 2
_MQTT_TLS_PORT = 8883
_MANY, _NAMED = 20, 3
"""A risk of more transmitters is one line, which names so many of them."""
_GUID = re.compile("[A-Z0-9]{15}")
"""Of all panels that were seen."""


def of(settings: Settings) -> Iterator[str]:
    """Yield a line for each."""
    if not settings.transmitters and settings.g90 is None:
        yield "there is neither a [[transmitters]] nor a [g90] table: nothing to do"
    if not settings.store.path.is_absolute():
        path = settings.store.path.absolute()
        yield f"store.path: {str(settings.store.path)!r} is relative, here it means {path}; use an absolute path"
    yield from _mqtt(settings.mqtt)
    yield from _cluster(settings)
    yield from _together((each.name, line) for each in settings.transmitters for line in _transmitter(each))
    if settings.g90 is not None:
        yield from _g90(settings, settings.g90)


def _together(found: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield a line for each transmitter and risk, or one for a risk that many have."""
    names: dict[str, list[str]] = {}
    for name, line in found:
        names.setdefault(line, []).append(name)
    for line, some in names.items():
        if len(some) > _MANY:
            yield f"{', '.join(some[:_NAMED])} and {len(some) - _NAMED} others: {line}"
        else:
            yield from (f"{name}: {line}" for name in some)


def _mqtt(mqtt: MqttSettings) -> Iterator[str]:
    if mqtt.port == _MQTT_TLS_PORT and mqtt.tls is None:
        yield f"mqtt.port: {mqtt.port} usually needs TLS; add a [mqtt.tls] table"
    if mqtt.password is not None and mqtt.username is None:
        yield "mqtt.password: has no effect without mqtt.username"
    if mqtt.tls is not None and mqtt.tls.key_file and not mqtt.tls.cert_file:
        yield "mqtt.tls.key_file: has no effect without mqtt.tls.cert_file"


def _cluster(settings: Settings) -> Iterator[str]:
    if settings.store.url is None:
        for table, names in ((settings.store, ("lease", "shards")), (settings.node, ("name", "shards"))):
            for name in sorted(table.model_fields_set.intersection(names)):
                yield f"{'store' if table is settings.store else 'node'}.{name}: has no effect without store.url"
        return
    if settings.mqtt.protocol != "5":
        yield 'mqtt.protocol: with 3.1.1 each take-over turns the bridge unavailable for a moment; use "5"'
    if settings.mqtt.session_expiry <= 2 * settings.store.lease:
        yield "mqtt.session_expiry: commands published during a take-over are lost; use for example 7d"


def _transmitter(each: TransmitterSettings) -> Iterator[str]:
    monitored = each.heartbeat_s is not None and each.heartbeat_s <= _NEEDS_TWO_S
    if monitored and each.secondary_receiver is None:
        yield f"heartbeat {each.heartbeat} requires a secondary receiver; add secondary_receiver"
    if each.secondary_receiver and _same(each.receiver, each.secondary_receiver):
        yield f"secondary_receiver: {each.secondary_receiver} is also the primary receiver; ask for the second address"
    if monitored and len(each.paths) < _PATHS_REQUIRED:
        yield (
            f"heartbeat {each.heartbeat} requires a second network path, such as a mobile network; "
            "add [[transmitters.paths]]"
        )
    if not each.use_tls:
        yield "use_tls is false: alarms and the password are sent unencrypted"
    elif each.tls_verify == "none":
        yield 'tls_verify is "none": any server can pose as the receiver; use "system", a CA file or sha256:...'


def _same(one: str, other: str) -> bool:
    (host, port), (other_host, other_port) = host_port(one), host_port(other)
    return (host.lower(), port) == (other_host.lower(), other_port)


def _g90(settings: Settings, g90: G90Settings) -> Iterator[str]:
    rules = [rule.rule() for rule in settings.forward]
    yield from faults(rules, g90.names)
    for panel in g90.panels:
        if not _GUID.fullmatch(panel.guid):
            yield f"panel {panel.guid}: a GUID has 15 capital letters and digits; this one does not"
        missing = uncovered(rules, panel.guid) if settings.transmitters else ()
        if missing:
            yield f"panel {panel.name or panel.guid}: no rule forwards {', '.join(missing)}"
