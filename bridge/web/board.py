"""What page and metrics show: states and events of MQTT by owner, also without a broker. Pure."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import NamedTuple

from bridge.common.problems import About, Problem, Problems
from bridge.common.text import timestamp
from bridge.record.figures import LINK, Figures
from bridge.web import view

_EVENTS = 100
_BUCKETS = (0.1, 0.5, 1.0, 5.0, 30.0)
"""Upper bounds in seconds; few, and without labels, so that a scrape of 1000 transmitters is small."""
_DELIVERED = ("accepted", "duplicate")
_STORE_EVENTS = ("store_failed", "store_damaged")


class Key(NamedTuple):
    """Whose state it is: `transmitter` and its name, `panel` and its GUID, or `bridge`."""

    kind: str
    name: str = ""


BRIDGE = Key("bridge")


class Histogram:
    """Counts durations by their size."""

    def __init__(self) -> None:
        self._counts = [0] * (len(_BUCKETS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(_BUCKETS, seconds)] += 1
        self.total += seconds

    @property
    def buckets(self) -> list[tuple[str, float]]:
        """Return the upper bound of each bucket, and how many durations are not above it."""
        bounds = [*(str(bound) for bound in _BUCKETS), "+Inf"]
        return [(bound, float(sum(self._counts[: number + 1]))) for number, bound in enumerate(bounds)]


class Board:
    """Collects what is published from the moment it is made."""

    def __init__(
        self,
        base: str,
        problems: Problems,
        now: Callable[[], datetime] = lambda: datetime.now().astimezone(),
    ) -> None:
        """`base` is the base topic."""
        self._prefix = f"{base}/"
        self._now = now
        self.problems = problems
        problems.follow(self._problem_changed)
        self.states: dict[Key, dict[str, str]] = {}
        """Payloads by the part of the topic after the owner."""
        self.devices: dict[str, str] = {}
        """The payloads of Home Assistant's discovery, by topic."""
        self.sequence = 0
        """Grows with every change."""
        self.forgotten = 0
        """The sequence when states were forgotten last: a page that has older ones needs everything."""
        self._changed: dict[Key, int] = {}
        """The sequence of each owner's last change, in that order."""
        self._events: deque[tuple[int, view.Json]] = deque(maxlen=_EVENTS)
        self._days: dict[str, view.Json] = {}
        self.alarms: Counter[tuple[str, str]] = Counter()
        """Results by transmitter and outcome."""
        self.panel_events: Counter[str] = Counter()
        self.store_errors = 0
        self.transmissions, self.exchanges = Histogram(), Histogram()

    # What comes in

    def published(self, topic: str, payload: str, event: bool) -> None:  # noqa: FBT001 - as `Outgoing` calls it
        """Note a state or an event."""
        if not topic.startswith(self._prefix):
            if topic.endswith("/config") and not event:
                self.devices[topic] = payload
            return  # a response topic
        kind, _, rest = topic.removeprefix(self._prefix).partition("/")
        name, _, leaf = ("", "", rest) if kind == "bridge" else rest.partition("/")
        key = Key(kind, name)
        if event:
            self._note_event(key, leaf, _parsed(payload))
        if not event or leaf.endswith("response"):
            self.states.setdefault(key, {})[leaf] = payload
            self._touch(key)

    def forget(self, transmitters: Iterable[str], *, bridge: bool) -> None:
        """Forget the states of `transmitters`, and of bridge and panels: another owns them now."""
        names = frozenset(transmitters)
        for key in [*self.states]:
            if key.name in names if key.kind == "transmitter" else bridge:
                del self.states[key]
                self._changed.pop(key, None)
        for name in names:
            self._days.pop(name, None)
        self.forgotten = self.sequence = self.sequence + 1

    def measured(self, month: Figures) -> None:
        """Note the availability of a transmitter's link by day."""
        days = [view.day(day, found) for day, found in month.parts[LINK].days]
        self._days[month.transmitter] = {"month": str(month.month), "days": days}
        self._touch(Key("transmitter", month.transmitter))

    def _note_event(self, key: Key, leaf: str, fields: view.Json) -> None:
        self._count(key, leaf, fields)
        if leaf in ("event", "test/response"):
            kind = fields.get("type") or "test"
            self.sequence += 1
            shown = {"at": timestamp(self._now()), "from": key.kind, "name": key.name, "type": kind}
            self._events.append((self.sequence, shown | {"text": view.event_text(fields)}))

    def _count(self, key: Key, leaf: str, fields: view.Json) -> None:
        match key.kind, leaf:
            case "transmitter", "alarm/response":
                outcome = str(fields.get("outcome"))
                self.alarms[key.name, outcome] += 1
                took = view.took_s(fields)
                if outcome in _DELIVERED and took is not None:
                    self.transmissions.add(took)
            case "panel", "event":
                self.panel_events[str(fields.get("type"))] += 1
            case "bridge", "event":
                self.store_errors += fields.get("type") in _STORE_EVENTS

    def _problem_changed(self, about: About, _: Problem | None, __: Problem | None) -> None:
        self._touch(BRIDGE)
        if about.transmitter is not None:
            self._touch(Key("transmitter", about.transmitter))

    def _touch(self, key: Key) -> None:
        self.sequence += 1
        self._changed.pop(key, None)
        self._changed[key] = self.sequence

    # What is shown

    def leaf(self, key: Key, leaf: str) -> view.Json:
        """Return a payload that is a JSON object; empty while there is none."""
        return _parsed(self.states.get(key, {}).get(leaf, ""))

    def since(self, sequence: int) -> dict[str, object]:
        """Return what the page shows of everything that has changed after `sequence`."""
        found: dict[str, dict[str, object]] = {"transmitter": {}, "panel": {}}
        for key, changed in reversed(self._changed.items()):
            if changed <= sequence:
                break
            if key.kind in found:
                found[key.kind][key.name] = self._shown(key)
        events = [event for number, event in self._events if number > sequence]
        bridge = {"info": self.leaf(BRIDGE, "info"), "health": self.leaf(BRIDGE, "health")}
        return {
            **bridge,
            "transmitters": found["transmitter"],
            "panels": found["panel"],
            "events": events,
            "problems": view.problems(self.problems),
        }

    def _shown(self, key: Key) -> view.Json:
        leaves = self.states.get(key, {})
        if key.kind == "panel":
            return view.panel(leaves)
        days = self._days.get(key.name, {"month": None, "days": []})
        return view.transmitter(leaves) | days


def _parsed(payload: str) -> view.Json:
    try:
        found = json.loads(payload)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
