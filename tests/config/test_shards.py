"""Which transmitters a shard has, and which settings must be the same on all nodes."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import pytest

from bridge.config.settings import Settings
from bridge.config.shards import Parts, ShardsOfOthers, digest, shard_of
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
listen = "0.0.0.0:5678"
[[g90.panels]]
guid = "P1"
code = "1111"
[[g90.panels]]
guid = "P2"
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
    parts = Parts(settings)
    assert [[each.name for each in part.transmitters] for part in parts] == [["home"], ["shed"]]
    assert [bool(part.g90) for part in parts] == [True, False], "panels are with shard 0"
    assert [len(part.forward) for part in parts] == [1, 0], "and raise alarms for all"


def test_a_part_has_the_transmitters_as_they_were_configured(tmp_path: Path) -> None:
    settings = _loaded(tmp_path)
    parts = Parts(settings)
    found = [each for part in parts for each in part.transmitters]
    assert (len(parts), found) == (2, [*settings.transmitters])
    assert [each.model_fields_set for each in found] == [each.model_fields_set for each in settings.transmitters]
    assert [parts.names(0), parts.names(1)] == [["home"], ["shed"]]
    assert [parts.transmitter(name) for name in ("home", "shed", "attic")] == [*settings.transmitters, None]


def test_the_transmitters_of_other_nodes_take_little_memory(tmp_path: Path) -> None:
    """Each node has the configuration of all."""
    head, row, rest = TEXT.partition('[[transmitters]]\nname = "shed"')
    row += rest.partition("[g90]")[0]
    text = head + "".join(row.replace("shed", f"t{n}").replace("IK2", f"IK-{n}") for n in range(500)) + row
    tracemalloc.start()
    try:
        settings = _loaded(tmp_path, text)
        gc.collect()
        all_of_it = tracemalloc.get_traced_memory()[0]
        parts = Parts(settings)
        del settings
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < all_of_it / 4
        assert sum(len(part.transmitters) for part in parts) == 502
    finally:
        tracemalloc.stop()


def test_a_store_that_is_a_file_has_everything(tmp_path: Path) -> None:
    settings = _loaded(tmp_path, TEXT.replace('url = "postgresql://sosbridge@db1/sosbridge"\n', ""))
    assert [*Parts(settings)] == [settings]


def test_one_shard_has_everything(tmp_path: Path) -> None:
    settings = _loaded(tmp_path, TEXT.replace("shards = 2", "shards = 1"))
    assert [*Parts(settings)] == [settings]


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
        ("0.0.0.0:5678", "192.0.2.7:5678"),
        ("[node]", '[log]\nlevel = "debug"\n[node]'),
    ],
)
def test_what_may_differ_from_node_to_node(tmp_path: Path, old: str, new: str) -> None:
    assert digest(_loaded(tmp_path, TEXT.replace(old, new))) == digest(_loaded(tmp_path))


@pytest.mark.parametrize("header", ["[[transmitters]]\n", "[[g90.panels]]\n"])
def test_the_order_of_transmitters_and_of_panels_may_differ(tmp_path: Path, header: str) -> None:
    """Each node may include them as it likes."""
    before, first, rest = TEXT.split(header)
    second, mark, after = rest.partition("[g90]" if "transmitters" in header else "[[forward]]")
    text = f"{before}{header}{second}{header}{first}{mark}{after}"
    assert (text != TEXT, sorted(text.splitlines())) == (True, sorted(TEXT.splitlines()))
    assert digest(_loaded(tmp_path, text)) == digest(_loaded(tmp_path))


def test_the_order_of_rules_may_not_differ(tmp_path: Path) -> None:
    rules = [f'[[forward]]\nevent = "sos"\ntransmitter = "{name}"\nevent_code = "PA"\n' for name in ("home", "shed")]
    both = [digest(_loaded(tmp_path, TEXT + "".join(each))) for each in (rules, rules[::-1])]
    assert len(set(both)) == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("123456789012345", "123456789012346"),
        ("localhost:19000", "localhost:19001"),
        ("shards = 2", "shards = 3"),
        ('event_code = "PA"', 'event_code = "PB"'),
        ('code = "1111"', 'code = "2222"'),
        ('code = "1111"\n', ""),
        ("[node]", "[homeassistant]\nenabled = false\n[node]"),
    ],
)
def test_what_may_not(tmp_path: Path, old: str, new: str) -> None:
    assert digest(_loaded(tmp_path, TEXT.replace(old, new))) != digest(_loaded(tmp_path))
