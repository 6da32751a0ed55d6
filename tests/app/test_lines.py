"""The lines of a bridge, from its configuration."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import pytest

from bridge.app import build
from bridge.common.models import Secret
from bridge.config.sources import load
from bridge.store.passwords import Passwords, account

TABLE = """
[[transmitters]]
name = "{name}"
transmitter_code = "IK1"
transmitter_type = "SV301"
authentication = "111111111111111"
receiver_id = "OPER"
receiver = "{name}.example:19000"
use_single_receiver = true
"""
NEW_HOME, NEW_SHED = (Secret(letter * 15) for letter in "ab")


def test_transmitters_of_one_account_overwrite_no_password_of_each_other(tmp_path: Path) -> None:
    path = tmp_path / "bridge.toml"
    path.write_text(
        f'[store]\npath = "{tmp_path}/bridge.db"\n' + "".join(TABLE.format(name=each) for each in ("home", "shed"))
    )
    settings = load(path)

    def lines() -> dict[str, Passwords]:
        found = build.lines(settings)
        assert [each.shared_as for each in found] == ["home/", "shed/"]
        return {each.name: each.passwords for each in found}

    passwords = lines()
    passwords["home"].add(NEW_HOME)
    passwords["home"].confirm("home/primary", NEW_HOME)
    passwords["shed"].check_writable()
    passwords["shed"].add(NEW_SHED)
    passwords["shed"].confirm("shed/primary", NEW_SHED)
    again = lines()
    assert NEW_HOME in again["home"].candidates("home/primary")
    assert NEW_SHED in again["shed"].candidates("shed/primary")


def test_each_of_many_transmitters_costs_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand that were compared with each other took a minute to start."""
    path = tmp_path / "bridge.toml"
    tables = [TABLE.format(name=f"t{n}").replace("IK1", f"IK{n}") for n in range(200)]
    path.write_text(f'[store]\npath = "{tmp_path}/bridge.db"\n' + "".join(tables))
    asked = Mock(side_effect=account)
    monkeypatch.setattr("bridge.app.build.account", asked)
    assert len(build.lines(load(path))) == len(tables)
    assert asked.call_count <= 5 * len(tables)
