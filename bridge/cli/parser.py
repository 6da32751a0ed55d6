"""The parser of the command line, made of the table of commands."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any, NoReturn

from bridge import __version__
from bridge.cli.rows import GROUPS, ONE_OF, Option, Subcommand, function
from bridge.cli.table import COMMANDS, COMMON

_SECRET = re.compile(r"((?:password|authentication|code|store\.url)[\w.]*)=.*", re.IGNORECASE | re.DOTALL)
_EPILOG = """\
exit status: 0 success; 1 failure; 2 wrong usage or configuration; 3 the service is running, stop it first;
4 refused by the receiver, or healthcheck --strict found a problem. Configuration file: --config FILE,
else $SOSBRIDGE_CONFIG, /config/sosbridge.toml, ./sosbridge.toml. To try it without a configuration: sosbridge demo
"""


def command(words: Sequence[str]) -> Callable[[], int]:
    """Return what runs the command of `words`. Exits where they ask for help, or are wrong."""
    args = argparse.Namespace(config=None, overrides=[], log_level=None)
    rest = _common(_Parser(prog="sosbridge", usage=_USAGE, add_help=False)).parse_known_args(words, args)[1]
    at = next((number for number, word in enumerate(rest) if word in COMMANDS), 0)
    rest = [*rest[at:], *rest[:at]]  # a command's own options may precede it, too
    if rest[:1] == ["help"]:
        rest = [*rest[1:], "--help"]
    parser(rest[0] if rest else "").parse_args(rest, args)
    row: Subcommand = args.command
    run = function(row.run)
    if row.light:
        return lambda: run(args)
    return lambda: import_module("bridge.cli.common").execute(run, args)


_USAGE = "sosbridge [-c FILE] [--set KEY=VALUE] [--log-level LEVEL] COMMAND ..."


class _Formatter(argparse.HelpFormatter):
    """Wraps a paragraph, and leaves lines as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


class _Parser(argparse.ArgumentParser):
    """Suggests what was probably meant, and masks passwords in usage errors."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - argparse's
        super().__init__(allow_abbrev=False, formatter_class=_Formatter, **options)

    def error(self, message: str) -> NoReturn:
        groups = (each.choices for each in self._actions if isinstance(each, argparse._SubParsersAction))  # noqa: SLF001
        if message.endswith("required: COMMAND"):
            message = f"a command is missing; known: {', '.join(next(groups))}"
        super().error(_SECRET.sub(r"\1=...", message))

    def _check_value(self, action: argparse.Action, value: Any) -> None:  # noqa: ANN401 - as there
        if action.choices is not None and value not in action.choices:
            what = "command" if isinstance(action, argparse._SubParsersAction) else "value"  # noqa: SLF001
            where = "" if what == "command" else f"{'/'.join(action.option_strings) or action.dest}: "
            self.error(f"{where}unknown {what} {value!r}{_meant(value, action.choices)}")


class _Strict(_Parser):
    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # noqa: ANN401 - as there
        found, unknown = super().parse_known_args(args, namespace)
        if unknown and unknown[0].startswith("-"):
            name = unknown[0].partition("=")[0]
            self.error(f"unknown option {name}{_meant(name, self._option_string_actions)}")
        if unknown:
            self.error(f"unexpected argument {unknown[0]!r}")
        return found, unknown


def _meant(text: str, known: Iterable[str]) -> str:
    advice: str = import_module("bridge.common.suggest").meant(text, known)  # difflib, for errors alone
    return advice


def parser(only: str | None = None) -> argparse.ArgumentParser:
    """Return the parser; with `only`, it knows no more than the names of the other commands."""
    top = _common(
        _Strict(
            prog="sosbridge",
            usage=_USAGE,
            description="MQTT bridge between alarm panels, Home Assistant and alarm receiving centres (SOS Access v4).",
            epilog=_EPILOG,
        )
    )
    top.add_argument("--version", action="version", version=f"sosbridge {__version__}")
    groups = {"": top.add_subparsers(metavar="COMMAND", required=True, title="commands", prog="sosbridge")}
    for path, row in COMMANDS.items():
        above, _, name = path.rpartition(" ")
        if only in (None, path.partition(" ")[0]):
            made = groups[above].add_parser(name, help=row.help, description=row.about, epilog=row.more)
            _add(made, row.options)
            made.set_defaults(command=row, **row.given)
            if not (row.run or row.options):
                groups[path] = made.add_subparsers(metavar="COMMAND", required=True, title="commands")
            _common(made)
        elif not above:
            groups[""].add_parser(name, help=row.help, add_help=False)
    return top


def _common(to: _Parser) -> _Parser:
    group = to.add_argument_group("options of every command")
    for names, given, _ in COMMON:
        group.add_argument(*names, default=argparse.SUPPRESS, **given)
    return to


def _add(to: argparse.ArgumentParser, options: Sequence[Option]) -> None:
    groups: dict[str, Any] = {"": to}
    for names, given, group in options:
        if group not in groups:
            exclusive = group == ONE_OF
            made = to.add_mutually_exclusive_group() if exclusive else to.add_argument_group(group, GROUPS[group])
            groups[group] = made
        groups[group].add_argument(*names, **given)
