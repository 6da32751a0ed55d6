"""The command line: `sosbridge COMMAND`. Errors are one line on standard error, never a traceback.

Exit status: 0 success; 1 failure (receiver, broker or store; `check`: a fault was found; `healthcheck`: the bridge does
not work); 2 wrong usage or configuration; 3 the running service holds what the command needs; 4 refused by the receiver
(`healthcheck --strict`: something needs a person, or was not checked yet).

Only what the command needs is imported: a health check may run each minute, on small machines too.
"""

from __future__ import annotations

import sys
from importlib import import_module

from bridge.common.errors import BridgeError

TYPE_CHECKING = False
if TYPE_CHECKING:  # `collections.abc` and `typing` take time, too
    from collections.abc import Callable, Sequence

_STATUS = {"ConfigError": 2, "FieldError": 2, "BusyError": 3, "Rejected": 4, "Unauthorized": 4}
"""Exit status by error; any other is 1."""
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its status."""
    sys.exit(call(arguments))


def call(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    words = sys.argv[1:] if arguments is None else [*arguments]
    try:
        return _command(words)()
    except BridgeError as error:
        print(f"sosbridge: {error}", file=sys.stderr)
        return next((_STATUS[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in _STATUS), 1)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # the reader, such as head, closed the pipe
        sys.stderr.close()
        return 1


def _command(words: list[str]) -> Callable[[], int]:
    """Return what `words` ask for; argparse alone would take as long as a health check may."""
    quick = words[2:] if words[:1] in (["-c"], ["--config"]) else words
    if quick in (["healthcheck"], ["healthcheck", "--strict"]):
        config = words[1] if len(quick) < len(words) else None
        healthcheck = import_module("bridge.cli.healthcheck")
        return lambda: healthcheck.check(config, [], strict=len(quick) > 1)
    command: Callable[[], int] = import_module("bridge.cli.parser").command(words)
    return command
