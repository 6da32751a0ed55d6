"""`sosbridge panel`: commissioning of a G90 panel over its local protocol."""

from __future__ import annotations

import argparse
import socket
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from bridge.common.errors import BridgeError, ConfigError
from bridge.common.text import clean
from bridge.config.types import host_port
from bridge.g90.control_local import LocalControl
from bridge.g90.wire.constants import CLOUD_PORT, LOCAL_PORT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

_EXAMPLE: Final = """examples:
  sosbridge panel list
  sosbridge panel status GB7F20C14D05A91
  sosbridge panel sensors --host 192.168.1.50
  sosbridge panel point-here --host 192.168.1.50 --address 192.168.1.10:5678
"""
_ADVICE: Final = """{guid} was told to dial {address}:{port}; it does not answer that.
It should say hello within two minutes: the bridge's log shows it, and its availability on MQTT. If nothing arrives:
  - does the bridge listen on port {port} of {address}, and does a firewall let the panel in?
  - is {address} the address that the panel reaches the bridge at (a container's is not)?
  - is GUID {guid} in the configuration, and does `address` there allow where the panel is?
  - switch the panel off and on: some dial anew only then."""

_LONGEST_S: Final = 3600
_MOST_DIGITS: Final = 3


class PanelLike(Protocol):
    """One panel of the configuration."""

    @property
    def guid(self) -> str: ...
    @property
    def name(self) -> str | None: ...
    @property
    def host(self) -> str | None: ...
    @property
    def control(self) -> str: ...


class G90Like(Protocol):
    @property
    def panels(self) -> Sequence[PanelLike]: ...
    @property
    def announce(self) -> str | None: ...


class SettingsLike(Protocol):
    """What this command needs of the settings."""

    @property
    def g90(self) -> G90Like | None: ...


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "panel",
        help="ask or command a G90 panel in the local network",
        description="Speak with a G90 panel directly, over UDP: to try it, and to point it at this bridge.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="the configured panels, and what those with a host say")
    for name, (help_text, _) in _ACTIONS.items():
        action = actions.add_parser(name, help=help_text)
        action.add_argument("guid", nargs="?", metavar="GUID", help="a configured panel with a host")
        action.add_argument("--host", metavar="HOST[:PORT]", help=f"its address instead (port: {LOCAL_PORT})")
        action.add_argument("--timeout", type=_seconds, default=2.0, metavar="S", help="for each attempt (default: 2)")
        action.add_argument(
            "--retries", type=_retries, default=3, metavar="N", help="attempts after the first (default: 3)"
        )
        if name == "point-here":
            action.add_argument(
                "--address", metavar="IP[:PORT]", help="what it is to dial (default: announce, or ours)"
            )
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace) -> int:
    """Do one action; return the exit status. Raises `BridgeError` if the panel does not do it."""
    if args.action == "list":
        return await _list(args.load_settings())
    host, port = _target(args)
    control = LocalControl(host, port, timeout=args.timeout, retries=args.retries)
    await _ACTIONS[args.action][1](control, args)
    return 0


async def _list(settings: SettingsLike) -> int:
    panels = settings.g90.panels if settings.g90 else ()
    if not panels:
        _say("no panel is configured")
    for panel in panels:
        says = await _glance(panel.host) if panel.host else "no host is configured"
        _say(f"{panel.guid}  {panel.name or '-'}  control {panel.control}  {panel.host or '-'}: {says}")
    return 0


async def _glance(host: str) -> str:
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
        _say(f"{label + ':':14}{'-' if value is None else value}")


async def _sensors(control: LocalControl, _: argparse.Namespace) -> None:
    for sensor in await control.sensors():
        _say(f"{sensor.index:4}  {sensor.type_name or '-':18}  {sensor.name}")


async def _armed(ask: Callable[[LocalControl], Awaitable[None]], control: LocalControl, _: argparse.Namespace) -> None:
    await ask(control)
    _say(f"done; the panel says: {(await control.status()).arm.name.lower()}")


async def _point(control: LocalControl, args: argparse.Namespace) -> None:
    guid = (await control.host_info()).guid
    address, port = _host_port(args.address or _announced(args) or _own_address(*_target(args)), CLOUD_PORT)
    await control.point_at(address, port)
    _say(_ADVICE.format(guid=guid, address=address, port=port))


_ACTIONS: Final[dict[str, tuple[str, Callable[[LocalControl, argparse.Namespace], Awaitable[None]]]]] = {
    "status": ("its state, GUID, firmware and signals", _status),
    "sensors": ("its sensors, with index and type", _sensors),
    "arm-away": ("arm it", partial(_armed, LocalControl.arm_away)),
    "arm-home": ("arm it for those at home", partial(_armed, LocalControl.arm_home)),
    "disarm": ("disarm it", partial(_armed, LocalControl.disarm)),
    "point-here": ("let it dial this bridge", _point),
}


def _target(args: argparse.Namespace) -> tuple[str, int]:
    """Return where the panel is asked; raise `ConfigError` if nothing says so."""
    if args.host:
        return _host_port(args.host, LOCAL_PORT)
    if not args.guid:
        raise ConfigError("which panel? Name the GUID of a configured one, or its address with --host")
    settings: SettingsLike = args.load_settings()
    panels = settings.g90.panels if settings.g90 else ()
    panel = next((panel for panel in panels if panel.guid == args.guid), None)
    if panel is None:
        raise ConfigError(f"panel {clean(args.guid)} is not configured; its address can be given with --host")
    if not panel.host:
        raise ConfigError(f"panel {panel.guid} has no host in the configuration; its address can be given with --host")
    return _host_port(panel.host, LOCAL_PORT)


def _announced(args: argparse.Namespace) -> str | None:
    """Return what panels are told to dial by the configuration, where there is one to ask."""
    if not args.guid:
        return None
    settings: SettingsLike = args.load_settings()
    return settings.g90.announce if settings.g90 else None


def _own_address(host: str, port: int) -> str:
    """Return the address from which this machine reaches the panel; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, port))
        except OSError as error:
            raise ConfigError(f"{clean(host)} cannot be reached: {error}") from error
        return str(probe.getsockname()[0])


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _LONGEST_S:  # nor is it NaN
        raise argparse.ArgumentTypeError(f"{clean(text, 40)!r} is no time above 0 and up to {_LONGEST_S} seconds")
    return seconds


def _retries(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS):
        raise argparse.ArgumentTypeError(f"{clean(text, 40)!r} is no number of attempts from 0 to 999")
    return int(text)


def _host_port(text: str, default: int) -> tuple[str, int]:
    try:
        return host_port(text, default)
    except ValueError as error:
        raise ConfigError(clean(error)) from None


_say = partial(print, flush=True)
