"""`sosbridge alarm raise|restore`, `ping`, `rotate`: one exchange with a receiver, without MQTT."""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import fields, replace

from bridge.app.build import Homes, line, topics
from bridge.cli.common import coloured, find_transmitter
from bridge.cli.stores import homes
from bridge.common.errors import BusyError, StoreError
from bridge.common.models import Alarm, Secret
from bridge.common.text import clean
from bridge.config.settings import Settings
from bridge.config.transmitters import TransmitterSettings
from bridge.sos_access.client import Exchange
from bridge.sos_access.messages import NewAuthResponse, Response
from bridge.sos_access.prepare import prepare
from bridge.sos_access.status import PingTooOften, ServiceUnavailable
from bridge.store.sqlite.lock import hold, is_held
from bridge.transmitters.line import Line

_OPTIONS = [field.name for field in fields(Alarm) if field.name not in ("event_code", "urgent")]


async def send(args: argparse.Namespace) -> int:
    each, sender = await _sender(args)
    alarm, warnings = prepare(Alarm(args.event_code, **{name: getattr(args, name) for name in _OPTIONS}))
    for warning in warnings:
        print(coloured(f"warning: {warning}", good=None))
    _report(each, await sender.exchange(sender.client.prepared_request(alarm, args.alarm_type)))
    return 0


async def send_ping(args: argparse.Namespace) -> int:
    each, sender = await _sender(args)
    try:
        exchange = await sender.exchange(sender.client.ping_request(args.reference))
    except (ServiceUnavailable, PingTooOften) as error:
        raise type(error)(f"{error}: {error.hint}") from None
    _report(each, exchange)
    return 0


async def _sender(args: argparse.Namespace) -> tuple[TransmitterSettings, Line]:
    """Return the chosen transmitter and its line. Raises ConfigError and StoreError."""
    settings = args.load_settings()
    each = find_transmitter(settings, args.transmitter)
    # The running service owns the passwords: beside it they are only read.
    owner = settings.store.url is None and not is_held(settings.store.path)
    return each, _line(settings, each, await homes(settings), owner=owner)


async def rotate_password(args: argparse.Namespace) -> int:
    settings = args.load_settings()
    each = find_transmitter(settings, args.transmitter)
    topic = topics(settings).of(each.name, "auth/rotate")
    instead = f"publish to it: mosquitto_pub -q 1 -t {topic} -n"
    if settings.store.url is not None:
        raise BusyError(f"nodes share the passwords, and the owner changes them; {instead}")
    path = settings.store.path
    if is_held(path):
        raise BusyError(f"the store {path} is in use by a running sosbridge; {instead}")
    with hold(path):
        sender = _line(settings, each, await homes(settings), owner=True)
        if (refusal := await sender.rotation_refusal()) is not None:
            raise StoreError(refusal)
        exchange = await sender.exchange(sender.client.new_auth_request(args.reference))
        response = exchange.response
        if isinstance(response, NewAuthResponse) and response.new_authentication is not None:
            await asyncio.to_thread(sender.passwords.add, Secret(response.new_authentication))
    _report(each, exchange)
    print("the new password is stored; the next message uses it")
    return 0


def _line(settings: Settings, each: TransmitterSettings, at: Homes, *, owner: bool) -> Line:
    found = replace(line(settings, each, at), owns_passwords=owner)
    if found.passwords.problem is not None:
        print(coloured(f"warning: {found.passwords.problem}", good=None), file=sys.stderr)
    return found


def _report(each: TransmitterSettings, exchange: Exchange[Response]) -> None:
    response = exchange.response
    address = each.receiver if exchange.receiver == "primary" else each.secondary_receiver
    answer = f"{response.status} {clean(response.info)}"
    print(f"{coloured('accepted', good=True)} by the {exchange.receiver} receiver {address}: {answer}")
    if exchange.attempts > 1:
        print(f"attempts: {exchange.attempts}")
    if exchange.clock_offset_s is not None:
        print(f"arrived: {response.arrival_time} (receiver clock minus local clock: {exchange.clock_offset_s:+.3f} s)")
