"""deploy/commands.md: each command with its options, taken from the parser.

`python tests/docs/commands.py` writes it after the table of commands has changed.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

from bridge.cli.parser import parser

PAGE = Path(__file__).parents[2] / "deploy/commands.md"
_COMMON = "options of every command"
_HEAD = """\
# Commands

`sosbridge help COMMAND` shows what is here, and `sosbridge completion SHELL` makes a shell complete it. With `--json`
standard output is one JSON document and nothing else, or empty if the command fails. Errors and warnings go to standard
error.

| exit status | |
|---|---|
| 0 | success |
| 1 | failure of receiver, broker or store; `check` found a fault; `healthcheck`: the bridge does not work |
| 2 | wrong usage or configuration |
| 3 | the running service holds what the command needs |
| 4 | refused by the receiver; `healthcheck --strict`: something needs a person, or was not checked yet |
| 128 + N | ended by signal N before its work was done |
"""


def page() -> str:
    """Return the whole document."""
    top = parser()
    common = [group for group in top._action_groups if group.title == _COMMON]
    lines = [_HEAD, "Options of every command, before or after it:", *_table(common[0]._group_actions)]
    for path, each in _commands(top):
        lines += ["", f"## {path}", "", textwrap.fill(str(each.description), 130, break_on_hyphens=False)]
        groups = [group for group in each._action_groups if group.title != _COMMON]
        lines += _table(action for group in groups if not group.description for action in group._group_actions)
        for group in groups:
            if group.description:
                lines += ["", f"{str(group.title).capitalize()}: {group.description}", *_table(group._group_actions)]
        if each.epilog:
            lines += ["", "```text", each.epilog.strip(), "```"]
    return "\n".join(lines) + "\n"


def _commands(of: argparse.ArgumentParser, path: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    if path:
        yield path, of
    for action in of._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, each in action.choices.items():
                yield from _commands(each, f"{path} {name}".strip())


def _table(actions: Iterable[argparse.Action]) -> Iterator[str]:
    rows = [action for action in actions if not isinstance(action, argparse._HelpAction | argparse._SubParsersAction)]
    if rows:
        yield "\n| | |\n|---|---|"
    for action in rows:
        text = argparse.HelpFormatter("")._expand_help(action)
        yield f"| {_names(action)} | {text.replace('|', chr(92) + '|')} |"


def _names(action: argparse.Action) -> str:
    shown = argparse.HelpFormatter("")
    default = action.dest.upper() if action.option_strings else action.dest
    value = "" if action.nargs == 0 else shown._format_args(action, shown._metavar_formatter(action, default)(1)[0])
    words = [f"{name} {value}".strip() for name in action.option_strings] or [value]
    return ", ".join(f"`{word.replace('|', chr(92) + '|')}`" for word in words)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
