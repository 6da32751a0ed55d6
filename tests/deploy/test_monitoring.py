"""The alert rules and the dashboard use metrics that exist."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from deploy.kit import DEPLOY

from bridge.common.problems import Problems
from bridge.web.board import Board
from bridge.web.metrics import Metrics

RULES = yaml.safe_load((DEPLOY / "prometheus/sosbridge.rules.yml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((DEPLOY / "grafana/sosbridge.json").read_text())


def _names() -> set[str]:
    """Return the names of all metrics as queries write them."""
    found = set()
    for family in Metrics(Board("sosbridge", Problems()), lambda: 0).collect():
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(family.type, ("",))
        found |= {family.name + ending for ending in endings}
    return found


def queries() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


@pytest.mark.parametrize("query", [*queries(), *(rule["expr"] for rule in RULES)])
def test_every_metric_exists(query: str) -> None:
    assert set(re.findall(r"sosbridge_\w+", query)) - _names() == set()


def test_every_metric_is_on_the_dashboard_or_has_a_rule() -> None:
    asked = " ".join([*queries(), *(rule["expr"] for rule in RULES)])
    used = {name for name in _names() if name in asked}
    histograms = {name for name in _names() if name.endswith(("_count", "_sum"))}
    assert _names() - used - histograms == {"sosbridge_mqtt_reconnects_total", "sosbridge_store_errors_total"}
