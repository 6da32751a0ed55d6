"""`sosbridge completion`: scripts for bash, zsh and fish, made of the parser."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bridge.cli.parser import parser

_SCRIPT = """\
{head}_sosbridge() {{
  local word where=""
  local -a found=()
  for word in {before}; do
    case "$where $word" in {paths}) where="${{where:+$where }}$word" ;; esac
  done
  case "$where {previous}" in
{values}  esac
  [ -n "$found" ] || case "$where" in
{words}  esac
  {offer}
}}
{tail}"""
_BASH = {
    "head": "",
    "before": '"${COMP_WORDS[@]:1:COMP_CWORD-1}"',
    "previous": "${COMP_WORDS[COMP_CWORD-1]}",
    "offer": 'COMPREPLY=($(compgen -W "${found[*]}" -- "${COMP_WORDS[COMP_CWORD]}"))',
    "tail": "complete -o default -F _sosbridge sosbridge\n",  # files, where nothing else fits
}
_ZSH = {
    "head": "#compdef sosbridge\n",
    "before": '"${(@)words[2,CURRENT-1]}"',
    "previous": "${words[CURRENT-1]}",
    "offer": "_describe -t commands sosbridge found",
    "tail": 'if [ "$funcstack[1]" = _sosbridge ]; then _sosbridge "$@"; else compdef _sosbridge sosbridge; fi\n',
}
_FISH = """\
function __sosbridge_at
  set -l where
  for word in (commandline -opc)[2..]
    contains -- (string trim -- "$where $word") {paths}; and set where (string trim -- "$where $word")
  end
  test "$where" = "$argv[1]"
end
complete -c sosbridge -f
"""


class _Word(NamedTuple):
    """What can follow the command `path`: an option or word by all its names, or a file."""

    path: str
    names: tuple[str, ...]
    help: str
    values: tuple[str, ...] | None = None
    """What follows an option: None: nothing; empty: anything; ("FILE",): a file."""


def print_script(args: argparse.Namespace) -> int:
    found = list(_words(parser()))
    print(_fish(found) if args.shell == "fish" else _posix(found, zsh=args.shell == "zsh"), end="")
    return 0


def _words(of: argparse.ArgumentParser, path: str = "") -> Iterator[_Word]:
    for action in of._actions:  # noqa: SLF001 - argparse has no other way to them
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            texts = {each.dest: each.help or "" for each in action._choices_actions}  # noqa: SLF001 - as above
            for name, each in action.choices.items():
                yield _Word(path, (name,), texts[name])
                yield from _words(each, f"{path} {name}".strip())
            continue
        file = ("FILE",) if action.metavar == "FILE" else ()
        text = of._get_formatter()._expand_help(action)  # noqa: SLF001 - as above
        if action.option_strings:
            values = None if action.nargs == 0 else tuple(action.choices or file)
            yield _Word(path, tuple(action.option_strings), text, values)
        else:
            yield from (_Word(path, (name,), "") for name in action.choices or ())
            yield _Word(path, (), text, file)


def _posix(found: Sequence[_Word], *, zsh: bool) -> str:
    at: dict[str, list[str]] = {}
    values: dict[str, str] = {}
    also = {each.path: "; _files" for each in found if zsh and not each.names and each.values}
    files = "_files; return" if zsh else "return"  # bash completes files where a function finds nothing
    for each in found:
        words = [f"{name}:{each.help}" if zsh else name for name in each.names]
        at.setdefault(each.path, []).extend(map(shlex.quote, words))
        if each.names and each.values is not None:
            do = files if each.values == ("FILE",) else f"found=({' '.join(each.values)})" if each.values else "return"
            values |= {f"{each.path} {name}": do for name in each.names}
    return _SCRIPT.format(
        paths="|".join(f'"{f" {path}" if " " not in path else path}"' for path in at if path),
        values="".join(f'    "{where}") {do} ;;\n' for where, do in values.items()),
        words="".join(
            f'    "{path}") found=({" ".join(words)}){also.get(path, "")} ;;\n' for path, words in at.items()
        ),
        **(_ZSH if zsh else _BASH),
    )


def _fish(found: Sequence[_Word]) -> str:
    lines = [_FISH.format(paths=" ".join(dict.fromkeys(_quoted(each.path) for each in found if each.path)))]
    for each in found:
        words = ["complete -c sosbridge -n", _quoted(f"__sosbridge_at {_quoted(each.path)}")]
        for name in each.names:
            letter = not name.startswith("--")
            words += [f"-s {name[1:]}" if letter else f"-l {name[2:]}"] if name.startswith("-") else [f"-a {name}"]
        if each.values is not None:
            choices = f"-x -a {_quoted(' '.join(each.values))}" if each.values else "-x"
            words.append("-r -F" if each.values == ("FILE",) else choices)
        if each.names or each.values:
            lines.append(" ".join([*words, "-d", _quoted(each.help)]) + "\n")
    return "".join(lines)


def _quoted(text: str) -> str:
    """Return `text` in quotes of fish."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
