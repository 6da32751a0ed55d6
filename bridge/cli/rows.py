"""What the table of commands consists of."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

Option = tuple[tuple[str, ...], dict[str, Any], str]
"""The names of an option or argument, the parameters of `add_argument`, and its group.

A group is `ONE_OF`, whose options exclude each other, or a title in `GROUPS`; it may be empty.
"""


class Subcommand:  # not a dataclass: making one would take a third of the time of --help
    """A command, or a group of them."""

    def __init__(
        self,
        help: str,  # noqa: A002 - as argparse has it
        run: str = "",
        options: tuple[Option, ...] = (),
        *,
        about: str = "",
        more: str = "",
        light: bool = False,
        **given: str,
    ) -> None:
        """`run` names a function in bridge.cli, such as "outbox.show"; it is empty for a group of commands.

        `about` is the description, by default the help, and `more` is printed last. With `light`, `run` is a plain
        function that needs neither asyncio nor logging. It finds `given` among its arguments.
        """
        self.help, self.run, self.options = help, run, options
        self.about, self.more, self.light = about or f"{help[0].upper()}{help[1:]}.", more, light
        self.given = given


ONE_OF = "one of"
GROUPS = {"faults": "All given faults apply to each request, or to the first --times requests."}


def option(*names: str, group: str = "", **given: Any) -> Option:  # noqa: ANN401 - argparse's
    """Return an option; `type` may name a function in bridge.cli, imported where the option is given."""
    if isinstance(path := given.get("type"), str):
        given["type"] = lambda text: function(path)(text)  # noqa: PLW0108 - imported only where it is called
    return names, given, group


def function(path: str) -> Callable[..., Any]:
    """Import a function in bridge.cli, such as "outbox.show"."""
    module, _, name = path.rpartition(".")
    found: Callable[..., Any] = getattr(import_module(f"bridge.cli.{module}"), name)
    return found
