"""`sosbridge alarm raise|restore`, `ping`, `rotate`: one exchange with a receiver, without MQTT."""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import fields, replace

from bridge.app.build import Homes, line
from bridge.cli.common import add_transmitter_option, coloured, find_transmitter
from bridge.cli.stores import homes
from bridge.common.errors import BusyError, StoreError
from bridge.common.models import Alarm, Secret
from bridge.common.text import clean
from bridge.config.settings import Settings, TransmitterSettings
from bridge.sos_access.client import Exchange
from bridge.sos_access.messages import NewAuthResponse, Response
from bridge.sos_access.prepare import prepare
from bridge.sos_access.status import PingTooOften, ServiceUnavailable
from bridge.store.sqlite.lock import hold, is_held
from bridge.transmitters.line import Line

_OPTIONS = [field.name for field in fields(Alarm) if field.name not in ("event_code", "urgent")]


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    _register_alarm(commands)
    ping = commands.add_parser("ping")
    ping.set_defaults(run=send_ping)
    rotate = commands.add_parser(
        "rotate",
        description="Ask the receiver for a new password and store it beside the outbox, where the service finds it. "
        "Does not work while the service runs: publish to .../auth/rotate instead.",
    )
    rotate.set_defaults(run=rotate_password)
    for parser in (ping, rotate):
        parser.add_argument("--reference", metavar="TEXT", help="shown in the receiver's log")
        add_transmitter_option(parser)


def _register_alarm(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    alarm = commands.add_parser("alarm")
    kinds = alarm.add_subparsers(metavar="KIND", required=True)
    for kind, alarm_type in (("raise", "AL"), ("restore", "RE")):
        parser = kinds.add_parser(
            kind,
            help=f"send one alarm ({alarm_type})",
            description="Send one alarm to the receiver, without MQTT and without the outbox. This is a real alarm: "
            "inform the alarm receiving centre first.",
            epilog=f"example: sosbridge alarm {kind} BA --section 1 --section-text House",
        )
        parser.add_argument("event_code", help="for example BA (burglary) or FA (fire)")
        for option in _OPTIONS:
            name = option.replace("_", " ")
            parser.add_argument(f"--{name.replace(' ', '-')}", metavar="TEXT", help=f"{name} of the alarm")
        parser.set_defaults(run=send_alarm, alarm_type=alarm_type)
        add_transmitter_option(parser)


async def send_alarm(args: argparse.Namespace) -> int:
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
    if settings.store.url is not None:
        topic = f"{settings.mqtt.base_topic}/transmitter/{each.name}/auth/rotate"
        raise BusyError(f"nodes share the passwords, and the owner changes them; publish on {topic}")
    with hold(settings.store.path):
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
    found = replace(line(settings, each, homes=at), owns_passwords=owner)
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
