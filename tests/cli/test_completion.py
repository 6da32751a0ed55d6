"""`completion`: the scripts as the shells run them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from support.commands import Output

from bridge.cli import call
from bridge.cli.table import COMMANDS

_ASK = {
    "bash": 'source "$1"; COMP_WORDS=("${@:2}"); COMP_CWORD=$(($# - 2)); _sosbridge; printf "%s\\n" "${COMPREPLY[@]}"',
    # _describe needs the line editor; it is given the name of the array that it shows.
    "zsh": 'compdef() { }; _files() { print files }; _describe() { print -l -- "${(@P)4%%:*}" }; source "$1"; '
    'words=("${@:2}"); CURRENT=$#words; _sosbridge',
    "fish": 'source $argv[1]; complete -C (string join " " -- $argv[2..]) | string replace -r "\\t.*" ""; true',
}
_CALLS = {
    "bash": ["--norc", "-c", _ASK["bash"], "bash"],
    "zsh": ["-f", "-c", _ASK["zsh"], "zsh"],
    "fish": ["-c", _ASK["fish"]],
}
OUTBOX = {"list", "show", "retry", "drop"}


@pytest.fixture(params=["bash", "zsh", "fish"])
def shell(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    assert shutil.which(name), f"{name} is not installed: apt-get install {name}"
    return name


def offered(shell: str, folder: Path, capsys: Output, *words: str) -> set[str]:
    """Return what `shell` offers for the last of `words`."""
    assert call(["completion", shell]) == 0
    script = folder / "script"
    script.write_text(capsys.readouterr().out)
    command = [shell, *_CALLS[shell], str(script), "sosbridge", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=True, timeout=60)
    assert done.stderr == ""
    return {line.removesuffix("/") for line in done.stdout.splitlines()} - {""}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["outbox", ""], OUTBOX),
        (["-c", "x", "outbox", ""], OUTBOX),
        (["outbox", "--log-level", ""], {"debug", "info", "warning", "error"}),
        (["simulate", "receiver", "--garbage", ""], {"random", "truncated"}),
        (["completion", ""], {"bash", "zsh", "fish"}),
        (["outbox", "list", "--"], {"--transmitter", "--json", "--config", "--set", "--log-level", "--help"}),
    ],
)
def test_words_and_options_are_offered(
    shell: str, tmp_path: Path, capsys: Output, words: list[str], expected: set[str]
) -> None:
    found = offered(shell, tmp_path, capsys, *words)
    last = words[-1]
    assert {each for each in found if each.startswith("--")} >= {each for each in expected if each.startswith("--")}
    assert {each for each in found if not each.startswith("-")} == {each for each in expected if not last}


def test_all_commands_are_offered(shell: str, tmp_path: Path, capsys: Output) -> None:
    found = offered(shell, tmp_path, capsys, "")
    assert {each for each in found if not each.startswith("-")} == {path for path in COMMANDS if " " not in path}


def test_files_are_offered_where_one_is_named(shell: str, tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "house.toml").touch()
    found = offered(shell, tmp_path, capsys, "check", "--config", "")
    assert found == {"bash": set(), "zsh": {"files"}, "fish": {"house.toml", "script"}}[shell]
