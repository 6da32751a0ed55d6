"""The metrics for Prometheus, read from the board at each scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from bridge import __version__
from bridge.web.board import Board, Histogram
from bridge.web.view import transmitter

_PREFIX = "sosbridge_"


class Metrics(Collector):
    """The metrics of one board; `reconnects` returns how often the broker was connected to again."""

    def __init__(
        self, board: Board, reconnects: Callable[[], int], owned: Callable[[], Mapping[int, bool]] = dict
    ) -> None:
        """`owned` returns of each shard of a cluster whether this node owns it."""
        self._board = board
        self._reconnects = reconnects
        self._owned = owned
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """Return the text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        board = self._board
        yield _histogram("exchange_duration_seconds", "Sending a message and receiving its answer", board.exchanges)
        yield _histogram("transmission_seconds", "Acceptance of an alarm to its receipt", board.transmissions)
        yield _counter("alarms", "Ended alarms and restores", ("transmitter", "outcome"), board.alarms)
        yield _counter("panel_events", "Events of panels", ("type",), {(k,): n for k, n in board.panel_events.items()})
        yield _counter("mqtt_reconnects", "Connections to the broker after the first", (), {(): self._reconnects()})
        yield _counter("store_errors", "How often the store failed or was damaged", (), {(): board.store_errors})
        yield from self._transmitters()
        panels = _gauge("panel_online", "Whether a panel is connected", "panel")
        for key, leaves in board.states.items():
            if key.kind == "panel" and "availability" in leaves:
                panels.add_metric([key.name], leaves["availability"] == "online")
        yield panels
        problem = _gauge("problem", "What needs a person; absent while there is none", "transmitter", "kind")
        for name, kind in dict.fromkeys((each.about.transmitter or "", each.kind) for each in board.problems):
            problem.add_metric([name, kind], 1)
        yield problem
        if found := self._owned():
            owned = _gauge("shard_owned", "Whether this node owns a shard", "shard")
            for shard, ours in found.items():
                owned.add_metric([str(shard)], ours)
            yield owned
        build = _gauge("build_info", "The version that runs", "version")
        build.add_metric([__version__], 1)
        yield build

    def _transmitters(self) -> Iterator[Metric]:
        link = _gauge("link_up", "Whether an exchange succeeded within the heartbeat level", "transmitter")
        receivers = _gauge("receiver_up", "Whether a receiver answers", "transmitter", "receiver")
        paths = _gauge("path_up", "Whether receivers answer over a path", "transmitter", "path")
        pending = _gauge("outbox_pending", "Commands that wait", "transmitter")
        oldest = _gauge("outbox_oldest_seconds", "Age of the command that waits longest", "transmitter")
        now = datetime.now().astimezone()
        for key, leaves in self._board.states.items():
            if key.kind != "transmitter":
                continue
            shown = transmitter(leaves)
            _add(link, [key.name], shown["link"])
            for family, parts in ((receivers, shown["receivers"]), (paths, shown["paths"])):
                for part, found in parts.items():
                    _add(family, [key.name, part], found["up"])
            _add(pending, [key.name], shown["pending"])
            since = shown["oldest_at"]
            age = max((now - datetime.fromisoformat(since)).total_seconds(), 0.0) if since else 0.0
            oldest.add_metric([key.name], age)
        yield from (link, receivers, paths, pending, oldest)


def _add(family: Any, labels: list[str], value: float | None) -> None:  # noqa: ANN401 - untyped in the library
    if value is not None:
        family.add_metric(labels, value)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(_PREFIX + name, text, labels=labels)


def _counter(name: str, text: str, labels: tuple[str, ...], counts: Any) -> CounterMetricFamily:  # noqa: ANN401
    family = CounterMetricFamily(_PREFIX + name, text, labels=labels)
    for values, count in counts.items():
        family.add_metric(values, count)
    return family


def _histogram(name: str, text: str, found: Histogram) -> HistogramMetricFamily:
    return HistogramMetricFamily(_PREFIX + name, text, buckets=found.buckets, sum_value=found.total)
