"""`sosbridge check`: test everything that the service needs; a table and an exit status."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import dataclass, replace

from bridge.app.build import broker, line
from bridge.cli.common import coloured, print_table
from bridge.common.errors import BridgeError
from bridge.common.text import clean
from bridge.config.settings import Settings, TransmitterSettings
from bridge.mqtt.client import try_connection
from bridge.sos_access.status import PingTooOften, ServiceUnavailable, error_for
from bridge.store.database import Store
from bridge.store.lock import is_held
from bridge.store.outbox import Outbox
from bridge.transmitters.line import Line, Watch
from bridge.transmitters.logins import Login
from bridge.transmitters.routes import Route
from bridge.transmitters.schedule import Try
from bridge.transmitters.supervision import PING_GAP_S


@dataclass(frozen=True, slots=True)
class _Finding:
    what: str
    good: bool | None
    """None: a warning."""
    details: str


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "check",
        description="Validate the configuration, open the store, connect to the broker and ping each receiver over "
        "each path. Exit status: 0 if everything works, 1 if something does not, 2 if the configuration is wrong.",
    )
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace) -> int:
    settings = args.load_settings()
    findings = [_Finding("configuration", good=True, details=f"{len(settings.transmitters)} transmitters")]
    findings += [await _store(settings), await _broker(settings)]
    findings += [_Finding("configuration", None, warning) for warning in settings.warnings]
    for each in settings.transmitters:
        findings += await _transmitter(settings, each)
    words = {True: "ok", False: "FAILED", None: "warning"}
    rows = [(each.what, coloured(words[each.good], good=each.good), each.details) for each in findings]
    print_table(("what", "works", "details"), rows)
    return 1 if any(finding.good is False for finding in findings) else 0


async def _store(settings: Settings) -> _Finding:
    path = settings.store.path
    try:
        async with await Store.open(path) as store:
            stray = await Outbox(store).unconfigured([each.name for each in settings.transmitters])
    except BridgeError as error:
        return _Finding("store", good=False, details=str(error))
    if stray:
        words = ", ".join(f"{count} for {clean(name)}" for name, count in stray.items())
        return _Finding("store", good=False, details=f"{path}: commands wait for a transmitter not configured: {words}")
    return _Finding("store", good=True, details=f"{path}{', in use by the running service' if is_held(path) else ''}")


async def _broker(settings: Settings) -> _Finding:
    target = broker(settings.mqtt)
    where = f"{target.host}:{target.port}, MQTT {target.protocol}"
    try:
        await try_connection(target)
    except BridgeError as error:
        return _Finding("broker", good=False, details=f"{where}: {error}")
    return _Finding("broker", good=True, details=where)


async def _transmitter(settings: Settings, each: TransmitterSettings) -> list[_Finding]:
    """Ask every receiver over every path, the receivers at once."""
    sender = replace(line(settings, each), owns_passwords=False)
    found = []
    if sender.passwords.problem is not None:
        found.append(_Finding(f"{each.name}, passwords", good=False, details=sender.passwords.problem))
    receivers = dict.fromkeys(route.receiver for route in sender.peers)
    for findings in await asyncio.gather(*(_receiver(each, sender, receiver) for receiver in receivers)):
        found += findings
    return found


async def _receiver(each: TransmitterSettings, sender: Line, receiver: str) -> list[_Finding]:
    address = each.receiver if receiver == "primary" else each.secondary_receiver
    found: list[_Finding] = []
    for route in sender.peers:
        if route.receiver != receiver:
            continue
        if found:
            await asyncio.sleep(PING_GAP_S)  # receivers answer 101 to pings that come faster
        path = f" over {route.path}" if route.path else ""
        found.append(await _route(sender, route, f"{each.name}, {receiver} receiver {address}{path}"))
    return found


async def _route(sender: Line, route: Route, what: str) -> _Finding:
    """Ping one receiver over one path with the password that the service would use."""
    request = sender.client.ping_request()
    sent = await sender.ask((Try(route, Login.LIKELIEST, 0.0),), request, Watch())
    if sent.exchange is None:
        return _Finding(what, good=False, details=sent.attempts[-1].error)
    response, offset = sent.exchange.response, sent.exchange.clock_offset_s
    error = error_for(response.status, response.info)
    if error is not None:
        good = None if isinstance(error, ServiceUnavailable | PingTooOften) else False
        return _Finding(what, good, str(error))
    clock = f", receiver clock minus local clock: {offset:+.3f} s" if offset is not None else ""
    return _Finding(what, good=True, details=f"{response.status} {clean(response.info)}{clock}")
