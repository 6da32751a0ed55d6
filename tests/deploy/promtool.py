"""promtool finds nothing wrong with the rules, the dashboard's queries and the metrics; run by tests/deploy/run."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml
from deploy.kit import DEPLOY
from deploy.test_monitoring import queries

from bridge.common.problems import Problems
from bridge.web.board import Board
from bridge.web.metrics import Metrics

IN_GRAFANA = {"$__range": "1h", "$__rate_interval": "5m", "$transmitter": ".*"}


def _promtool(*args: str, folder: Path = DEPLOY / "prometheus", given: bytes = b"") -> None:
    done = subprocess.run(["promtool", *args], cwd=folder, input=given, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()


def test_the_rules_and_the_configuration() -> None:
    _promtool("check", "rules", "--lint=all", "--lint-fatal", "sosbridge.rules.yml")
    _promtool("check", "config", "prometheus.yml")
    _promtool("test", "rules", "sosbridge.test.yml")


def test_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    rules = []
    for number, query in enumerate(queries()):
        for variable, value in IN_GRAFANA.items():
            query = query.replace(variable, value)  # noqa: PLW2901
        rules.append({"record": f"query{number}", "expr": query})
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    _promtool("check", "rules", "rules.yml", folder=tmp_path)


def test_the_metrics() -> None:
    _promtool("check", "metrics", given=Metrics(Board("sosbridge", Problems()), lambda: 0).text())
