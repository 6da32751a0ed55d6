"""What the table of commands consists of."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple


class Option(NamedTuple):
    """An option or argument: its names and the parameters of `add_argument`."""

    names: tuple[str, ...]
    given: dict[str, Any]
    group: str = ""
    """`ONE_OF`: excludes the others of this group; else the title of a group in `GROUPS`."""


class Command(NamedTuple):
    help: str
    run: str = ""
    """The function in bridge.cli, such as "outbox.show"; empty for a group of commands."""
    options: tuple[Option, ...] = ()
    about: str = ""
    """The description; default: the help."""
    more: str = ""
    """Examples, printed last."""
    light: bool = False
    """`run` is a plain function that needs neither asyncio nor logging."""


ONE_OF = "one of"
GROUPS = {"faults": "All given faults apply to each request, or to the first --times requests."}


def option(*names: str, group: str = "", **given: Any) -> Option:  # noqa: ANN401 - argparse's
    return Option(names, given, group)


def late(path: str) -> Callable[[str], Any]:
    """Return a function of a command as an argument's type; imported where the argument is given."""
    module, _, name = path.rpartition(".")
    return lambda text: getattr(import_module(f"bridge.cli.{module}"), name)(text)  # noqa: PLW0108 - not before
