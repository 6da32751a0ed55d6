"""`sosbridge panel`: commission a G90 panel (bridge/g90/PROTOCOL.md, Local protocol)."""

from __future__ import annotations

import argparse
import socket
from dataclasses import asdict
from typing import Final

from bridge.cli.arguments import host_port
from bridge.cli.common import print_json, say
from bridge.common.errors import BridgeError, ConfigError
from bridge.common.text import clean
from bridge.config.panels import PanelSettings
from bridge.config.settings import Settings
from bridge.g90.control_local import LocalControl
from bridge.g90.discovery import BROADCAST, discover
from bridge.g90.wire.commands import HostInfo, HostStatus
from bridge.g90.wire.constants import CLOUD_PORT, LOCAL_PORT, ArmCode

_ADVICE: Final = """{guid} was pointed at {address}:{port}; panels do not confirm this.
It should connect within two minutes; the bridge logs it and publishes the panel's availability. If it does not:
  - Does the bridge listen on port {port} of {address}, and does the firewall let the panel in?
  - Can the panel reach {address}? It cannot reach the internal address of a container.
  - Is GUID {guid} in the configuration, and does its `address` allow the panel's network?
  - Switch the panel off and on; some connect to a new server only then."""
_INFO: Final = {
    "state": ("state", ""),
    "guid": ("GUID", ""),
    "product": ("product", ""),
    "firmware": ("firmware", ""),
    "battery_mv": ("battery", " mV"),
    "gsm_signal": ("GSM signal", " %"),
    "wifi_signal": ("Wi-Fi signal", " %"),
}
"""Label and unit of each field of the status."""


async def list_all(args: argparse.Namespace) -> int:
    found = [await _listed(panel) for panel in _configured(args)]
    lines = (
        f"{each['guid']}  {each['name'] or '-'}  control {each['control']}  {each['host'] or '-'}: "
        + (f"{each['state']}, {each['product']}" if each["state"] else f"{each['error']}")
        for each in found
    )
    _show(args, found, *(lines if found else ["no panel is configured"]))
    return 0


def _show(args: argparse.Namespace, found: object, *lines: str) -> None:
    """Print `found` as JSON if the command asks for it, else the lines for people."""
    if args.json:
        print_json(found)
        return
    for line in lines:
        say(line)


async def _listed(panel: PanelSettings) -> dict[str, str | None]:
    found: dict[str, str | None] = {"guid": panel.guid, "name": panel.name, "control": panel.control}
    found |= {"host": panel.host, "state": None, "product": None, "error": None}
    if panel.host is None:
        return found | {"error": "no host is configured"}
    try:
        status = await LocalControl(*_host_port(panel.host, LOCAL_PORT), timeout=1.0, retries=1).status()
    except BridgeError as error:
        return found | {"error": str(error)}
    return found | {"state": state(status), "product": status.product}


async def find(args: argparse.Namespace) -> int:
    """List the panels that answer; return 1 if there are none."""
    try:
        guids = [panel.guid for panel in _configured(args)]
    except ConfigError:
        guids = []  # none is needed to look for panels
    to, port = _host_port(args.to or BROADCAST, LOCAL_PORT)
    answers = sorted((await discover(guids, args.wait, to=to, port=port)).items())
    found = [
        {
            "address": address,
            "guid": info.guid if isinstance(info, HostInfo) else None,
            "product": info.product,
            "firmware": info.firmware,
        }
        for address, info in answers
    ]
    lines = (
        f"{each['address']:15}  {each['guid'] or '-':15}  {each['product']}, firmware {each['firmware']}"
        for each in found
    )
    nobody = "no panel answered; run this in the panels' network, and outside of containers"
    _show(args, found, *(lines if found else [nobody]))
    return 0 if found else 1


async def status(args: argparse.Namespace) -> int:
    control = _control(args)
    reached, info = await control.status(), await control.host_info()
    fields = {**asdict(info), "state": state(reached)}
    found = {name: fields[name] for name in _INFO}
    lines = (
        f"{label + ':':14}{'-' if found[name] is None else f'{found[name]}{unit}'}"
        for name, (label, unit) in _INFO.items()
    )
    _show(args, found, *lines)
    return 0


def state(status: HostStatus) -> str:
    """Return the state of a panel as its topic names it (TOPICS.md, Panel states)."""
    return "triggered" if status.arm is ArmCode.ALARMED else status.arm.name.lower()


async def sensors(args: argparse.Namespace) -> int:
    found = await _control(args).sensors()
    as_json = [{"index": each.index, "type": each.type_name, "name": each.name} for each in found]
    _show(args, as_json, *(f"{each.index:4}  {each.type_name or '-':18}  {each.name}" for each in found))
    return 0


async def set_to(args: argparse.Namespace) -> int:
    control = _control(args)
    actions = {"arm_away": control.arm_away, "arm_home": control.arm_home, "disarm": control.disarm}
    await actions[args.action]()
    now = state(await control.status())
    _show(args, {"state": now}, f"done; the panel is now {now}")
    return 0


async def point_here(args: argparse.Namespace) -> int:
    control = _control(args)
    guid = (await control.host_info()).guid
    address, port = _host_port(args.address or _announced(args) or _own_address(*_target(args)), CLOUD_PORT)
    await control.point_at(address, port)
    advice = _ADVICE.format(guid=guid, address=address, port=port)
    _show(args, {"guid": guid, "address": f"{address}:{port}"}, advice)
    return 0


def _control(args: argparse.Namespace) -> LocalControl:
    return LocalControl(*_target(args), timeout=args.timeout, retries=args.retries)


def _configured(args: argparse.Namespace) -> tuple[PanelSettings, ...]:
    settings: Settings = args.load_settings()
    return settings.g90.panels if settings.g90 else ()


def _target(args: argparse.Namespace) -> tuple[str, int]:
    """Return the panel's host and port. Raises ConfigError if neither command nor settings name them."""
    if args.host:
        return _host_port(args.host, LOCAL_PORT)
    panels = _configured(args)
    if args.guid is None and len(panels) != 1:
        known = ", ".join(panel.guid for panel in panels) or "none"
        raise ConfigError(f"no panel given; give a GUID, or an address with --host; configured: {known}")
    panel = next((panel for panel in panels if args.guid in (None, panel.guid)), None)
    if panel is None:
        raise ConfigError(f"panel {clean(args.guid)} is not configured; give its address with --host")
    if not panel.host:
        raise ConfigError(f"panel {panel.guid} has no host in the configuration; give its address with --host")
    return _host_port(panel.host, LOCAL_PORT)


def _announced(args: argparse.Namespace) -> str | None:
    """Return the configured address for panels; None with --host, when no configuration is needed."""
    if args.host:
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
