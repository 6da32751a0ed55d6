"""What the log says at the start: store, broker, transmitters, panels and ports."""

from __future__ import annotations

import logging

from bridge.app import build
from bridge.common.text import counted
from bridge.config.panels import PanelSettings
from bridge.config.settings import Settings
from bridge.config.transmitters import TransmitterSettings

log = logging.getLogger(__name__)

_MANY = 100
"""More transmitters have a line each at level debug alone."""


def log_start(settings: Settings, store: str, shard: int) -> None:
    """Write the lines, each with what it is about, then the warnings."""
    mqtt = build.broker(settings, shard)
    log.info("%s", store.removeprefix("the "))
    text = "broker %s:%d, MQTT %s%s, client id %s, base topic %s"
    log.info(text, mqtt.host, mqtt.port, mqtt.protocol, ", TLS" * mqtt.tls, mqtt.client_id, settings.mqtt.base_topic)
    many = len(settings.transmitters) > _MANY
    if many:
        log.info("%d transmitters", len(settings.transmitters))
    for each in settings.transmitters:
        level = logging.DEBUG if many else logging.INFO
        log.log(level, "%s: %s", each.name, _transmitter(each), extra={"transmitter": each.name})
    if settings.g90 is not None:
        upstream = f", upstream {settings.g90.upstream}" if settings.g90.upstream else ""
        others = ", unknown panels accepted" * settings.g90.accepts_unknown
        counts = f"{counted(len(settings.g90.panels), 'panel')}, {counted(len(settings.forward), 'rule')}"
        log.info("panels: port %s%s, %s%s", settings.g90.listen, upstream, counts, others)
        for panel in settings.g90.panels:
            log.info("panel %s: %s", panel.name or panel.guid, _panel(panel), extra={"panel": panel.name or panel.guid})
    if not settings.transmitters and settings.store.shards == 1:
        log.warning("no transmitter is configured: no alarm reaches an operator")
    for warning in settings.warnings:
        log.warning("%s", warning)


def _transmitter(each: TransmitterSettings) -> str:
    words = [f"{name} receiver {host}:{port}" for name, (host, port) in build.receivers(each).items()]
    words += [f"path {path.name} ({path.interface or path.source})" for path in each.paths]
    words.append(f"TLS, tls_verify {each.tls_verify.partition(':')[0]}" if each.use_tls else "no TLS")
    words.append(f"heartbeat {each.heartbeat}")
    return ", ".join(words)


def _panel(panel: PanelSettings) -> str:
    control = f"control {panel.control}" + (f" at {panel.host}" if panel.host else "")
    return f"GUID {panel.guid}, {control}{', with a code' * (panel.code is not None)}"
