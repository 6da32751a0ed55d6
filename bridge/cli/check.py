"""`sosbridge check`: test everything that the service needs; a table and an exit status."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from bridge.app.build import broker, lines
from bridge.app.health_client import UnhealthyError, ask
from bridge.cli import database, stores
from bridge.cli.findings import Finding, print_findings
from bridge.cli.panel import state
from bridge.common.errors import BridgeError
from bridge.common.text import clean, counted
from bridge.config.panels import PanelSettings
from bridge.config.settings import Settings
from bridge.config.shards import Parts
from bridge.config.sources import find
from bridge.config.transmitters import TransmitterSettings
from bridge.config.types import host_port
from bridge.g90.control_local import LocalControl
from bridge.g90.wire.constants import LOCAL_PORT
from bridge.mqtt.client import try_connection
from bridge.panels.rules import uncovered
from bridge.sos_access.status import PingTooOften, ServiceUnavailable, Unauthorized, error_for
from bridge.store.outbox import Outbox
from bridge.store.records import Counts
from bridge.store.sqlite.lock import is_held
from bridge.transmitters.line import Line, Watch
from bridge.transmitters.logins import Login
from bridge.transmitters.routes import Route
from bridge.transmitters.schedule import Try
from bridge.transmitters.supervision import PING_GAP_S

_PANEL_S: Final = 2.0
"""Between the two attempts to read a panel."""
_OTHER_PROTOCOL: Final[dict[str, Literal["5", "3.1.1"]]] = {"5": "3.1.1", "3.1.1": "5"}


@dataclass(frozen=True, slots=True)
class _Site:
    settings: Settings
    file: str
    is_new: bool
    runs: bool
    """Whether the service runs on the store."""


async def run(args: argparse.Namespace) -> int:
    settings = args.load_settings()
    path = settings.store.path
    is_new = settings.store.url is None and not path.exists()
    file = args.config or find()
    site = _Site(settings, str(file or "without a file"), is_new, runs=not is_new and is_held(path))
    parts = (_configuration, _service, _store, _broker, _transmitters, _panels)
    findings = [finding for part in parts async for finding in part(site)]
    return print_findings(("what", "works", "details"), findings, as_json=args.json)


async def _configuration(site: _Site) -> AsyncIterator[Finding]:
    settings = site.settings
    counts = [counted(len(settings.transmitters), "transmitter")]
    if settings.g90 is not None:
        counts += [counted(len(settings.g90.panels), "panel"), counted(len(settings.forward), "rule")]
    yield "configuration", "ok", f"{site.file}: {', '.join(counts)}"
    for warning in settings.warnings:
        if ": no rule forwards " not in warning:  # a row of its own
            yield "configuration", "warning", warning


async def _service(site: _Site) -> AsyncIterator[Finding]:
    """List what the running service reports."""
    if not site.runs:
        yield "service", "-", "does not run on this store"
        return
    try:
        report = await asyncio.to_thread(ask, site.settings.store.path)
    except UnhealthyError as error:
        yield "service", "FAILED", str(error)
        return
    if report.hanging:
        yield "service", "FAILED", f"hangs: {', '.join(report.hanging)}"
    count = counted(len(report.problems), "problem") if report.problems else "no problems"
    unknown = f", not checked yet: {', '.join(report.unknown)}" if report.unknown else ""
    yield "service", "FAILED" if report.problems else "ok", f"running, {count}{unknown}"
    for kind, owner, since, text in report.problems:
        yield f"service, {owner}", "FAILED", f"{kind.replace('_', ' ')} since {since[:19]}: {text}"


async def _store(site: _Site) -> AsyncIterator[Finding]:
    path, names = site.settings.store.path, [each.name for each in site.settings.transmitters]
    if (url := site.settings.store.url) is not None:
        async for row in database.rows(site.settings, url):
            yield row
    elif site.is_new:
        yield _new_store(path)
        return
    stray: dict[str, int] = {}
    counts: list[Counts] = []
    try:
        for shard, part in enumerate(Parts(site.settings)):
            async with stores.opened(site.settings, shard=shard) as store:
                outbox, where = Outbox(store), store.name.removeprefix("the store ")
                stray |= await outbox.unconfigured(names)
                counts += [(await outbox.status(each.name)).counts for each in part.transmitters]
    except BridgeError as error:
        yield "store", "FAILED", str(error)
        return
    waiting, rejected = sum(each.pending for each in counts), sum(each.rejected for each in counts)
    words = f"{where}: {counted(waiting, 'alarm')} waiting, {rejected} rejected"
    yield "store", "ok", f"{words}{', in use by the running service' if site.runs else ''}"
    if stray:
        waits = ", ".join(f"{count} for {clean(name)}" for name, count in stray.items())
        yield "store", "FAILED", f"alarms wait for transmitters that are not configured: {waits}"


def _new_store(path: Path) -> Finding:
    if not os.access(path.parent, os.W_OK | os.X_OK):
        fault = f"the directory {path.parent} does not exist or is not writable"
        return "store", "FAILED", f"{path}: {fault}; create it, or correct store.path"
    return "store", "warning", f"{path} does not exist: the service begins a new store; is store.path right?"


async def _broker(site: _Site) -> AsyncIterator[Finding]:
    target = broker(site.settings)
    where = f"{target.host}:{target.port}, MQTT {target.protocol}"
    try:
        await try_connection(target)
    except BridgeError as error:
        other = _OTHER_PROTOCOL[target.protocol]
        try:
            await try_connection(replace(target, protocol=other))
        except BridgeError:
            yield "broker", "FAILED", f"{where}: {error}"
        else:
            yield "broker", "FAILED", f'{where}: it speaks MQTT {other} only; set mqtt.protocol = "{other}"'
    else:
        yield "broker", "ok", where


async def _transmitters(site: _Site) -> AsyncIterator[Finding]:
    homes = await stores.homes(site.settings)
    for each, own in zip(site.settings.transmitters, lines(site.settings, homes=homes), strict=True):
        sender = replace(own, owns_passwords=False)
        password = _password(site, each, sender)
        yield password
        receivers = dict.fromkeys(route.receiver for route in sender.peers)
        asked = (_receiver(each, sender, receiver, password[2]) for receiver in receivers)
        for findings in await asyncio.gather(*asked):
            for finding in findings:
                yield finding


def _password(site: _Site, each: TransmitterSettings, sender: Line) -> Finding:
    what = f"{each.name}, password"
    if sender.passwords.problem is not None:
        return what, "FAILED", sender.passwords.problem
    if sender.passwords.candidates()[0] != each.authentication:
        return what, "ok", "the rotated password, from the store"
    if site.is_new:
        return what, "ok", "the configured password, as the store is new"
    return what, "ok", "the configured password"


async def _receiver(each: TransmitterSettings, sender: Line, receiver: str, password: str) -> list[Finding]:
    address = each.receiver if receiver == "primary" else each.secondary_receiver
    found: list[Finding] = []
    for route in sender.peers:
        if route.receiver != receiver:
            continue
        if found:
            await asyncio.sleep(PING_GAP_S)  # receivers answer 101 to pings that come faster
        path = f" over {route.path}" if route.path else ""
        found.append(await _route(sender, route, f"{each.name}, {receiver} receiver {address}{path}", password))
    return found


async def _route(sender: Line, route: Route, what: str, password: str) -> Finding:
    """Ping one receiver over one path with the password that the service would use."""
    request = sender.client.ping_request()
    sent = await sender.ask((Try(route, Login.LIKELIEST, 0.0),), request, Watch())
    if sent.exchange is None:
        return what, "FAILED", sent.attempts[-1].error
    response, offset = sent.exchange.response, sent.exchange.clock_offset_s
    error = error_for(response.status, response.info)
    if isinstance(error, Unauthorized):
        hint = "; if it was rotated, restore the store and its passwords from a backup" if "new" in password else ""
        return what, "FAILED", f"{error}: it refuses {password}{hint}"
    if isinstance(error, ServiceUnavailable | PingTooOften):
        return what, "warning", f"{error}: {error.hint}"
    if error is not None:
        return what, "FAILED", str(error)
    clock = f", receiver clock minus local clock: {offset:+.3f} s" if offset is not None else ""
    return what, "ok", f"{response.status} {clean(response.info)}{clock}"


async def _panels(site: _Site) -> AsyncIterator[Finding]:
    g90 = site.settings.g90
    if g90 is None:
        return
    yield await _port(site, *host_port(g90.listen))
    for finding in await asyncio.gather(*map(_panel, g90.panels)):
        yield finding
    rules = [each.rule() for each in site.settings.forward]
    for panel in g90.panels if site.settings.transmitters else ():
        missing = uncovered(rules, panel.guid)
        details = f"no rule forwards {', '.join(missing)}" if missing else "every alarm is forwarded"
        yield f"{_named(panel)}, rules", "warning" if missing else "ok", details


async def _port(site: _Site, host: str, port: int) -> Finding:
    what = f"port {host}:{port} for panels"
    try:
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, host, port)
    except OSError as error:
        if site.runs:
            return what, "ok", "in use, as the service runs"
        reason = os.strerror(error.errno) if error.errno else str(error)
        return what, "FAILED", f"the service could not listen: {reason}"
    server.close()
    if site.runs:
        return what, "FAILED", "the service runs and does not listen there"
    return what, "ok", "free"


async def _panel(panel: PanelSettings) -> Finding:
    what = _named(panel)
    if panel.host is None:
        return what, "-", "not asked: it has no `host` in the configuration"
    control = LocalControl(*host_port(panel.host, LOCAL_PORT), timeout=_PANEL_S, retries=1)
    try:
        info = await control.host_info()
        status = await control.status()
    except BridgeError as error:
        return what, "FAILED", str(error)
    if info.guid != panel.guid:
        return what, "FAILED", f"{panel.host}: there is panel {clean(info.guid)}; is the address right?"
    return what, "ok", f"{panel.host}: {state(status).replace('_', ' ')}, {clean(info.product)}"


def _named(panel: PanelSettings) -> str:
    return f"panel {panel.name or panel.guid}"
