"""`dump`: what a bug report needs is in it, and no secret is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel
from support.commands import Output, alone

from bridge.cli import call, dump
from bridge.common.models import Secret
from bridge.config.settings import Settings
from bridge.store.passwords import PasswordFile, Passwords, password_file

__all__ = ["alone"]

SECRETS = {
    "mqtt.password": "secret-of-the-broker",
    "web.password": "secret-of-the-page",
    "transmitters.authentication": "secret-to-tell1",
    "g90.panels.code": "secret-of-the-panel",
    "store.url": "postgresql://bridge:secret-of-the-database@127.0.0.1:9/bridge",
}
URL = f'url = "{SECRETS["store.url"]}"\nshards = 1'
ROTATED = "secret-rotated1"


def secret_settings(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """Yield the names of all settings that hold a secret."""

    def within(annotation: object) -> Iterator[object]:
        yield annotation
        for each in get_args(annotation):
            yield from within(each)

    for name, field in model.model_fields.items():
        for kind in within(field.annotation):
            if kind is Secret:
                yield f"{path}{name}"
            elif isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from secret_settings(kind, f"{path}{name}.")


def configure(folder: Path, database: str = "") -> Path:
    """Write a configuration with a secret in every setting that takes one; return the store's path."""
    store = folder / "store.db"
    (folder / "bridge.toml").write_text(
        f"""
        [store]
        path = "{store}"
        {database}
        [mqtt]
        username = "bridge"
        password = "{SECRETS["mqtt.password"]}"
        [web]
        listen = "127.0.0.1:8099"
        username = "me"
        password = "{SECRETS["web.password"]}"
        [[transmitters]]
        name = "home"
        transmitter_code = "IK1"
        transmitter_type = "SV300"
        authentication = "{SECRETS["transmitters.authentication"]}"
        receiver_id = "OPER"
        receiver = "127.0.0.1:9"
        use_single_receiver = true
        [g90]
        [[g90.panels]]
        guid = "GB1"
        code = "{SECRETS["g90.panels.code"]}"
        """
    )
    path = password_file(store, "home", "IK1", "SV300")
    Passwords(PasswordFile(path), Secret(SECRETS["transmitters.authentication"])).add(Secret(ROTATED))
    return store


def test_each_setting_that_takes_a_secret_is_tried() -> None:
    assert set(secret_settings(Settings)) == SECRETS.keys()


@pytest.mark.parametrize("database", ["", URL])
def test_no_secret_is_in_it(tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch, database: str) -> None:
    configure(tmp_path, database)
    leaks = [*SECRETS.values(), "secret-of-the-database"][: None if database else -2] + [ROTATED] * (not database)
    monkeypatch.setattr(dump, "_journal", lambda: [f"a line with {leak}" for leak in leaks])
    file = tmp_path / "dump.txt"
    assert call(["dump", str(file)]) == 0
    assert file.stat().st_mode & 0o777 == 0o600
    text = file.read_text()
    assert not [leak for leak in leaks if leak in text or leak in capsys.readouterr().out]
    assert text.count("a line with ***") == len(leaks)
    assert "Not in this file: passwords" in text
    sections = re.findall(r"^== (\w+) ==$", text, re.MULTILINE)
    assert sections == ["versions", "settings", "service", "store", "log"]
    settings = json.loads(text[text.index("\n{") : text.index("\n== service")])
    assert (settings["mqtt"]["username"], set(settings["mqtt"]["password"])) == ("bridge", {"*"})
    assert f"no bridge runs on {tmp_path}" in text


def test_a_wrong_configuration_is_in_it(tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bridge.toml").write_text("[mqtt]\nport = 70000\n")
    assert call(["dump", "-"]) == 0
    assert "port" in capsys.readouterr().out
    assert call(["dump"]) == 0
    [file] = tmp_path.glob("sosbridge-dump-*.txt")
    assert "port" in file.read_text()


def test_the_journal_is_asked_where_no_service_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dump, "_JOURNAL", ("printf", "one\ntwo\n"))
    assert dump._journal() == ["one", "two"]
    monkeypatch.setattr(dump, "_JOURNAL", ("/nowhere/journalctl",))
    assert dump._journal()[0].startswith("not available")


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: Output) -> None:
    configure(tmp_path)
    assert call(["dump", str(tmp_path / "nowhere" / "dump.txt")]) == 1
    assert capsys.readouterr().err == f"sosbridge: {tmp_path}/nowhere/dump.txt: No such file or directory\n"
