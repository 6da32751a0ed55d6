"""`sosbridge panel`: commission a G90 panel (bridge/g90/PROTOCOL.md, Local protocol)."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from bridge.cli.arguments import host_port, number, timeout
from bridge.cli.common import say
from bridge.common.errors import BridgeError, ConfigError
from bridge.common.text import clean
from bridge.config.settings import Settings
from bridge.g90.control_local import LocalControl
from bridge.g90.discovery import BROADCAST, discover
from bridge.g90.wire.commands import HostInfo
from bridge.g90.wire.constants import CLOUD_PORT, LOCAL_PORT

_EXAMPLE: Final = """examples:
  sosbridge panel list
  sosbridge panel discover
  sosbridge panel status GB7F20C14D05A91
  sosbridge panel sensors --host 192.168.1.50
  sosbridge panel point-here --host 192.168.1.50 --address 192.168.1.10:5678
"""
_ADVICE: Final = """{guid} was pointed at {address}:{port}; panels do not confirm this.
It should connect within two minutes; the bridge logs it and publishes the panel's availability. If it does not:
  - Does the bridge listen on port {port} of {address}, and does the firewall let the panel in?
  - Can the panel reach {address}? It cannot reach the internal address of a container.
  - Is GUID {guid} in the configuration, and does its `address` allow the panel's network?
  - Switch the panel off and on; some connect to a new server only then."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "panel",
        description="Query or control a G90 panel over UDP, without the bridge, or point it at this bridge.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="list the configured panels, with the state of those that have a host")
    find = actions.add_parser("discover", help="find the panels in the local network")
    find.add_argument("--wait", type=timeout, default=5.0, metavar="S", help="seconds to wait (default: 5)")
    find.add_argument("--to", metavar="ADDRESS[:PORT]", help="instead of a broadcast")
    for name, (help_text, _) in _ACTIONS.items():
        action = actions.add_parser(name, help=help_text)
        _add_panel_options(action)
        if name == "point-here":
            action.add_argument(
                "--address",
                metavar="IP[:PORT]",
                help="the server's address (default: g90.announce, else this machine's)",
            )
    parser.set_defaults(run=run)


def _add_panel_options(action: argparse.ArgumentParser) -> None:
    action.add_argument("guid", nargs="?", metavar="GUID", help="a configured panel that has a host")
    action.add_argument("--host", metavar="HOST[:PORT]", help=f"the panel's address (default port: {LOCAL_PORT})")
    action.add_argument(
        "--timeout", type=timeout, default=2.0, metavar="S", help="seconds for each attempt (default: 2)"
    )
    action.add_argument(
        "--retries",
        type=partial(number, least=0, most=999),
        default=3,
        metavar="N",
        help="attempts after the first (default: 3)",
    )


async def run(args: argparse.Namespace) -> int:
    """Run one action; return the exit status. Raises `BridgeError` if the panel does not carry it out."""
    if args.action == "list":
        return await _list(args.load_settings())
    if args.action == "discover":
        return await _discover(args)
    host, port = _target(args)
    control = LocalControl(host, port, timeout=args.timeout, retries=args.retries)
    await _ACTIONS[args.action][1](control, args)
    return 0


async def _list(settings: Settings) -> int:
    panels = settings.g90.panels if settings.g90 else ()
    if not panels:
        say("no panel is configured")
    for panel in panels:
        state = await _state(panel.host) if panel.host else "no host is configured"
        say(f"{panel.guid}  {panel.name or '-'}  control {panel.control}  {panel.host or '-'}: {state}")
    return 0


async def _discover(args: argparse.Namespace) -> int:
    """List the panels that answer; return 1 if there are none."""
    try:
        settings: Settings = args.load_settings()
        guids = [panel.guid for panel in settings.g90.panels] if settings.g90 else []
    except ConfigError:
        guids = []  # none is needed to look for panels
    to, port = _host_port(args.to or BROADCAST, LOCAL_PORT)
    found = await discover(guids, args.wait, to=to, port=port)
    for address, info in sorted(found.items()):
        guid = info.guid if isinstance(info, HostInfo) else ""
        say(f"{address:15}  {guid or '-':15}  {info.product}, firmware {info.firmware}")
    if not found:
        say("no panel answered; run this in the panels' network, and outside of containers")
    return 0 if found else 1


async def _state(host: str) -> str:
    """Return the state and product of a panel, or why it cannot be read."""
    try:
        status = await LocalControl(*_host_port(host, LOCAL_PORT), timeout=1.0, retries=1).status()
    except BridgeError as error:
        return str(error)
    return f"{status.arm.name.lower()}, {status.product}"


async def _status(control: LocalControl, _: argparse.Namespace) -> None:
    status, info = await control.status(), await control.host_info()
    for label, value in (
        ("state", status.arm.name.lower()),
        ("GUID", info.guid),
        ("product", info.product),
        ("firmware", info.firmware),
        ("battery", None if info.battery_mv is None else f"{info.battery_mv} mV"),
        ("GSM signal", None if info.gsm_signal is None else f"{info.gsm_signal} %"),
        ("Wi-Fi signal", None if info.wifi_signal is None else f"{info.wifi_signal} %"),
    ):
        say(f"{label + ':':14}{'-' if value is None else value}")


async def _sensors(control: LocalControl, _: argparse.Namespace) -> None:
    for sensor in await control.sensors():
        say(f"{sensor.index:4}  {sensor.type_name or '-':18}  {sensor.name}")


async def _armed(ask: Callable[[LocalControl], Awaitable[None]], control: LocalControl, _: argparse.Namespace) -> None:
    await ask(control)
    say(f"done; the panel is now {(await control.status()).arm.name.lower()}")


async def _point(control: LocalControl, args: argparse.Namespace) -> None:
    guid = (await control.host_info()).guid
    address, port = _host_port(args.address or _announced(args) or _own_address(*_target(args)), CLOUD_PORT)
    await control.point_at(address, port)
    say(_ADVICE.format(guid=guid, address=address, port=port))


_ACTIONS: Final[dict[str, tuple[str, Callable[[LocalControl, argparse.Namespace], Awaitable[None]]]]] = {
    "status": ("show state, GUID, firmware and signals", _status),
    "sensors": ("list the sensors with index and type", _sensors),
    "arm-away": ("arm the panel", partial(_armed, LocalControl.arm_away)),
    "arm-home": ("arm the panel with people at home", partial(_armed, LocalControl.arm_home)),
    "disarm": ("disarm the panel", partial(_armed, LocalControl.disarm)),
    "point-here": ("make the panel connect to this bridge", _point),
}


def _target(args: argparse.Namespace) -> tuple[str, int]:
    """Return the panel's host and port. Raises ConfigError if neither command nor settings name them."""
    if args.host:
        return _host_port(args.host, LOCAL_PORT)
    if not args.guid:
        raise ConfigError("no panel given; give the GUID of a configured panel, or its address with --host")
    settings: Settings = args.load_settings()
    panels = settings.g90.panels if settings.g90 else ()
    panel = next((panel for panel in panels if panel.guid == args.guid), None)
    if panel is None:
        raise ConfigError(f"panel {clean(args.guid)} is not configured; give its address with --host")
    if not panel.host:
        raise ConfigError(f"panel {panel.guid} has no host in the configuration; give its address with --host")
    return _host_port(panel.host, LOCAL_PORT)


def _announced(args: argparse.Namespace) -> str | None:
    """Return the configured address for panels; None without a GUID, when no configuration is needed."""
    if not args.guid:
        return None
    settings: Settings = args.load_settings()
    return settings.g90.announce if settings.g90 else None


def _own_address(host: str, port: int) -> str:
    """Return the address from which this machine reaches the panel. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, port))
        except OSError as error:
            raise ConfigError(f"cannot reach {clean(host)}: {error}") from error
        return str(probe.getsockname()[0])


def _host_port(text: str, default: int) -> tuple[str, int]:
    try:
        return host_port(text, default)
    except argparse.ArgumentTypeError as error:
        raise ConfigError(str(error)) from None
