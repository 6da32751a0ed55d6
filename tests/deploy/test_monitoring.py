"""The alert rules and the dashboard fit the metrics of the bridge, and promtool finds nothing wrong with them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from deploy.kit import DEPLOY

from bridge.common.problems import Problems
from bridge.web.board import Board
from bridge.web.metrics import Metrics

RULES = yaml.safe_load((DEPLOY / "prometheus/sosbridge.rules.yml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((DEPLOY / "grafana/sosbridge.json").read_text())
IN_GRAFANA = {"$__range": "1h", "$__rate_interval": "5m", "$transmitter": ".*"}


def _names() -> set[str]:
    """Return the names of all metrics as queries write them."""
    found = set()
    for family in Metrics(Board("sosbridge", Problems()), lambda: 0).collect():
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(family.type, ("",))
        found |= {family.name + ending for ending in endings}
    return found


def _queries() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


@pytest.mark.parametrize("query", [*_queries(), *(rule["expr"] for rule in RULES)])
def test_every_metric_exists(query: str) -> None:
    assert set(re.findall(r"sosbridge_\w+", query)) - _names() == set()


def test_every_metric_is_on_the_dashboard_or_has_a_rule() -> None:
    asked = " ".join([*_queries(), *(rule["expr"] for rule in RULES)])
    used = {name for name in _names() if name in asked}
    histograms = {name for name in _names() if name.endswith(("_count", "_sum"))}
    assert _names() - used - histograms == {"sosbridge_mqtt_reconnects_total", "sosbridge_store_errors_total"}


def _promtool(*args: str, folder: Path = DEPLOY / "prometheus") -> None:
    tool = shutil.which("promtool")
    assert tool, "promtool is needed: apt-get install prometheus"
    done = subprocess.run([tool, *args], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_the_rules_and_the_configuration() -> None:
    _promtool("check", "rules", "--lint=all", "--lint-fatal", "sosbridge.rules.yml")
    _promtool("check", "config", "prometheus.yml")
    _promtool("test", "rules", "sosbridge.test.yml")


def test_promtool_takes_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    rules = []
    for number, query in enumerate(_queries()):
        for variable, value in IN_GRAFANA.items():
            query = query.replace(variable, value)  # noqa: PLW2901
        rules.append({"record": f"query{number}", "expr": query})
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    _promtool("check", "rules", "rules.yml", folder=tmp_path)


def test_promtool_takes_the_metrics(tmp_path: Path) -> None:
    tool = shutil.which("promtool")
    assert tool, "promtool is needed: apt-get install prometheus"
    text = Metrics(Board("sosbridge", Problems()), lambda: 0).text()
    done = subprocess.run(
        [tool, "check", "metrics"], input=text, capture_output=True, timeout=60, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
