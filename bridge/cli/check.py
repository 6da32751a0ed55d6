"""`sosbridge check`: test everything that the service needs; a table and an exit status."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import dataclass

from bridge.app.build import broker, client, credentials
from bridge.cli.common import coloured, print_table
from bridge.common.errors import BridgeError
from bridge.config.settings import Settings, TransmitterSettings
from bridge.mqtt.client import try_connection
from bridge.sos_access.status import PingTooOften, ServiceUnavailable
from bridge.store.database import Store
from bridge.store.lock import is_held


@dataclass(frozen=True, slots=True)
class _Finding:
    what: str
    good: bool | None
    """None: a warning."""
    details: str


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "check",
        help="validate the configuration, connect to the broker, ping each receiver",
        description="Validate the configuration, open the store, connect to the broker and ping each receiver. "
        "Exit status: 0 if everything works, 1 if something does not, 2 if the configuration is wrong.",
    )
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace) -> int:
    settings = args.load_settings()
    findings = [_Finding("configuration", good=True, details=f"{len(settings.transmitters)} transmitters")]
    findings += [await _store(settings), await _broker(settings)]
    findings += [_Finding("configuration", None, warning) for warning in settings.warnings]
    for each in settings.transmitters:
        receivers = ("primary",) if each.secondary_receiver is None else ("primary", "secondary")
        findings += await asyncio.gather(*(_receiver(settings, each, which) for which in receivers))
    words = {True: "ok", False: "FAILED", None: "warning"}
    rows = [(each.what, coloured(words[each.good], good=each.good), each.details) for each in findings]
    print_table(("what", "works", "details"), rows)
    return 1 if any(finding.good is False for finding in findings) else 0


async def _store(settings: Settings) -> _Finding:
    path = settings.store.path
    try:
        async with await Store.open(path):
            pass
    except BridgeError as error:
        return _Finding("store", good=False, details=str(error))
    return _Finding("store", good=True, details=f"{path}{', in use by the running service' if is_held(path) else ''}")


async def _broker(settings: Settings) -> _Finding:
    target = broker(settings.mqtt)
    where = f"{target.host}:{target.port}, MQTT {target.protocol}"
    try:
        await try_connection(target)
    except BridgeError as error:
        return _Finding("broker", good=False, details=f"{where}: {error}")
    return _Finding("broker", good=True, details=where)


async def _receiver(settings: Settings, each: TransmitterSettings, which: str) -> _Finding:
    """Ping one receiver with the password that the service would use, without completing a rotation."""
    what = f"{each.name}, {which} receiver {each.receiver if which == 'primary' else each.secondary_receiver}"
    try:
        sender = client(each, credentials(settings.store.path, each).candidates()[0])
        sender.use_single_receiver, sender.MAX_RETRY = True, 1
        if which == "secondary" and sender.secondary_receiver_address is not None:
            sender.receiver_address = sender.secondary_receiver_address
        exchange = await sender.exchange(sender.ping_request())
    except (ServiceUnavailable, PingTooOften) as error:
        return _Finding(what, good=None, details=str(error))
    except BridgeError as error:
        return _Finding(what, good=False, details=str(error))
    offset = exchange.clock_offset_s
    clock = f", receiver clock minus local clock: {offset:+.3f} s" if offset is not None else ""
    return _Finding(what, good=True, details=f"{exchange.response.status} {exchange.response.info}{clock}")
