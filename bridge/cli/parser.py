"""The parser of the command line. It imports only the module of the command that is run."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Collection, Sequence
from importlib import import_module
from typing import Any, NoReturn

from bridge import __version__

_COMMANDS = {
    "run": ("run", "run the bridge until SIGTERM or Ctrl-C"),
    "check": ("check", "test configuration, store, broker, receivers, panels and rules; list what is wrong"),
    "ping": ("alarm", "send one heartbeat directly"),
    "rotate": ("alarm", "get a new password from the receiver and store it"),
    "alarm": ("alarm", "raise or restore one alarm directly, for commissioning"),
    "test": ("test", "let the running service send a test alarm, and wait for the answer"),
    "outbox": ("outbox", "list, show, retry or drop pending and rejected commands"),
    "history": ("history", "list every command that ended, with its result"),
    "report": ("report", "figures of a month: availability, alarms, transmission times"),
    "backup": ("backup", "write the store and the passwords to one file"),
    "restore-backup": ("backup", "restore a backup; stop the service first"),
    "store": ("store", "copy a store from SQLite to PostgreSQL; stop the service first"),
    "panel": ("panel", "query or control a G90 panel in the local network"),
    "simulate": ("simulate.command", "simulate a receiver or a panel"),
    "demo": ("demo.command", "demonstrate alarms, failover and the outbox on this machine, with simulators"),
    "healthcheck": ("healthcheck", "print what needs a person; exit 0 while the running bridge works"),
    "cluster": ("cluster", "list shards, their owners and the nodes of a cluster; remove a node"),
    "config": ("config", "print an example configuration, or its JSON schema"),
}
"""The module of each command, whose `register` adds its parser, and its help."""
_ALL = tuple(module for module, _ in _COMMANDS.values())
_SECRET = re.compile(r"((?:password|authentication|code|store\.url)[\w.]*)=.*", re.IGNORECASE | re.DOTALL)
_EPILOG = """\
exit status: 0 success; 1 failure; 2 wrong usage or configuration; 3 the service is running, stop it first;
4 refused by the receiver, or healthcheck --strict found a problem. Configuration file: --config FILE,
else $SOSBRIDGE_CONFIG, /config/sosbridge.toml, ./sosbridge.toml. To try it without a configuration: sosbridge demo
"""


def command(words: Sequence[str]) -> Callable[[], int]:
    """Return what runs the command of `words`. Exits where they ask for help, or are wrong."""
    named, _ = parser(()).parse_known_args(words)
    args = parser([_COMMANDS[named.command][0]]).parse_args(words)
    if args.light:
        return lambda: args.run(args)
    return lambda: import_module("bridge.cli.common").execute(args)


class _Parser(argparse.ArgumentParser):
    """Masks passwords of a misplaced `--set` in usage errors."""

    def error(self, message: str) -> NoReturn:
        super().error(_SECRET.sub(r"\1=...", message))


class _Commands(argparse._SubParsersAction):  # type: ignore[type-arg]  # noqa: SLF001 - the only way to give it
    def add_parser(self, name: str, **options: Any) -> Any:  # noqa: ANN401 - as there
        return super().add_parser(name, help=_COMMANDS[name][1], **options)


def parser(modules: Collection[str] = _ALL) -> argparse.ArgumentParser:
    """Return the parser with the commands of `modules`; of the others it knows the names only."""
    top = _Parser(
        prog="sosbridge",
        description="MQTT bridge between alarm panels, Home Assistant and alarm receiving centres (SOS Access v4).",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"sosbridge {__version__}")
    top.add_argument("-c", "--config", metavar="FILE", help="configuration file")
    top.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override one setting, for example mqtt.host=localhost; repeatable",
    )
    top.add_argument("--log-level", choices=("debug", "info", "warning", "error"), help="least severe level to log")
    top.set_defaults(light=False)
    commands = top.add_subparsers(metavar="COMMAND", dest="command", required=True, action=_Commands)
    registered = set()
    for name, (module, _) in _COMMANDS.items():
        if module not in modules:
            commands.add_parser(name, add_help=False)
        elif module not in registered:
            registered.add(module)
            import_module(f"bridge.cli.{module}").register(commands)
    return top
