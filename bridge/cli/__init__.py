"""The command line: `sosbridge COMMAND`. Errors are one line on standard error, never a traceback.

Exit status: 0 done; 1 failed (receiver, broker or store; `check` and `healthcheck`: a fault was found); 2 wrong usage
or configuration; 3 the running service holds what the command needs; 4 rejected by the receiver.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from bridge import __version__
from bridge.cli.common import add_config_options, load_settings
from bridge.cli.logs import setup_logging
from bridge.common.errors import BridgeError, BusyError, ConfigError, FieldError
from bridge.sos_access.status import Rejected, Unauthorized

_COMMANDS = {
    "run": "run",
    "check": "check",
    "ping": "alarm",
    "rotate": "alarm",
    "alarm": "alarm",
    "outbox": "outbox",
    "backup": "backup",
    "restore-backup": "backup",
    "panel": "panel",
    "simulate": "simulate.command",
    "demo": "demo.command",
    "healthcheck": "healthcheck",
    "config": "config",
}
"""Commands and their modules below `bridge.cli`. Only the module of the command that is given is imported."""
_STATUS = (
    (ConfigError, 2),
    (FieldError, 2),
    (BusyError, 3),
    (Rejected, 4),
    (Unauthorized, 4),
    (BridgeError, 1),
)
_SECRET = re.compile(r"((?:password|authentication|code)[\w.]*)=.*", re.IGNORECASE | re.DOTALL)
_INTERRUPTED = 130
_EPILOG = """\
exit status: 0 done; 1 failed; 2 wrong usage or configuration; 3 the service is running, stop it first;
4 rejected by the receiver. Configuration file: --config FILE, else $SOSBRIDGE_CONFIG, /config/sosbridge.toml,
./sosbridge.toml. To try it without a configuration: sosbridge demo
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its status."""
    sys.exit(call(arguments))


def call(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    args = parser(given).parse_args(given)
    args.load_settings = lambda: load_settings(args)
    setup_logging(args.log_level or "warning", "human")
    try:
        status: int = asyncio.run(args.run(args))
    except BridgeError as error:
        print(f"sosbridge: {error}", file=sys.stderr)
        return next(status for kind, status in _STATUS if isinstance(error, kind))
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # the reader, such as head, closed the pipe
        sys.stderr.close()
        return 1
    else:
        return status
    finally:
        logging.shutdown()


class _Parser(argparse.ArgumentParser):
    """Masks passwords of a misplaced `--set` in usage errors."""

    def error(self, message: str) -> NoReturn:
        super().error(_SECRET.sub(r"\1=...", message))


def parser(arguments: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return a parser of the commands that `arguments` can mean; of all of them if they name none."""
    top = _Parser(
        prog="sosbridge",
        description="MQTT bridge between alarm panels, Home Assistant and alarm receiving centres (SOS Access v4).",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"sosbridge {__version__}")
    add_config_options(top)
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    named = [module for command, module in _COMMANDS.items() if command in arguments]
    for module in dict.fromkeys(named or _COMMANDS.values()):
        import_module(f"bridge.cli.{module}").register(commands)
    return top
