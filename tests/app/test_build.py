"""What the bridge of one shard takes for its own among the topics of all."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from unittest.mock import Mock

import pytest

from bridge.app import build
from bridge.config.sources import load
from bridge.homeassistant.announcer import Announcer
from bridge.homeassistant.devices import transmitter_id
from bridge.homeassistant.entity import Names
from bridge.mqtt.outgoing import Outgoing
from bridge.mqtt.session import Subscriptions
from bridge.panels.known import KnownPanels
from bridge.panels.topics import PanelTopics
from bridge.transmitters.topics import Topics

NAMES = Names("homeassistant", "house", "1.2.3")


def _subscriptions(*others: str, differs: bool = False) -> Subscriptions:
    own = Topics("house", {"home": {}}, others=frozenset(others))
    announcer = Announcer(NAMES, Outgoing(asyncio.Event()), {}, enabled=True)
    return build.subscriptions(own, PanelTopics("house"), KnownPanels({}), announcer, lambda: differs)


@pytest.mark.parametrize(
    ("topic", "ours"),
    [
        ("house/transmitter/home/link", True),
        ("house/transmitter/shed/link", False),
        (NAMES.topic(transmitter_id(NAMES, "home")), True),
        (NAMES.topic(transmitter_id(NAMES, "gone")), True),
        (NAMES.topic(transmitter_id(NAMES, "shed")), False),
        (NAMES.topic(f"{NAMES.root}_panel_shed"), True),
        (NAMES.topic(NAMES.root), True),
        (NAMES.topic("zigbee2mqtt"), False),
    ],
)
def test_topics_of_other_shards_are_left_alone(topic: str, *, ours: bool) -> None:
    assert _subscriptions("shed").is_ours(topic) is ours


def test_a_shard_is_taken_over_without_a_hash_for_each_transmitter(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = Mock(side_effect=hashlib.sha256)
    monkeypatch.setattr("bridge.homeassistant.entity.sha256", hashed)
    _subscriptions(*map(str, range(1000)))
    assert hashed.call_count < 10


@pytest.mark.parametrize(
    ("topic", "stale", "while_nodes_differ"),
    [
        ("house/transmitter/new/link", True, False),
        (NAMES.topic(transmitter_id(NAMES, "new")), True, False),
        ("house/transmitter/home/alarm/fire/state", True, True),
        (NAMES.topic(transmitter_id(NAMES, "home")), True, True),
        (NAMES.topic(f"{NAMES.root}_panel_p"), True, True),
        ("house/transmitter/home/link", False, False),
    ],
)
def test_topics_of_unknown_transmitters_are_kept_while_nodes_differ(
    topic: str, *, stale: bool, while_nodes_differ: bool
) -> None:
    found = [_subscriptions("shed", differs=differs).is_stale(topic) for differs in (False, True)]
    assert found == [stale, while_nodes_differ]


@pytest.mark.parametrize(
    ("url", "keepalive", "expected_s"),
    [("", "", 30), ("postgresql://a:b@127.0.0.1/c", "", 4), ("postgresql://a:b@127.0.0.1/c", "20s", 20)],
)
def test_the_keepalive_is_shorter_in_a_cluster(tmp_path: Path, url: str, keepalive: str, expected_s: int) -> None:
    overrides = [f"store.url={url}"] * bool(url) + [f"mqtt.keepalive={keepalive}"] * bool(keepalive)
    file = tmp_path / "bridge.toml"
    file.write_text('[mqtt]\nhost = "127.0.0.1"\n')
    assert build.broker(load(file, overrides)).keepalive_s == expected_s
