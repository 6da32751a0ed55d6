"""Which transmitters a shard has, and which settings must be the same on all nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.config.settings import Settings
from bridge.config.shards import ShardsOfOthers, digest, divided, shard_of
from bridge.config.sources import load

TEXT = """
[mqtt]
host = "broker-a"
[store]
url = "postgresql://sosbridge@db1/sosbridge"
shards = 2
[node]
name = "a"
[[transmitters]]
name = "home"
transmitter_code = "IK1"
transmitter_type = "SV301"
authentication = "123456789012345"
receiver_id = "OPER"
receiver = "localhost:19000"
use_single_receiver = true
[[transmitters.paths]]
name = "fixed"
interface = "eth0"
[[transmitters]]
name = "shed"
transmitter_code = "IK2"
transmitter_type = "SV301"
authentication = "123456789012345"
receiver_id = "OPER"
receiver = "localhost:19000"
use_single_receiver = true
[g90]
[[forward]]
event = "sos"
transmitter = "shed"
event_code = "PA"
"""


def _loaded(folder: Path, text: str = TEXT) -> Settings:
    path = folder / "bridge.toml"
    path.write_text(text, "utf-8")
    return load(path)


def test_each_transmitter_is_in_one_shard(tmp_path: Path) -> None:
    settings = _loaded(tmp_path)
    parts = divided(settings)
    assert [[each.name for each in part.transmitters] for part in parts] == [["home"], ["shed"]]
    assert [bool(part.g90) for part in parts] == [True, False], "panels are with shard 0"
    assert [len(part.forward) for part in parts] == [1, 0], "and raise alarms for all"


def test_one_shard_has_everything(tmp_path: Path) -> None:
    settings = _loaded(tmp_path, TEXT.replace("shards = 2", "shards = 1"))
    assert divided(settings) == [settings]


def test_what_is_in_other_shards() -> None:
    shards = {"home": 0, "shed": 1, "shop": 2}
    found = ShardsOfOthers(shards, 1)
    assert (dict(found), len(found), "shed" in found, "attic" in found) == ({"home": 0, "shop": 2}, 2, False, False)
    assert not ShardsOfOthers({"home": 0}, 0)


def test_the_shard_of_a_name_never_changes() -> None:
    """Its alarms are stored there."""
    assert [shard_of(name, 8) for name in ("home", "shed", "cabin-7", "a")] == [0, 5, 7, 3]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("broker-a", "broker-b"),
        ('name = "a"', 'name = "b"'),
        ("eth0", "eno1"),
        ("@db1/", "@db2/"),
        ("[node]", '[log]\nlevel = "debug"\n[node]'),
    ],
)
def test_what_may_differ_from_node_to_node(tmp_path: Path, old: str, new: str) -> None:
    assert digest(_loaded(tmp_path, TEXT.replace(old, new))) == digest(_loaded(tmp_path))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("123456789012345", "123456789012346"),
        ("localhost:19000", "localhost:19001"),
        ("shards = 2", "shards = 3"),
        ('event_code = "PA"', 'event_code = "PB"'),
        ("[node]", "[homeassistant]\nenabled = false\n[node]"),
    ],
)
def test_what_may_not(tmp_path: Path, old: str, new: str) -> None:
    assert digest(_loaded(tmp_path, TEXT.replace(old, new))) != digest(_loaded(tmp_path))
